"""From bytes to plain data, and back to the line that said it.

A file is read by libyaml's events: composing nodes costs five times as much, and recursion in C over hostile
nesting costs the process. Positions are not kept while reading; the file is walked a second time when
somebody asks where something stands, which happens only for faults (see `source.py`).

The dialect is YAML 1.2's core schema less everything that lets two readers see two things: tags, merge keys,
duplicate keys, empty values, tabs, bidirectional controls and line breaks that only some parsers know.

Source: YAML 1.2.2, sections 5.1 (characters) and 10.3 (core schema).
"""

from __future__ import annotations

import io
import re
from itertools import islice
from typing import NamedTuple, TypeAlias

import yaml
from yaml.cyaml import CParser  # type: ignore[attr-defined]  # the stubs forget to export it
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)

from authz.model.errors import Place, PolicyError
from authz.policy.quoting import quoting_hint
from authz.policy.scalar import is_text, number_or_text
from authz.policy.source import Source, position_of
from authz.policy.texts import shown

MAX_FILE_BYTES = 1024 * 1024  # about 1,500 keys; a larger file is a mistake or an attack
MAX_DEPTH = 32  # nested lists and mappings; the deepest document of ours has 9
MAX_VALUES = 100_000  # a file; a megabyte of keys has 60,000, a megabyte of `1,1,1` half a million
MAX_DOCUMENTS = 10_000  # a file; a megabyte of keys has 1,500, a megabyte of `---` a quarter million
MAX_ALIASES = 64  # a file
MAX_ALIASED_VALUES = 10_000  # values that one alias may repeat: 64 of them stay cheap
MAX_FAULTS = 50  # a file; more tell nobody more

Data: TypeAlias = "bool | int | float | str | list[Data] | dict[str, Data] | None"

# SECURITY: bidirectional controls show a reviewer another text than the one that we read.
_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_FORBIDDEN = re.compile(
    "[^\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
    f"|\r(?!\n)|[{_BIDI}]"
)


class Tree(NamedTuple):
    """One document of a file."""

    position: int  # among the file's documents, from 0
    data: Data


class Parsed(NamedTuple):
    """What a file says, and what is wrong with how it says it.

    Args:
        trees: documents that could be read, empty ones left out.
        whole: it was read to its end.
        documents, values, aliases: how many it has, of what a file may have so many.
    """

    source: Source
    trees: tuple[Tree, ...]
    faults: tuple[PolicyError, ...]
    whole: bool = False
    documents: int = 0
    values: int = 0
    aliases: int = 0


def parse(content: bytes, file: str, line: int = 0) -> Parsed:
    """Read every document of a file, or of a part of it that can stand alone.

    Args:
        content: its bytes.
        file: name of the file, for places.
        line: lines of the file in front of it.

    Returns:
        the documents in front of the first fault that stops reading, and every fault found on the way.
        Never raises for anything that a file may hold.
    """
    try:
        text = _decode(content, file)
    except PolicyError as fault:
        return Parsed(Source(file, ""), (), (fault,))
    reader = _Reader(text, file, line)
    whole = False
    try:
        reader.read()
        whole = True
    except PolicyError as fault:
        reader.faults.append(fault)
    except yaml.YAMLError as error:
        reader.faults.append(_not_yaml(error, file, text))
    source = Source(file, text, line)
    return Parsed(source, tuple(reader.trees), tuple(reader.faults), whole, *reader.counts)


def _decode(content: bytes, file: str) -> str:
    if len(content) > MAX_FILE_BYTES:
        raise PolicyError(
            Place(file), f"the file has {len(content)} bytes, the limit is {MAX_FILE_BYTES}: split it"
        )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        place = _place_at(content[: error.start].decode("utf-8"), file)
        raise PolicyError(place, "not UTF-8: save the file as UTF-8") from None
    wrong = _FORBIDDEN.search(text)
    if wrong is not None:
        raise PolicyError(_place_at(text[: wrong.start()], file), _unwelcome(wrong[0]))
    return text


def _place_at(before: str, file: str) -> Place:
    return Place(file, before.count("\n") + 1, len(before) - before.rfind("\n"))


def _unwelcome(character: str) -> str:
    match character:
        case "\t":
            return "a tab: indent with spaces, and write `\\t` in double quotes where a text needs one"
        case "\ufeff":
            return "a byte order mark: save the file as UTF-8 without one"
        case "\r":
            return "a carriage return alone: end lines with a line feed"
        case "\u0085" | "\u2028" | "\u2029":
            return f"U+{ord(character):04X} ends a line for some readers only: remove it"
    return f"the character U+{ord(character):04X} is not allowed here: remove it"


def _not_yaml(error: yaml.YAMLError, file: str, text: str) -> PolicyError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
    told = [text for text in (getattr(error, "context", None), getattr(error, "problem", None)) if text]
    what = f"not well-formed YAML: {', '.join(told) or 'it cannot be read'}"
    line = next(islice(io.StringIO(text), mark.line, None), "") if mark else ""
    hint = quoting_hint(line.rstrip("\n"), mark.column) if mark else ""
    return PolicyError(place, f"{what}: {hint}" if hint else what)


