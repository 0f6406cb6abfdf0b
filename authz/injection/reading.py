"""Manifests read: a stream of YAML or JSON documents, bounded, and each with the text that it was.

A document that nobody changes is written as it stood. Like `policy/yaml.py` this walks over libyaml's events,
since composing nodes recurses in C; the dialect is wider, since it is Kubernetes' and not ours: values may be
empty, texts may hold tabs, and files are as large as a chart renders them. Not taken is what lets two readers
see two things: tags, merge keys, keys that stand twice or are no texts.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from typing import NamedTuple

import yaml
from yaml.cyaml import CParser  # type: ignore[attr-defined]  # the stubs forget to export it
from yaml.events import AliasEvent, DocumentStartEvent, Event, MappingStartEvent, NodeEvent, ScalarEvent

from authz.injection.jsontext import Bounds, NotJson, read_json
from authz.injection.tree import Json, Object, quoted
from authz.injection.words import value_of
from authz.model.errors import Place, PolicyError
from authz.policy.source import position_of

MAX_BYTES = 16 * 1024 * 1024  # of one input; the largest charts with all their CRDs have 6 MB
MAX_DEPTH = 100  # nested lists and mappings; schemas of CRDs reach 50
MAX_VALUES = 1_000_000  # of one input: some ten seconds; 16 MB of manifests have 600,000
MAX_DOCUMENTS = 10_000  # of one input
MAX_ALIASES = 64  # of one input
MAX_ALIASED_VALUES = 10_000  # that one alias may repeat

# libyaml refuses them as well, but without saying which one and what to do.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")

# As libyaml counts them.
_LINE = re.compile("[^\r\n\x85\u2028\u2029]*(?:\r\n|[\r\n\x85\u2028\u2029])|[^\r\n\x85\u2028\u2029]+")


class Document(NamedTuple):
    """One document of an input.

    Args:
        file: whose it is, as people know it.
        number: in its file, from 1, as people count; empty ones count.
        data: what it says.
        text: what it was, whole lines; "" where it cannot be cut out.
    """

    file: str
    number: int
    data: Json
    text: str


def read_documents(content: bytes, file: str) -> list[Document]:
    """Read every document of an input that is not empty.

    Raises:
        PolicyError: the first fault, with its place and what to do.
    """
    text = _decoded(content, file)
    if text.lstrip()[:1] in ("{", "["):
        try:
            found = read_json(text, Bounds(MAX_DEPTH, MAX_VALUES, MAX_DOCUMENTS))
            # Written anew: YAML has no surrogate pairs, and bounds the length of keys.
            return [Document(file, index, each, "") for index, each in enumerate(found, 1)]
        except NotJson as fault:
            if fault.sure:
                raise PolicyError(Place(file, fault.line, fault.column), fault.what) from None
    reader = _Reader(text, file)
    try:
        return reader.documents()
    except yaml.YAMLError as error:
        raise _not_yaml(error, file) from None


def _decoded(content: bytes, file: str) -> str:
    if len(content) > MAX_BYTES:
        raise PolicyError(Place(file), f"more than {MAX_BYTES} bytes: split it")
    content = content.removeprefix(BOM_UTF8)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        raise PolicyError(_place(before, file), "not UTF-8: save the file as UTF-8") from None
    if wrong := _CONTROL.search(text):
        what = f"the character U+{ord(wrong[0]):04X} is not allowed here: remove it"
        raise PolicyError(_place(text[: wrong.start()], file), what)
    return text


def _place(before: str, file: str) -> Place:
    return Place(file, before.count("\n") + 1, len(before) - before.rfind("\n"))


def _not_yaml(error: yaml.YAMLError, file: str) -> PolicyError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
    told = [text for text in (getattr(error, "context", None), getattr(error, "problem", None)) if text]
    return PolicyError(place, f"not well-formed YAML: {', '.join(told) or 'it cannot be read'}")


class _Start(NamedTuple):
    """Where a document begins: its first line, from 0, or -1 where it cannot be cut out by lines."""

    number: int
    line: int
    data: Json


class _Reader:
    """One walk over the events of one text."""

    def __init__(self, text: str, file: str) -> None:
        self._text = text
        self._file = file
        self._next = CParser(text).get_event
        self._anchors: dict[str, Json] = {}
        self._aliases = 0
        self._room = MAX_VALUES

    def documents(self) -> list[Document]:
        """Return what there is; raises for the first fault."""
        found: list[_Start] = []
        while (event := self._next()) is not None:
            if isinstance(event, DocumentStartEvent):
                if len(found) >= MAX_DOCUMENTS:
                    raise self._error(event, f"more than {MAX_DOCUMENTS} documents: split the file")
                found.append(self._document(event, len(found) + 1))
        return _cut(self._text, self._file, found)

    def _document(self, event: DocumentStartEvent, number: int) -> _Start:
        self._anchors.clear()
        line = -1 if event.version or event.tags else position_of(event)[0] - 1
        return _Start(number, line, self._value(self._next(), 0))

    def _value(self, event: Event | None, depth: int) -> Json:
        if isinstance(event, AliasEvent):
            return self._alias(event, depth)
        if not isinstance(event, NodeEvent):
            raise TypeError("the parser gave no value where it promised one")
        self._room -= 1
        self._check(event, depth)
        if isinstance(event, ScalarEvent):
            value = self._scalar(event)
        elif isinstance(event, MappingStartEvent):
            value = self._mapping(depth + 1)
        else:
            value = self._sequence(depth + 1)
        if event.anchor is not None:
            self._anchors[event.anchor] = value
        return value

    def _check(self, event: NodeEvent, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise self._error(event, f"nested deeper than {MAX_DEPTH}: flatten it")
        if self._room < 0:
            raise self._error(event, f"more than {MAX_VALUES} values: split the file")
        if (tag := getattr(event, "tag", None)) is not None:
            raise self._error(event, f"a tag: write the value without {quoted(tag)}")

    def _mapping(self, depth: int) -> Json:
        members: Object = {}
        while isinstance(event := self._next(), NodeEvent):
            key = self._key(event)
            if key in members:
                raise self._error(event, f"{quoted(key)} stands twice: remove one")
            members[key] = self._value(self._next(), depth)
        return members

    def _sequence(self, depth: int) -> Json:
        items: list[Json] = []
        while isinstance(event := self._next(), NodeEvent):
            items.append(self._value(event, depth))
        return items

    def _key(self, event: NodeEvent) -> str:
        if not isinstance(event, ScalarEvent) or event.tag is not None or event.anchor is not None:
            raise self._error(event, "a key must be a text, without tag and anchor: write it out")
        if not event.implicit[0]:
            return event.value
        if event.value == "<<":
            raise self._error(event, "a merge key: write the fields out")
        if not isinstance(self._word(event), str):
            raise self._error(event, f"the key {quoted(event.value)} is not a text: put it in quotes")
        return event.value

    def _scalar(self, event: ScalarEvent) -> Json:
        return self._word(event) if event.implicit[0] else event.value

    def _word(self, event: ScalarEvent) -> Json:
        try:
            return value_of(event.value)
        except ValueError as fault:
            raise self._error(event, str(fault)) from None

    def _alias(self, event: AliasEvent, depth: int) -> Json:
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            raise self._error(event, f"more than {MAX_ALIASES} aliases: write the values out")
        name = event.anchor or ""
        if name not in self._anchors:
            raise self._error(event, f"no anchor {quoted(name)} stands before this: write the value out")
        value = self._anchors[name]
        if not _fits(value, MAX_DEPTH - depth):
            raise self._error(event, "the alias repeats too much: write the values out")
        return value

    def _error(self, event: Event, what: str) -> PolicyError:
        return PolicyError(Place(self._file, *position_of(event)), what)


def _fits(value: Json, depth: int) -> bool:
    """Tell whether a value is at most `depth` deep and small enough to be repeated."""
    level, count = [value], 0
    for _ in range(depth + 1):
        count += len(level)
        if count > MAX_ALIASED_VALUES:
            return False
        level = [below for one in level for below in _below(one)]
        if not level:
            return True
    return False


def _below(value: Json) -> list[Json]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _cut(text: str, file: str, starts: list[_Start]) -> list[Document]:
    """Return the documents that say something, with their lines; what stands before them is the first's."""
    lines = _LINE.findall(text)
    documents: list[Document] = []
    for index, start in enumerate(starts):
        after = starts[index + 1].line if index + 1 < len(starts) else len(lines)
        first = 0 if index == 0 else start.line
        whole = start.line >= 0 and first <= start.line < after
        if start.data is not None:
            own = _ended("".join(lines[first:after])) if whole else ""
            documents.append(Document(file, start.number, start.data, own))
    return documents


def _ended(text: str) -> str:
    """Return whole lines; "" where a line break at the end could change what a block text says."""
    if text.endswith("\n"):
        return text
    return "" if "|" in text or ">" in text else f"{text}\n"
