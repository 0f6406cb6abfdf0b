"""Manifests in JSON: values one after another, as `kubectl` writes and reads them.

YAML's readers take most of JSON, but not its surrogate pairs (`\\ud83d\\ude00`) nor its tabs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from authz.injection.tree import Json, Object, Word, quoted
from authz.injection.words import value_of

_SPACE = re.compile(r"[ \t\r\n]*")
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_LONE = re.compile("[\ud800-\udfff]")


class NotJson(Exception):
    """A text that is no JSON.

    Args:
        what: what is wrong and what to do.
        sure: it is JSON, and a bad one; else it may be YAML.
    """

    def __init__(self, what: str, line: int, column: int, *, sure: bool) -> None:
        super().__init__(what)
        self.what = what
        self.line = line
        self.column = column
        self.sure = sure


class Bounds(NamedTuple):
    """How much a text may hold."""

    depth: int
    values: int
    documents: int


def read_json(text: str, bounds: Bounds) -> list[Json]:
    """Read values that follow one another.

    Raises:
        NotJson: it is none, or says something twice, too deep or too often.
    """
    return list(_values(text, bounds))


def _values(text: str, bounds: Bounds) -> Iterator[Json]:
    decoder = json.JSONDecoder(
        object_pairs_hook=_object, parse_float=Word, parse_int=value_of, parse_constant=_constant
    )
    at, documents, room = _past_space(text, 0), 0, bounds.values
    while at < len(text):
        documents += 1
        if documents > bounds.documents:
            raise _sure(text, at, f"more than {bounds.documents} documents: split the file")
        try:
            data, end = decoder.raw_decode(text, at)
            room -= _count(data, bounds, room)
        except json.JSONDecodeError as error:
            raise NotJson("not JSON: mend it", error.lineno, error.colno, sure=False) from None
        except RecursionError:
            raise _sure(text, at, _too_deep(bounds)) from None
        except _Unusable as fault:
            raise _sure(text, at, str(fault)) from None
        _check_pairs(text, at, end, data)
        yield data
        at = _past_space(text, end)


def _check_pairs(text: str, at: int, end: int, data: Json) -> None:
    if _HALF.search(text, at, end) and _LONE.search(json.dumps(data, ensure_ascii=False, default=str)):
        raise _sure(text, at, "half of a surrogate pair (`\\ud800`): write the whole character")


class _Unusable(Exception):
    """What is well-formed, and yet cannot be used."""


def _object(pairs: list[tuple[str, Json]]) -> Object:
    found: Object = {}
    for key, value in pairs:
        if key in found:
            raise _Unusable(f"{quoted(key)} stands twice: remove one")
        found[key] = value
    return found


def _constant(word: str) -> Json:
    raise _Unusable(f"`{word}` is no number of JSON: write a finite one")


def _past_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _sure(text: str, at: int, what: str) -> NotJson:
    before = text[:at]
    return NotJson(what, before.count("\n") + 1, len(before) - before.rfind("\n"), sure=True)


def _too_deep(bounds: Bounds) -> str:
    return f"nested deeper than {bounds.depth}: flatten it"


def _count(data: Json, bounds: Bounds, room: int) -> int:
    """Return how many values there are, level by level."""
    level, count = [data], 1
    for _ in range(bounds.depth + 1):
        below: list[Json] = []
        for one in level:
            if isinstance(one, dict):
                below.extend(one.values())
            elif isinstance(one, list):
                below.extend(one)
        count += len(below)
        if count > room:
            raise _Unusable(f"more than {bounds.values} values: split the file")
        if not below:
            return count
        level = below
    raise _Unusable(_too_deep(bounds))
