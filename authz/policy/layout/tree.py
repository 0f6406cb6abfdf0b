"""A file of documents with its comments, as a tree that can be written anew.

The parser drops comments but tells where everything else stands; so whatever a `#` begins outside of values
is a comment, and belongs to the entry beside it, or to the one below it.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

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

from authz.policy.source import position_of

_COMMENT = re.compile(r"(?:(?<=\s)|\A)#[^\n]*")
_BLOCK_HEADER = re.compile(r"[|>][^\n#]*")
_OPENERS = frozenset(("", "-", "---"))  # what may stand before a comment that belongs to what follows


@dataclass(slots=True)
class Comment:
    """One comment; `gap`: an empty line stands before it."""

    text: str
    index: int
    line: int
    column: int
    gap: bool


@dataclass(slots=True)
class Node:
    """One value.

    Args:
        kind: `scalar`, `map`, `list` or `alias`.
        flow: a collection in brackets.
        style: of a scalar: None for a plain one, or `'`, `"`, `|`, `>`.
        raw: of a scalar: as it stands in the file.
        foot: comments behind its last entry.
    """

    kind: str
    start: int
    column: int
    end: int = 0
    flow: bool = False
    style: str | None = None
    value: str = ""
    raw: str = ""
    anchor: str = ""
    entries: list[Entry] = field(default_factory=list)
    foot: list[Comment] = field(default_factory=list)

    def walk(self) -> Iterator[Node]:
        """Yield the node and everything below it."""
        yield self
        for entry in self.entries:
            yield from entry.value.walk()


@dataclass(slots=True)
class Entry:
    """One member of a collection; `key` is None in a list, `gap`: an empty line stands before it."""

    parent: Node
    key: Node | None
    value: Node
    start: int
    gap: bool = False
    lead: list[Comment] = field(default_factory=list)
    trail: Comment | None = None


@dataclass(slots=True)
class Page:
    """One document; `head`: comments above everything, `gap`: an empty line stands below them."""

    root: Node | None
    head: list[Comment] = field(default_factory=list)
    gap: bool = False


def pages_of(text: str) -> list[Page]:
    """Read a text that the parser accepts; comments of empty documents go to the next one."""
    reader = _Reader(text)
    roots = list(reader.roots())
    comments = list(_comments(text, reader.scalars))
    pages: list[Page] = []
    waiting: list[Comment] = []
    for number, (_, root) in enumerate(roots):
        until = roots[number + 1][0] if number + 1 < len(roots) else len(text) + 1
        own = [comment for comment in comments if comment.index < until]
        comments = comments[len(own) :]
        if root is None:
            waiting += own
            continue
        page = Page(root, waiting)
        waiting = []
        _Attachment(text, page).attach(own)
        pages.append(page)
    waiting += comments
    if waiting and pages and pages[-1].root is not None:
        pages[-1].root.foot += waiting
    elif waiting:
        pages.append(Page(None, waiting))
    return pages


class _Reader:
    """One walk over the events of a text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._next = CParser(text).get_event
        self.scalars: list[tuple[int, int]] = []

    def roots(self) -> Iterator[tuple[int, Node | None]]:
        """Yield where each document begins, and its value; None where it is empty."""
        first = True
        while (event := self._next()) is not None:
            if isinstance(event, DocumentStartEvent):
                begin = 0 if first else _index(event)
                first = False
                value = self._next()
                empty = isinstance(value, ScalarEvent) and not value.value and value.implicit[0]
                yield begin, None if empty or value is None else self._node(value)

    def _node(self, event: Event) -> Node:
        start = _index(event)
        column = position_of(event)[1] - 1
        anchor = getattr(event, "anchor", None) or ""
        if isinstance(event, AliasEvent):
            return Node("alias", start, column, _end(event), value=anchor)
        if isinstance(event, ScalarEvent):
            return self._scalar(event, start, column, anchor)
        kind = "map" if isinstance(event, MappingStartEvent) else "list"
        flow = bool(getattr(event, "flow_style", False))
        node = Node(kind, start, column, flow=flow, anchor=anchor)
        self._fill(node)
        return node

    def _scalar(self, event: ScalarEvent, start: int, column: int, anchor: str) -> Node:
        end = _end(event)
        raw = self._text[start:end]
        if anchor:
            raw = raw[len(anchor) + 1 :].lstrip()
        style = event.style if event.style in ("'", '"', "|", ">") else None
        head = _BLOCK_HEADER.match(raw) if style in ("|", ">") else None
        body = start + (len(head[0]) if head else 0)
        if head:  # a comment may stand behind the header
            line_end = self._text.find("\n", body)
            body = line_end if line_end >= 0 else end
        self.scalars.append((body if head else start, end))
        return Node("scalar", start, column, end, style=style, value=event.value, raw=raw, anchor=anchor)

    def _fill(self, node: Node) -> None:
        while isinstance(event := self._next(), NodeEvent):
            if node.kind == "list":
                value = self._node(event)
                node.entries.append(Entry(node, None, value, value.start))
            else:
                key = self._node(event)
                following = self._next()
                if following is None or not isinstance(
                    event, (ScalarEvent, MappingStartEvent, SequenceStartEvent)
                ):
                    raise ValueError("a key that is none")
                node.entries.append(Entry(node, key, self._node(following), key.start))
        node.end = _end(event) if event is not None else node.start


