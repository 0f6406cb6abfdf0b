"""CEL: compiled once at load, evaluated per check with only the variables that it names.

The library is Google's C++ runtime. What it raises and returns was tried: a missing map key is a value of
type ERROR, an unbound variable or broken text a `RuntimeError`; both are evaluation errors here, and
nothing of the library leaves this module.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from functools import partial
from typing import NamedTuple, Protocol

from cel_expr_python import cel
from cel_expr_python.ext import ext_optional, ext_strings

from authz.policy.inspection import Inspection, inspect
from authz.policy.vocabulary import VOCABULARY, CelType, Facts, nearest

SOURCE_MAX_BYTES = 8 * 1024

# Programs that a compiler remembers so that equal sources share one; at most twice as many. A set that is
# loaded again and again with other conditions must not leave all of them behind.
KEPT_MAX = 2048

# What a comprehension may go through whose steps cost more than a comparison. `map` and `filter` copy their
# result at each step, so that 10,000 elements, a 20 KB header, take 2 s, and `matches` with a long pattern
# 0.9 s; 500 take 7 and 45 ms. More is an evaluation error.
FEW_MAX = 500

_CODE = re.compile(r"[A-Z_]+: ")  # the library's kind of fault, before its words

Reader = Callable[[Facts], object]


class Truth(Enum):
    """What a condition says. There is no third way to read it as a bool: compare with `is`."""

    YES = "yes"
    NO = "no"
    FAILED = "failed"


class ExpressionFault(ValueError):
    """An expression that cannot be used: what is wrong, in our prose. Never leaves `policy/`."""


class EvaluationFailed(ValueError):
    """An expression that gave no usable value for one request. Never leaves `policy/`."""


class Program(Protocol):
    """A compiled expression, as far as this module uses it."""

    def eval(self, *, data: dict[str, object]) -> _Value:
        """Evaluate with these variables."""
        ...


class _Value(Protocol):
    def value(self) -> object: ...


class Condition(NamedTuple):
    """A compiled `when`."""

    source: str
    program: Program
    bindings: tuple[tuple[str, Reader], ...]
    inspection: Inspection

    def holds(self, facts: Facts) -> Truth:
        """Evaluate for one request."""
        try:
            found = self.program.eval(data={name: read(facts) for name, read in self.bindings}).value()
        except Exception:  # noqa: BLE001 - the library raises RuntimeError and whatever C++ throws: all are "failed"
            return Truth.FAILED
        # SECURITY: only the two bools themselves count; an ERROR value is a string, and truthy.
        if found is True:
            return Truth.YES
        return Truth.NO if found is False else Truth.FAILED

    def inquire(self, facts: Facts) -> Inquiry:
        """Say what `holds` says, and why; for people, and slower."""
        truth, failure = self.holds(facts), ""
        if truth is Truth.FAILED:
            failure = _failure(self.program, self.bindings, facts)
        return Inquiry(truth, failure, _values(self.bindings, facts))


class Inquiry(NamedTuple):
    """What an expression says of one request, and what it said it from.

    Args:
        failure: why it failed, one line; "" where it did not.
        values: variables that it names, and their values; one that cannot be read is not among them.
    """

    truth: Truth
    failure: str
    values: dict[str, object]


class Expression(NamedTuple):
    """A compiled `per`, `cost` or `onAllow` value. A plain attribute path is read, not evaluated."""

    source: str
    program: Program | None
    bindings: tuple[tuple[str, Reader], ...]
    inspection: Inspection

    def text(self, facts: Facts) -> str:
        """Return the value as text; raises EvaluationFailed if it is not text."""
        found = self._evaluate(facts)
        if isinstance(found, str):
            return found
        raise EvaluationFailed(self.source)

    def number(self, facts: Facts) -> float:
        """Return the value as a finite number >= 0; raises EvaluationFailed otherwise."""
        found = self._evaluate(facts)
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise EvaluationFailed(self.source)
        number = float(found)
        if not math.isfinite(number) or number < 0.0:
            raise EvaluationFailed(self.source)
        return number

    def _evaluate(self, facts: Facts) -> object:
        try:
            if self.program is None:
                return self.bindings[0][1](facts)
            value = self.program.eval(data={name: read(facts) for name, read in self.bindings})
            found = value.value()
            failed = value.type() == cel.Type.ERROR  # type: ignore[attr-defined]
        except Exception as error:
            raise EvaluationFailed(self.source) from error
        if failed:
            raise EvaluationFailed(self.source)
        return found

    def failure(self, facts: Facts) -> str:
        """Say why it fails for a request, one line."""
        return _failure(self.program, self.bindings, facts)


class Compiler:
    """Compiles sources of one policy set after the other; equal sources share one program."""

    def __init__(self) -> None:
        self._env = cel.NewEnv(
            variables={name: _cel_type(variable.type) for name, variable in VOCABULARY.items()},
            extensions=[ext_optional.ExtOptional(), ext_strings.ExtStrings()],
        )
        self._compiled: dict[str, tuple[Program, str, Inspection]] = {}
        self._before: dict[str, tuple[Program, str, Inspection]] = {}  # what was compiled before those

    def condition(self, source: str) -> Condition:
        """Compile a `when`; raises ExpressionFault."""
        program, returns, inspection = self._compile(source)
        if returns not in ("BOOL", "DYN"):
            raise ExpressionFault(
                f"a condition is true or false, this one is {_prose(returns)}: compare it with something"
            )
        return Condition(source, program, _bind(inspection), inspection)

    def text(self, source: str) -> Expression:
        """Compile an expression that gives text; raises ExpressionFault."""
        return self._expression(source, ("STRING", "DYN"), "text: wrap it in `string(...)`")

    def number(self, source: str) -> Expression:
        """Compile an expression that gives a number; raises ExpressionFault."""
        return self._expression(source, ("INT", "UINT", "DOUBLE", "DYN"), "a number")

    def _expression(self, source: str, wanted: tuple[str, ...], prose: str) -> Expression:
        program, returns, inspection = self._compile(source)
        if returns not in wanted:
            raise ExpressionFault(f"this is {_prose(returns)}, it must be {prose}")
        plain = source.strip() in VOCABULARY
        return Expression(source, None if plain else program, _bind(inspection), inspection)

    def _compile(self, source: str) -> tuple[Program, str, Inspection]:
        known = self._compiled.get(source)
        if known is None:
            known = self._before.get(source) or self._compile_anew(source)
            if len(self._compiled) >= KEPT_MAX:  # what nobody asked for lately goes: documents keep their own
                self._before, self._compiled = self._compiled, {}
            self._compiled[source] = known
        return known

    def _compile_anew(self, source: str) -> tuple[Program, str, Inspection]:
        if len(source.encode("utf-8", "replace")) > SOURCE_MAX_BYTES:
            raise ExpressionFault(f"the expression is longer than {SOURCE_MAX_BYTES} bytes: split the rule")
        try:
            compiled = self._env.compile(source)
            inspection = inspect(source, compiled.serialize())
        except Exception as error:
            raise ExpressionFault(_explain(str(error))) from error
        if inspection.fault:
            raise ExpressionFault(inspection.fault)
        return compiled, compiled.return_type().name(), inspection


def _failure(program: Program | None, bindings: tuple[tuple[str, Reader], ...], facts: Facts) -> str:
    """Return why an evaluation failed: the library's words, or what could not be read."""
    values: dict[str, object] = {}
    for name, read in bindings:
        try:
            values[name] = read(facts)
        except ValueError as error:
            return f"`{name}` cannot be read: {_clean(str(error))}"
    if program is None:
        return "it gives no text"
    try:
        value = program.eval(data=values)
        found = value.value()
    except Exception as error:  # noqa: BLE001 - as in `holds`
        return _told(str(error))
    if value.type() == cel.Type.ERROR:  # type: ignore[attr-defined]
        return _told(str(found))
    return "its value is of another type than it must be"


