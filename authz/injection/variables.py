"""What a pod may choose about its sidecar: annotations, each with a default and with what it may say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from authz.injection.tree import Json, Object, TurnedAway, mapping, quoted

MAX_VALUE_CHARS = 32 * 1024  # of an annotation's value: 64 hosts have half; patterns are not tried on more
MAX_DEPTH = 32  # of a template; its deepest value stands 12 deep

_USE = re.compile(r"\$\{(?P<number>int:)?(?P<name>[A-Za-z][A-Za-z0-9]*)\}")
# What Python's patterns know and RE2 does not: look-around, references, possessive and atomic parts.
_NOT_RE2 = re.compile(r"\(\?(?:[=!>#]|<[=!]|P=|\()|\\[1-9]|[*+?}]\+")

Values = Mapping[str, str]


class Variable(NamedTuple):
    """One thing that a pod may choose.

    Args:
        name: as the template names it, `${name}`.
        annotation: of the pod.
        default: where the pod does not say; one that would not be accepted means that the pod must say.
        pattern: what a value must match from end to end; None where `choices` alone decide.
        choices: what a pod may say -> what the template is given instead; empty: what the pod says.
        message: what a value is, for people: "a port, 1 to 65535".
    """

    name: str
    annotation: str
    default: str
    pattern: re.Pattern[str] | None
    choices: Mapping[str, str]
    message: str

    def value(self, said: str) -> str | None:
        """Return what the template is given for what a pod says; None where it may not say that."""
        if len(said) > MAX_VALUE_CHARS:
            return None
        if self.pattern is not None and not self.pattern.fullmatch(said):
            return None
        return self.choices.get(said) if self.choices else said


def pattern_of(written: str) -> re.Pattern[str]:
    """Compile a pattern that means the same here and in RE2, which the API server uses.

    Raises:
        ValueError: it would not, or is none; says what to do.
    """
    if not (written.startswith("^") and written.endswith("$")):
        raise ValueError("is not anchored: begin it with `^` and end it with `$`")
    if _NOT_RE2.search(written):
        raise ValueError("is not for RE2: use no look-around, references or possessive parts")
    try:
        return re.compile(written, re.ASCII)
    except (re.error, RecursionError, OverflowError):
        raise ValueError("is no regular expression: mend it") from None


def resolve(variables: Sequence[Variable], annotations: Json) -> Values | TurnedAway:
    """Return the values for one pod, by the variables' names."""
    said = mapping(annotations)
    values: dict[str, str] = {}
    for variable in variables:
        word = said.get(variable.annotation, variable.default)
        value = variable.value(word) if isinstance(word, str) else None
        if value is None:
            return TurnedAway(_wrong(variable, word))
        values[variable.name] = value
    return values


def _wrong(variable: Variable, word: Json) -> str:
    if word == "":
        why = "is missing, and the template has no default"
    elif not isinstance(word, str):
        return f"annotation `{variable.annotation}` is no text: put {quoted(word)} in quotes"
    else:
        why = f"says {quoted(word)}"
    return f"annotation `{variable.annotation}` {why}: write {variable.message}"


def filled(part: Json, values: Values) -> Json:
    """Return a part of the template with its variables put in; nothing of it is shared with the template."""
    if isinstance(part, str):
        return _filled_text(part, values)
    if isinstance(part, list):
        return [filled(each, values) for each in part]
    if isinstance(part, dict):
        return filled_object(part, values)
    return part


def filled_object(part: Object, values: Values) -> Object:
    """Return a mapping of the template with its variables put in."""
    return {key: filled(value, values) for key, value in part.items()}


def _filled_text(text: str, values: Values) -> Json:
    whole = _USE.fullmatch(text)
    if whole is not None and whole["number"]:
        return int(values[whole["name"]])
    return _USE.sub(lambda use: values[use["name"]], text)


class Use(NamedTuple):
    """A variable where the template uses it; as a `number`, where the text is nothing else."""

    name: str
    number: bool


def uses_in(written: str, where: str) -> Iterator[Use]:
    """Yield the variables that a text of the template uses.

    Raises:
        ValueError: `${` begins something else; says what to do.
    """
    if "${" in _USE.sub("", written):
        raise ValueError(
            f"`{where}` holds `${{` that begins no variable: write `${{name}}` or `${{int:name}}`"
        )
    for use in _USE.finditer(written):
        number = use["number"] is not None
        if number and use[0] != written:
            raise ValueError(f"`{where}` holds `{use[0]}` within a text: a number stands alone")
        yield Use(use["name"], number)


def each_text(part: Json, where: str, look: Callable[[str, str], None], room: int = MAX_DEPTH) -> None:
    """Show every text below a part, and where it stands; names of fields are no texts.

    Raises:
        ValueError: it is nested deeper than there is room.
    """
    if not room:
        raise ValueError(f"nested deeper than {MAX_DEPTH}: nothing of a pod is")
    if isinstance(part, str):
        look(part, where)
    elif isinstance(part, list):
        for index, each in enumerate(part):
            each_text(each, f"{where}[{index}]", look, room - 1)
    elif isinstance(part, dict):
        for key, value in part.items():
            each_text(value, f"{where}.{key}", look, room - 1)
