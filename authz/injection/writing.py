"""Manifests written so that every reader sees the same: what could be taken for something else is quoted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

import yaml
from yaml.cyaml import CDumper
from yaml.events import (
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from authz.injection.reading import Document
from authz.injection.tree import Json, Word
from authz.injection.words import meaning_of

_NO_FOLD = 2**30  # characters of a line: a folded text is one that nobody recognises
# Surely a text for everybody: begins with a letter, a slash or an underscore, and is none of the words below.
_BARE = re.compile(r"[A-Za-z/_][A-Za-z0-9 _./:@,+=*()${}-]*(?<! )")
_WORDS = frozenset(("y", "yes", "n", "no", "on", "off", "true", "false", "null"))
_LINES = re.compile(
    r"[^\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]*\n[^\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]*"
)


def as_yaml(documents: Sequence[Document], changed: Sequence[Json | None]) -> Iterator[str]:
    """Yield the documents as YAML; those that were not changed as they stood.

    Args:
        changed: for each document what it says now, or None where it is as it was.
    """
    for index, (document, now) in enumerate(zip(documents, changed, strict=True)):
        text = (
            document.text if now is None and document.text else yaml_of(document.data if now is None else now)
        )
        if index and not text.startswith("---"):
            yield "---\n"
        yield text


def as_json(values: Sequence[Json]) -> Iterator[str]:
    """Yield values as JSON, one after another, as `kubectl` reads them."""
    for value in values:
        yield json.dumps(value, indent=2, ensure_ascii=False, default=_plain) + "\n"


def _plain(value: object) -> bool | int | float | str | None:
    if isinstance(value, Word):
        return meaning_of(value.spelt)
    raise TypeError("nothing but words of YAML needs an explanation")


def yaml_of(value: Json) -> str:
    """Return one document of YAML."""
    written = yaml.emit(_stream(value), Dumper=CDumper, width=_NO_FOLD, allow_unicode=True)
    return str(written)


def _stream(value: Json) -> Iterator[Event]:
    yield StreamStartEvent()
    yield DocumentStartEvent(explicit=False)
    yield from _events(value)
    yield DocumentEndEvent(explicit=False)
    yield StreamEndEvent()


def _events(value: Json) -> Iterator[Event]:
    if isinstance(value, dict):
        yield MappingStartEvent(None, None, implicit=True, flow_style=not value)
        for key, below in value.items():
            yield _text(key, key=True)
            yield from _events(below)
        yield MappingEndEvent()
    elif isinstance(value, list):
        yield SequenceStartEvent(None, None, implicit=True, flow_style=not value)
        for below in value:
            yield from _events(below)
        yield SequenceEndEvent()
    elif isinstance(value, str):
        yield _text(value)
    else:
        spelt = value.spelt if isinstance(value, Word) else json.dumps(value)
        yield ScalarEvent(None, None, (True, False), spelt)


def _text(text: str, *, key: bool = False) -> Event:
    style = '"'
    if _BARE.fullmatch(text) and text.lower() not in _WORDS:
        style = ""
    elif not key and _LINES.fullmatch(text):
        style = "|"
    return ScalarEvent(None, None, (not style, True), text, style=style or None)
