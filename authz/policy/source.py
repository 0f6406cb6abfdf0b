"""Where in a file everything stands, found out only when somebody asks."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

import yaml
from yaml.cyaml import CParser  # type: ignore[attr-defined]  # the stubs forget to export it
from yaml.events import (
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)

from authz.model.errors import Place

Path = tuple[str | int, ...]
Position = tuple[int, int]  # line and column, both from 1

# Not less than `yaml.py` reads: what lies beyond was never given to anybody, so nobody asks for its place.
_MAX_DEPTH = 64
_MAX_VALUES = 100_000
_MAX_DOCUMENTS = 10_000


def position_of(event: Event) -> Position:
    """Return where an event starts; libyaml counts from 0."""
    mark = event.start_mark
    return (1, 1) if mark is None else (mark.line + 1, mark.column + 1)


@dataclass(slots=True)
class _Mark:
    value: Position
    key: Position
    below: dict[str | int, _Mark] = field(default_factory=dict)


class Source:
    """The text of one file or of a part of it, which can tell the place of every value in it.

    Args:
        line: lines of the file in front of the text.
    """

    __slots__ = ("_line", "_roots", "file", "text")

    def __init__(self, file: str, text: str, line: int = 0) -> None:
        self.file = file
        self.text = text
        self._line = line
        self._roots: list[_Mark] | None = None

    def place(self, index: int, path: Path = (), *, key: bool = False) -> Place:
        """Return where the value at `path` stands, or its nearest ancestor that is there.

        Args:
            index: the document's position in the text, from 0.
            path: keys and list positions, from the document's root.
            key: the place of the key that leads to the value instead of the value's own.
        """
        if self._roots is None:
            self._roots = _Walk(self.text).roots
        if index >= len(self._roots):
            return Place(self.file, self._line + 1)
        mark, found = self._roots[index], True
        for step in path:
            if step not in mark.below:
                found = False
                break
            mark = mark.below[step]
        line, column = mark.key if key and found else mark.value
        return Place(self.file, self._line + line, column)


class _Walk:
    """One more walk over the events of a text, as far as it can be read."""

    def __init__(self, text: str) -> None:
        self._next = CParser(text).get_event
        self.roots: list[_Mark] = []
        self._room = _MAX_VALUES
        # The fault was told when the file was read; what stands before it has its places.
        with contextlib.suppress(yaml.YAMLError):
            self._documents()

    def _documents(self) -> None:
        while (event := self._next()) is not None and len(self.roots) <= _MAX_DOCUMENTS:
            if isinstance(event, DocumentStartEvent) and (first := self._next()) is not None:
                position = position_of(first)
                self.roots.append(_Mark(position, position))
                self._fill(first, self.roots[-1], 0)

    def _fill(self, event: Event, mark: _Mark, depth: int) -> None:
        self._room -= 1
        if depth > _MAX_DEPTH or self._room < 0:
            raise yaml.YAMLError("more than anybody was given")
        if isinstance(event, SequenceStartEvent):
            while isinstance(item := self._next(), NodeEvent):
                position = position_of(item)
                self._add(mark, len(mark.below), item, _Mark(position, position), depth)
        elif isinstance(event, MappingStartEvent):
            while isinstance(name := self._next(), NodeEvent):
                self._member(mark, name, depth)

    def _member(self, mark: _Mark, name: NodeEvent, depth: int) -> None:
        step = ""
        if isinstance(name, ScalarEvent):
            step = name.value
        else:
            self._fill(name, _Mark((1, 1), (1, 1)), depth + 1)
        value = self._next()
        if value is not None:
            self._add(mark, step, value, _Mark(position_of(value), position_of(name)), depth)

    def _add(self, mark: _Mark, step: str | int, event: Event, below: _Mark, depth: int) -> None:
        mark.below.setdefault(step, below)  # of two equal keys the first one counts, as in `yaml.py`
        self._fill(event, below, depth + 1)
