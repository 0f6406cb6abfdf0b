"""A small judge of JSON Schemas, of the keywords that ours uses; an unknown keyword is an error, no pass."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

_SILENT = frozenset(("$schema", "$defs", "title", "description", "default", "format", "examples"))
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}

# Keywords that ask one thing of one type: type -> keyword -> question.
_PLAIN: dict[type, dict[str, Callable[[Any, Any], bool]]] = {
    str: {
        "pattern": lambda wanted, value: re.search(wanted, value) is not None,
        "minLength": lambda wanted, value: len(value) >= wanted,
        "maxLength": lambda wanted, value: len(value) <= wanted,
    },
    int: {
        "minimum": lambda wanted, value: value >= wanted,
        "maximum": lambda wanted, value: value <= wanted,
    },
    list: {
        "minItems": lambda wanted, value: len(value) >= wanted,
        "maxItems": lambda wanted, value: len(value) <= wanted,
    },
    dict: {
        "required": lambda wanted, value: set(wanted) <= set(value),
        "minProperties": lambda wanted, value: len(value) >= wanted,
    },
}
_ANY: dict[str, Callable[[Any, Any], bool]] = {
    "const": lambda wanted, value: value == wanted,
    "enum": lambda wanted, value: value in wanted,
    "type": lambda wanted, value: (
        isinstance(value, _TYPES[wanted]) and isinstance(value, bool) == (wanted == "boolean")
    ),
}


def complaints(schema: dict[str, Any], value: Any) -> list[str]:
    """Return everything that a schema has against a value."""
    return list(_of(schema, value, schema.get("$defs", {})))


def _of(schema: dict[str, Any], value: Any, defs: dict[str, Any]) -> Iterator[str]:
    for word, wanted in schema.items():
        plain = _ANY.get(word)
        for kind, questions in _PLAIN.items():
            if word in questions:
                plain = questions[word] if isinstance(value, kind) else lambda _, __: True
        if plain is not None:
            if not plain(wanted, value):
                yield f"{value!r} against {word} {wanted!r}"
        elif word not in _SILENT:
            yield from _NESTED[word](schema, value, defs)


def _reference(schema: dict[str, Any], value: Any, defs: dict[str, Any]) -> Iterator[str]:
    yield from _of(defs[schema["$ref"].rsplit("/", 1)[-1]], value, defs)


def _one_of(schema: dict[str, Any], value: Any, defs: dict[str, Any]) -> Iterator[str]:
    fitting = sum(not list(_of(one, value, defs)) for one in schema["oneOf"])
    if fitting != 1:
        yield f"{fitting} of oneOf"


def _items(schema: dict[str, Any], value: Any, defs: dict[str, Any]) -> Iterator[str]:
    for item in value if isinstance(value, list) else ():
        yield from _of(schema["items"], item, defs)


def _members(schema: dict[str, Any], value: Any, defs: dict[str, Any]) -> Iterator[str]:
    for name, inner in value.items() if isinstance(value, dict) else ():
        yield from _of(schema.get("propertyNames", {}), name, defs)
        below = schema.get("properties", {}).get(name)
        patterns = (one for text, one in schema.get("patternProperties", {}).items() if re.search(text, name))
        below = below or next(patterns, None) or schema.get("additionalProperties", True)
        if below is False:
            yield f"{name} is unknown"
        elif isinstance(below, dict):
            yield from _of(below, inner, defs)


_NESTED: dict[str, Callable[[dict[str, Any], Any, dict[str, Any]], Iterator[str]]] = {
    "$ref": _reference,
    "oneOf": _one_of,
    "items": _items,
    "properties": _members,
    "patternProperties": _members,
    "additionalProperties": _members,
    "propertyNames": _members,
}