def _index(event: Event) -> int:
    mark = event.start_mark
    return mark.index if mark is not None else 0


def _end(event: Event) -> int:
    mark = event.end_mark
    return mark.index if mark is not None else 0


def _comments(text: str, scalars: list[tuple[int, int]]) -> Iterator[Comment]:
    """Yield what a `#` begins outside of values."""
    starts = [start for start, _ in scalars]
    for match in _COMMENT.finditer(text):
        at = match.start()
        before = bisect_left(starts, at + 1) - 1
        if before >= 0 and scalars[before][0] <= at < scalars[before][1]:
            continue
        line_start = text.rfind("\n", 0, at) + 1
        yield Comment(match[0].rstrip(), at, text.count("\n", 0, at), at - line_start, _gap(text, line_start))


def _gap(text: str, line_start: int) -> bool:
    """Whether the line above is empty."""
    above = text.rfind("\n", 0, line_start - 1) + 1 if line_start else 0
    return line_start > 0 and not text[above : line_start - 1].strip()


class _Attachment:
    """Which comment belongs to what, in one document."""

    def __init__(self, text: str, page: Page) -> None:
        self._text = text
        self._page = page
        self._entries: list[Entry] = []
        self._parents: dict[int, Entry] = {}
        if page.root is not None:
            self._collect(page.root)

    def _collect(self, node: Node) -> None:
        for entry in node.entries:
            self._entries.append(entry)
            self._parents[id(entry.value)] = entry
            self._collect(entry.value)

    def attach(self, comments: list[Comment]) -> None:
        for comment in comments:
            line_start = comment.index - comment.column
            code = self._text[line_start : comment.index].strip()
            if all(word in _OPENERS for word in code.split()):
                self._above(comment)
            else:
                self._beside(comment)
        self._gaps()

    def _eligible(self, entry: Entry, comment: Comment) -> bool:
        """Of a collection in brackets only a comment between them is somebody's inside."""
        node: Node | None = entry.parent
        while node is not None:
            if node.flow and not node.start < comment.index < node.end:
                return False
            owner = self._parents.get(id(node))
            node = owner.parent if owner is not None else None
        return True

    def _beside(self, comment: Comment) -> None:
        before = [one for one in self._entries if one.start < comment.index and self._eligible(one, comment)]
        if not before:
            self._page.head.append(comment)
        elif before[-1].trail is None:
            before[-1].trail = comment
        else:
            before[-1].lead.append(comment)

    def _above(self, comment: Comment) -> None:
        eligible = [one for one in self._entries if self._eligible(one, comment)]
        before = [one for one in eligible if one.start < comment.index]
        after = next((one for one in eligible if one.start > comment.index), None)
        if not before:
            self._page.head.append(comment)
            return
        foot = self._foot(before[-1], after, comment)
        if foot is not None:
            foot.foot.append(comment)
        elif after is not None:
            after.lead.append(comment)

    def _foot(self, before: Entry, after: Entry | None, comment: Comment) -> Node | None:
        """Return the collection that a comment ends: one that goes on no further, and begins as far right."""
        going_on = set()
        node = after.parent if after is not None else None
        while node is not None:
            going_on.add(id(node))
            owner = self._parents.get(id(node))
            node = owner.parent if owner is not None else None
        found: Node | None = None
        node = before.parent
        while node is not None and id(node) not in going_on:
            if node.flow and node.start < comment.index < node.end:
                return node
            found = node
            if node.column <= comment.column:
                return node
            owner = self._parents.get(id(node))
            node = owner.parent if owner is not None else None
        return found if after is None else None

    def _gaps(self) -> None:
        for entry in self._entries:
            owner = self._parents.get(id(entry.parent))
            behind_dash = owner is not None and owner.key is None and entry is entry.parent.entries[0]
            if not (entry.parent.flow or behind_dash):
                dash = self._text.rfind("\n", 0, entry.start) + 1
                entry.gap = _gap(self._text, dash)
        if self._entries and self._page.head:
            self._page.gap, self._entries[0].gap = self._entries[0].gap, False
