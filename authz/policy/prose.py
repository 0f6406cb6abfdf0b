"""What pydantic found wrong, in our words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from authz.policy.document import json_schema
from authz.policy.source import Path
from authz.policy.texts import shown

_WANTED = {
    "bool_type": "`true` or `false`",
    "dict_type": "a mapping",
    "int_type": "a whole number",
    "dataclass_type": "a mapping",
    "string_type": "a text",
    "tuple_type": "a list",
}
_WRITTEN = {
    bool: "a truth value",
    int: "a number",
    float: "a fraction",
    str: "a text",
    list: "a list",
    dict: "a mapping",
}

_RATE = re.compile(
    r"spec\.((guard|tiers\[\d+\]|limits\.[a-z0-9-]+)\.)?rate"
)  # a label may be called `rate` too


# What one may not know by heart, when one writes a document in a hurry.
_MISSED = {
    "apiVersion": "`apiVersion: policy.authz/v1alpha1`",
    "metadata": "`metadata: {name: NAME}`",
    "spec.now": "the time of all cases, such as `now: 2026-06-01T12:00:00Z`",
}


class Flaw(NamedTuple):
    """One thing wrong in one document, before its place is known."""

    path: Path  # from the document's root
    what: str
    at_key: bool = False  # the key is wrong, not its value
    newer: bool = False  # a newer version of this program may well read it


def flaws_of(error: ValidationError, kind: str) -> Iterator[Flaw]:
    """Translate everything that pydantic found in one document."""
    found = error.errors(include_url=False)
    blamed = {details["loc"][:end] for details in found for end in range(len(details["loc"]))}
    for details in found:
        loc = details["loc"]
        if details["type"] == "too_short" and loc in blamed:
            continue  # pydantic counts only the items without faults of their own
        at_key = loc[-1:] == ("[key]",)
        yield _flaw(details, loc[:-1] if at_key else loc, kind, at_key=at_key)


def dotted(path: Path) -> str:
    """Write a path as people do: `spec.rules[0].when`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{shown(step)}" for step in path)
    return text.removeprefix(".")


def _flaw(details: ErrorDetails, path: Path, kind: str, *, at_key: bool) -> Flaw:
    name = dotted(path)
    match details["type"]:
        case "missing":
            return Flaw(path[:-1], f"`{name}` is missing: write {_MISSED.get(name, 'it')}")
        case "unexpected_keyword_argument":
            return Flaw(path, f"unknown field `{name}`: {_nearest(path, kind)}", at_key=True)
        case "too_short":
            return Flaw(path, f"`{name}` is empty: write at least one, or remove the line")
        case "too_long":
            return Flaw(path, f"`{name}` has too many items: at most {_limit(details, 'max_length')}")
        case "value_error":
            return Flaw(path, f"`{name}`: {_limit(details, 'error')}", at_key)
        case "literal_error" | "enum":
            words = str(_limit(details, "expected")).replace("'", "`")
            return Flaw(path, f"`{name}` cannot be `{shown(details['input'])}`: write {words}", at_key)
        case "greater_than_equal":
            return Flaw(path, f"`{name}` is too small: at least {_limit(details, 'ge')}")
        case "less_than_equal":
            return Flaw(path, f"`{name}` is too large: at most {_limit(details, 'le')}")
    return Flaw(path, _mistyped(details, name), at_key)


def _limit(details: ErrorDetails, name: str) -> Any:  # a number or an exception, as pydantic keeps them
    return details.get("ctx", {}).get(name, "")


def _mistyped(details: ErrorDetails, name: str) -> str:
    value = details["input"]
    wanted = _WANTED.get(details["type"])
    if wanted is None:
        return f"`{name}`: {details['msg'][:1].lower()}{details['msg'][1:]}"
    written = _WRITTEN.get(type(value), "something else")
    mend = _as_text(value, name) if wanted == "a text" and isinstance(value, int | float) else ""
    return f"`{name}` must be {wanted}, not {written}{mend}"


def _as_text(value: float, name: str) -> str:
    """Return how to write a number where a text belongs: a rate lacks its unit, all else only quotes."""
    if _RATE.fullmatch(name) and type(value) is int and value > 0:
        return f": write `{value}/s`, or with the unit `min`, `h` or `d`"
    return ": put it in quotes"


def _nearest(path: Path, kind: str) -> str:
    known = sorted(_known_fields(path[:-1], kind))
    guess = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.6)
    if guess:
        return f"did you mean `{guess[0]}`?"
    return f"write one of {', '.join(f'`{field}`' for field in known)}" if known else "remove it"


@cache
def _schema() -> dict[str, Any]:
    return json_schema()["$defs"]  # type: ignore[no-any-return]  # a JSON Schema has no narrower type


def _known_fields(path: Path, kind: str) -> set[str]:
    """Walk the JSON Schema down a path and return the fields that may stand there."""
    defs = _schema()
    node: dict[str, Any] = defs[kind]
    for step in path:
        node = _below(_resolved(node, defs), step)
    return set(_resolved(node, defs).get("properties", {}))


def _below(node: dict[str, Any], step: str | int) -> dict[str, Any]:
    if isinstance(step, int):
        found = node.get("items")
    else:
        found = node.get("properties", {}).get(step) or node.get("additionalProperties")
        found = found or next(iter(node.get("patternProperties", {}).values()), None)
    return found if isinstance(found, dict) else {}


def _resolved(node: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    reference = node.get("$ref")
    return defs[reference.rsplit("/", 1)[-1]] if reference else node