def _told(message: str) -> str:
    return _clean(_CODE.sub("", message.split("\n", 1)[0]))


def _values(bindings: tuple[tuple[str, Reader], ...], facts: Facts) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, read in bindings:
        with suppress(ValueError):
            found[name] = read(facts)
    return found


def _bind(inspection: Inspection) -> tuple[tuple[str, Reader], ...]:
    names = sorted(inspection.names)
    if inspection.heavy:
        return tuple((name, partial(_read_few, VOCABULARY[name].read)) for name in names)
    return tuple((name, VOCABULARY[name].read) for name in names)


def _read_few(read: Reader, facts: Facts) -> object:
    """Read a variable that heavy steps may go through; raises EvaluationFailed if it is too long."""
    found = read(facts)
    lists = [found, *found.values()] if isinstance(found, dict) else [found]
    if any(isinstance(each, list | dict) and len(each) > FEW_MAX for each in lists):
        raise EvaluationFailed(f"more than {FEW_MAX} elements")
    return found


def _cel_type(kind: CelType) -> cel.Type:
    texts = cel.Type.List(cel.Type.STRING)
    return {
        CelType.STRING: cel.Type.STRING,
        CelType.INT: cel.Type.INT,
        CelType.BOOL: cel.Type.BOOL,
        CelType.BYTES: cel.Type.BYTES,
        CelType.TIMESTAMP: cel.Type.TIMESTAMP,
        CelType.TEXTS: texts,
        CelType.TEXT_MAP: cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
        CelType.TEXTS_MAP: cel.Type.Map(cel.Type.STRING, texts),
        CelType.DYN_MAP: cel.Type.Map(cel.Type.STRING, cel.Type.DYN),
    }[kind]


def _prose(cel_type: str) -> str:
    return {
        "STRING": "text",
        "INT": "a number",
        "DOUBLE": "a number",
        "UINT": "a number",
        "BOOL": "true or false",
    }.get(cel_type, f"of the type `{cel_type.lower()}`")


def _explain(message: str) -> str:
    """Turn the library's several lines into one line of ours, with its column."""
    if "'request.path'" in message:
        return "there is no `request.path`, since Envoy's includes the query: use `request.url_path`"
    if "recursion" in message:
        return "the expression is nested more than 32 deep: split the rule"
    if "incompatible function arguments" in message:  # a text with a lone surrogate
        return "the expression is not valid text"
    first = message.split("\n", 1)[0]
    text = first.removeprefix("INVALID_ARGUMENT: ").removeprefix("ERROR: ").removeprefix("<input>:")
    position, _, what = text.partition(": ")
    line, _, column = position.partition(":")
    if not (line.isdigit() and column.isdigit()):
        return f"not a CEL expression: {_clean(text)}"
    return f"{_clean(what)} (at character {column} of line {line} of the expression){_guess(what)}"


def _guess(what: str) -> str:
    """Return what to write instead of a variable that there is not, or where to look."""
    undeclared = re.match(r"undeclared reference to '([A-Za-z_][A-Za-z0-9_.]{0,79})'", what)
    meant = nearest(undeclared[1]) if undeclared else None
    if meant:
        return f": did you mean `{meant}`?"
    return ": docs/conditions.md lists what there is" if undeclared else ""


def _clean(text: str) -> str:
    text = text.replace(" (in container '')", "").replace("'", "`").strip()
    # SECURITY: the library quotes the source, whose control characters would move the reader's terminal.
    return "".join(each if each.isprintable() else "?" for each in " ".join(text.split()))[:300]