class _Reader:
    """One walk over the events of one text."""

    def __init__(self, text: str, file: str, line: int) -> None:
        self._next = CParser(text).get_event
        self._file = file
        self._line = line
        self._documents = 0
        self._anchors: dict[str, Data] = {}
        self._aliases = 0
        self._room = MAX_VALUES
        self.trees: list[Tree] = []
        self.faults: list[PolicyError] = []

    @property
    def counts(self) -> tuple[int, int, int]:
        """Return how many documents, values and aliases there were."""
        return self._documents, MAX_VALUES - self._room, self._aliases

    def read(self) -> None:
        """Fill `trees` and `faults`; raise the fault that ends the reading early."""
        while (event := self._next()) is not None:
            if not isinstance(event, DocumentStartEvent):
                continue
            self._anchors.clear()
            first = self._next()
            if self._documents >= MAX_DOCUMENTS:
                raise self._error(event, f"more than {MAX_DOCUMENTS} documents in one file: split it")
            if isinstance(first, NodeEvent) and not _is_empty(first):
                self.trees.append(Tree(self._documents, self._value(first, 0)))
            self._documents += 1

    def _value(self, event: Event | None, depth: int) -> Data:
        if isinstance(event, AliasEvent):
            return self._alias(event, depth)
        self._room -= 1
        value: Data
        if isinstance(event, ScalarEvent):
            value = self._scalar(event)
        elif isinstance(event, MappingStartEvent):
            value = self._mapping(event, depth + 1)
        elif isinstance(event, SequenceStartEvent):
            value = self._sequence(event, depth + 1)
        else:
            raise TypeError("the parser gave no value where it promised one")
        if event.tag is not None:
            self._fault(event, f"a tag: remove `{shown(event.tag)}`")
        if event.anchor is not None:
            if event.anchor in self._anchors:  # some readers refuse it, and people miss it
                self._fault(event, f"the anchor `{shown(event.anchor)}` stands twice: name one otherwise")
            self._anchors[event.anchor] = value
        return value

    def _mapping(self, start: Event, depth: int) -> Data:
        self._check_size(start, depth)
        members: dict[str, Data] = {}
        while isinstance(event := self._next(), NodeEvent):
            key = self._key(event, depth)
            value = self._value(self._next(), depth)
            if self._room < 0:
                self._check_size(event, depth)
            if key is None:
                continue
            if key in members:
                self._fault(event, f"`{shown(key)}` stands twice: remove one")
            else:
                members[key] = value
        return members

    def _sequence(self, start: Event, depth: int) -> Data:
        self._check_size(start, depth)
        items: list[Data] = []
        while isinstance(event := self._next(), NodeEvent):
            items.append(self._value(event, depth))
            if self._room < 0:
                self._check_size(event, depth)
        return items

    def _key(self, event: NodeEvent, depth: int) -> str | None:
        if not isinstance(event, ScalarEvent):
            self._fault(event, "a key must be a text: write it out")
            if not isinstance(event, AliasEvent):
                self._value(event, depth)
            return None
        if event.tag is not None or event.anchor is not None:
            self._fault(event, "a key has no tag and no anchor: remove it")
            return None
        if not event.implicit[0]:
            return event.value
        if event.value == "<<":
            self._fault(event, "a merge key: write the fields out")
            return None
        if not is_text(event.value) and not _reads_as_text(event.value):
            self._fault(event, f"the key `{shown(event.value)}` is not a text: put it in quotes")
            return None
        return event.value

    def _scalar(self, event: ScalarEvent) -> Data:
        value = event.value
        if not event.implicit[0]:
            if "\0" in value:
                self._fault(event, "a NUL in a text: remove it")
            return value
        if is_text(value):
            return value
        try:
            found = number_or_text(value)
        except ValueError as error:
            self._fault(event, str(error))
            return value
        if found is None:
            # SECURITY: an empty `methods:` must not read as "every method": empty never means yes.
            self._fault(event, "a value is missing: write one, or remove the line")
        return found

    def _alias(self, event: AliasEvent, depth: int) -> Data:
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            raise self._error(event, f"more than {MAX_ALIASES} aliases in one file: write the values out")
        name = event.anchor or ""
        if name not in self._anchors:
            self._fault(event, f"no anchor `{shown(name)}` stands before this: write the value out")
            return ""
        value = self._anchors[name]
        if not _fits(value, MAX_DEPTH - depth):
            raise self._error(event, "the alias repeats too much: write the values out")
        return value

    def _check_size(self, event: Event, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise self._error(event, f"nested deeper than {MAX_DEPTH}: flatten it")
        if self._room < 0:
            raise self._error(event, f"more than {MAX_VALUES} values in one file: split it")

    def _fault(self, event: Event, what: str) -> None:
        self.faults.append(self._error(event, what))
        if len(self.faults) >= MAX_FAULTS:
            raise self._error(event, f"more than {MAX_FAULTS} faults: the rest of the file was not read")

    def _error(self, event: Event, what: str) -> PolicyError:
        line, column = position_of(event)
        return PolicyError(Place(self._file, self._line + line, column), what)


def _is_empty(event: NodeEvent) -> bool:
    return (
        isinstance(event, ScalarEvent)
        and not event.value
        and event.implicit[0]
        and event.tag is event.anchor is None
    )


def _reads_as_text(word: str) -> bool:
    try:
        return isinstance(number_or_text(word), str)
    except ValueError:
        return False


def _fits(value: Data, depth: int) -> bool:
    """Tell whether a value is at most `depth` deep and small enough to be repeated."""
    level, count = [value], 0
    for _ in range(depth + 1):
        count += len(level)
        if count > MAX_ALIASED_VALUES:
            return False
        below: list[Data] = []
        for one in level:
            if isinstance(one, dict):
                below.extend(one.values())
            elif isinstance(one, list):
                below.extend(one)
        level = below
        if not level:
            return True
    return False
