"""Manifests in JSON: values one after another, as `kubectl` writes and reads them.

YAML's readers take most of JSON, but not its surrogate pairs (`\\ud83d\\ude00`) nor its tabs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from authz.injection.tree import Json, Object, Word, quoted

_SPACE = re.compile(r"[ \t\r\n]*")
_MAX_DIGITS = 18  # of a number that is surely exact for everybody


class JsonDocument(NamedTuple):
    """One value, and its text."""

    data: Json
    text: str


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


def read_json(text: str, max_depth: int) -> list[JsonDocument]:
    """Read values that follow one another.

    Raises:
        NotJson: it is none, or says something twice or too deep.
    """
    return list(_values(text, max_depth))


def _values(text: str, max_depth: int) -> Iterator[JsonDocument]:
    decoder = json.JSONDecoder(
        object_pairs_hook=_object, parse_float=Word, parse_int=_integer, parse_constant=_constant
    )
    at = _past_space(text, 0)
    while at < len(text):
        try:
            data, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise NotJson("not JSON: mend it", error.lineno, error.colno, sure=False) from None
        except RecursionError:
            raise _sure(text, at, f"nested deeper than {max_depth}: flatten it") from None
        except _Twice as fault:
            raise _sure(text, at, str(fault)) from None
        if _depth(data) > max_depth:
            raise _sure(text, at, f"nested deeper than {max_depth}: flatten it")
        yield JsonDocument(data, text[at:end] + "\n")
        at = _past_space(text, end)


class _Twice(Exception):
    """What is well-formed, and yet cannot be used."""


def _object(pairs: list[tuple[str, Json]]) -> Object:
    found: Object = {}
    for key, value in pairs:
        if key in found:
            raise _Twice(f"{quoted(key)} stands twice: remove one")
        found[key] = value
    return found


def _integer(digits: str) -> Json:
    return int(digits) if len(digits) <= _MAX_DIGITS and digits != "-0" else Word(digits)


def _constant(word: str) -> Json:
    raise _Twice(f"`{word}` is no number of JSON: write a finite one")


def _past_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _sure(text: str, at: int, what: str) -> NotJson:
    before = text[:at]
    return NotJson(what, before.count("\n") + 1, len(before) - before.rfind("\n"), sure=True)


def _depth(data: Json) -> int:
    """Return how deep lists and mappings are nested."""
    level: list[Json] = [data]
    for depth in range(1_000_000):
        below: list[Json] = []
        for one in level:
            if isinstance(one, dict):
                below.extend(one.values())
            elif isinstance(one, list):
                below.extend(one)
        if not below:
            return depth + any(isinstance(one, dict | list) for one in level)
        level = below
    return len(level)
