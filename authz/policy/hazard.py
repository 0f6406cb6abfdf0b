"""What in an expression fails for some requests, read off its syntax tree.

An expression that fails is no accident without effect: it denies, or keeps from allowing, and whoever wrote
it hears of it from a caller. Nothing here runs an expression.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol, cast

from cel.expr import checked_pb2
from google.protobuf import any_pb2

from authz.policy.condition import Condition, Expression
from authz.policy.inspection import Expr, children, walk

_PARSES = {"int", "uint", "double", "timestamp", "duration", "bool"}
_COMPARES = {"_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"}
_CUTS = {"charAt", "substring"}


class _Serializes(Protocol):
    def serialize(self) -> bytes: ...


class Hazard(NamedTuple):
    """One part of an expression that can fail.

    Args:
        what: the part, in few words.
        mend: what makes it safe.
        segments: of an index into the path's segments: how many must be there; 0 for any other part.
    """

    what: str
    mend: str
    segments: int = 0


def tree_of(compiled: Condition | Expression) -> checked_pb2.CheckedExpr | None:
    """Return the syntax tree of an expression; None of a plain variable, which cannot fail."""
    if compiled.program is None:
        return None
    checked = checked_pb2.CheckedExpr()
    serialized = cast("_Serializes", compiled.program).serialize()
    any_pb2.Any.FromString(serialized).Unpack(checked)
    return checked


def hazards(checked: checked_pb2.CheckedExpr) -> Iterator[Hazard]:
    """Yield what can fail, but for a look into a map by a written key, which `inspection.py` finds."""
    nodes = list(walk(checked.expr))
    asked = _Asked(nodes)
    for node in nodes:
        if node.HasField("call_expr"):
            ways = set(checked.reference_map[node.id].overload_id)
            yield from _of_call(node.call_expr, ways, asked)


class _Asked:
    """What an expression asks about its own parts; a part that it asks about is taken for guarded."""

    def __init__(self, nodes: list[Expr]) -> None:
        self._about: set[tuple[str, bytes]] = set()
        for node in nodes:
            call = node.call_expr
            if call.function in _COMPARES:
                self._about.update(("compared", shape(part)) for part in call.args)
            elif call.function in ("size", "matches", "hasValue"):
                target = call.target if call.HasField("target") else call.args[0]
                self._about.add((call.function, shape(target)))
            elif call.function == "@in":
                self._about.add(("key", shape(call.args[1]) + shape(call.args[0])))

    def __call__(self, question: str, node: Expr) -> bool:
        return (question, shape(node)) in self._about

    def has_key(self, table: Expr, key: Expr) -> bool:
        return ("key", shape(table) + shape(key)) in self._about


def shape(node: Expr) -> bytes:
    """Return a part of an expression without the numbers that tell two equal parts apart."""
    copy = type(node)()
    copy.CopyFrom(node)
    for part in walk(copy):
        part.ClearField("id")
    return bytes(copy.SerializeToString(deterministic=True))


def _of_call(call: Expr, ways: set[str], asked: _Asked) -> Iterator[Hazard]:
    name = call.function
    if name in _PARSES and any(way.startswith("string_to_") for way in ways):
        if not _is_constant(call.args[0]) and not asked("matches", call.args[0]):
            mend = f'ask first, as in `x.matches("^[0-9]+$") && {name}(x) > 1`'
            yield Hazard(f"`{name}(...)` of a text that is none", mend)
    elif name in ("_/_", "_%_") and not any(way.endswith("double") for way in ways):
        if not _is_number(call.args[1]) and not asked("compared", call.args[1]):
            yield Hazard("a division by zero", "ask first that the divisor is not 0")
    elif name == "_[_]":
        yield from _of_index(call, ways, asked)
    elif name == "value" and "optional_value" in ways:
        if not asked("hasValue", call.target):
            yield Hazard("`.value()` of what is not there", "use `.orValue(...)`")
    elif name in _CUTS and not asked("size", call.target):
        yield Hazard(f"`{name}` beyond the end of a text", "ask for its `size()` first")


def _of_index(call: Expr, ways: set[str], asked: _Asked) -> Iterator[Hazard]:
    table, key = call.args
    if any(way.startswith("index_map") for way in ways):
        if not key.HasField("const_expr") and not asked.has_key(table, key):
            yield Hazard("a key that a map may not have", "use `m[?k].orValue(...)`, or ask `k in m` first")
    elif not asked("size", table):
        mend = "ask for its `size()` first, or use `[?...]`"
        wanted = int(key.const_expr.int64_value) + 1 if key.HasField("const_expr") else 0
        of_path = table.ident_expr.name == "request.segments"
        yield Hazard("an index beyond the end of a list", mend, wanted if of_path else 0)


def _is_constant(node: Expr) -> bool:
    return bool(node.HasField("const_expr"))


def _is_number(node: Expr) -> bool:
    constant = node.const_expr
    return bool(constant.int64_value or constant.uint64_value or constant.double_value)


def only_denies(node: Expr) -> bool:
    """Whether a condition is made of negations alone: it lets through whatever nobody thought of."""
    call = node.call_expr
    if call.function in ("_&&_", "_||_"):
        return all(map(only_denies, call.args))
    if call.function == "!_":
        return bool(call.args[0].ident_expr.name != "identity.anonymous")  # "is proven", said the other way
    if call.function == "_!=_":
        return not any(map(_is_nothing, call.args))
    return False


def _is_nothing(node: Expr) -> bool:
    """Whether it is what a variable holds that is not there: `x != ""` asks for something."""
    constant = node.const_expr
    match constant.WhichOneof("constant_kind"):
        case "string_value":
            return not constant.string_value
        case "int64_value":
            return constant.int64_value in (0, -1)
        case "null_value":
            return True
    return node.HasField("list_expr") and not children(node)
