"""Records as rows: one line each, as wide as the terminal, and nothing in it that a terminal would obey."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TextIO

import typer

from authz.cli.colour import coloured
from authz.cli.columns import pairs
from authz.history.line import Asked, Entry, Found, Kind, Who, kind_of
from authz.model.text import visible

UNBOUNDED = 10_000  # columns of a file or a pipe
_MIDDLING, _WIDE, _WIDEST = 100, 150, 200  # columns from which more is shown
ID_TAIL = 8  # last characters of a decision's id, which are random: enough to ask for it
_GAP = "  "
_LAST_LEAST, _LAST_USUAL = 12, 24  # of the last column, which takes what is left

_Cell = Callable[[Entry], str]


class _Column(NamedTuple):
    heading: str
    cell: _Cell
    usual: int  # characters that it is given at once
    least: int  # and that it keeps, where the terminal is narrow


def _clock(entry: Entry) -> str:
    return entry.time[11:19]


def _clock_ms(entry: Entry) -> str:
    return entry.time[11:23]


def _moment(entry: Entry) -> str:
    return f"{entry.time[:10]} {entry.time[11:23]}"


def _answer(entry: Entry) -> str:
    return f"{entry.outcome:<5} {entry.status or ''}".rstrip()


def _reason(entry: Entry) -> str:
    return entry.reason


def _why(entry: Entry) -> str:
    return f"{entry.reason}: {entry.detail}" if entry.detail else entry.reason


def _rule(entry: Entry) -> str:
    return f"{entry.policy}/{entry.rule}" if entry.policy else "-"


def _who(entry: Entry) -> str:
    """Say who asked in one word: the customer, else the key, else the subject, else from where."""
    who, asked = entry.identity or Who(), entry.request or Asked()
    return who.customer or who.key_id or who.subject or asked.client_address or who.kind or "-"


def _who_all(entry: Entry) -> str:
    who, asked = entry.identity or Who(), entry.request or Asked()
    names = dict.fromkeys(name for name in (who.customer, who.key_id or who.subject) if name)
    return " ".join(names) or " ".join(filter(None, (who.kind, asked.client_address))) or "-"


def _path(entry: Entry) -> str:
    asked = entry.request or Asked()
    return f"{asked.method} {asked.path}{_more(entry)}".strip() or "-"


def _request(entry: Entry) -> str:
    asked = entry.request or Asked()
    return f"{asked.method} {asked.host}{asked.path}{_more(entry)}".strip() or "-"


def _more(entry: Entry) -> str:
    return f" (and {entry.count - 1} more, refused unread)" if entry.count > 1 else ""


def _ms(entry: Entry) -> str:
    return f"{entry.duration_us / 1000:.2f}" if entry.duration_us >= 0 else "-"


def _tail(entry: Entry) -> str:
    return entry.decision_id[-ID_TAIL:]


def _id(entry: Entry) -> str:
    return entry.decision_id


_STATUS = _Column("STATUS", lambda entry: str(entry.status or "-"), 6, 6)
_NARROW = (
    _Column("TIME", _clock, 8, 8),
    _STATUS,
    _Column("REASON", _reason, 8, 18),
    _Column("WHO", _who, 4, 10),
    _Column("ID", _tail, ID_TAIL, ID_TAIL),
    _Column("REQUEST", _path, 0, 0),
)
_MIDDLE = (
    _Column("TIME", _clock, 8, 8),
    _Column("ANSWER", _answer, 9, 9),
    _Column("REASON", _reason, 14, 18),
    _Column("RULE", _rule, 12, 14),
    _Column("WHO", _who, 8, 10),
    _Column("MS", _ms, 5, 5),
    _Column("ID", _tail, ID_TAIL, ID_TAIL),
    _Column("REQUEST", _path, 0, 0),
)
_BROAD = (
    _Column("TIME", _clock_ms, 12, 12),
    _Column("ANSWER", _answer, 9, 9),
    _Column("REASON", _why, 20, 20),
    _Column("RULE", _rule, 16, 16),
    _Column("WHO", _who_all, 16, 16),
    _Column("MS", _ms, 5, 5),
    _Column("ID", _tail, ID_TAIL, ID_TAIL),
    _Column("REQUEST", _request, 0, 0),
)
_ALL = (
    _Column("TIME", _moment, 23, 23),
    *_BROAD[1:6],
    _Column("ID", _id, 36, 36),
    _BROAD[7],
)


class Table:
    """Rows under one heading. The first rows say how wide its columns are.

    Args:
        columns: of the terminal.
    """

    def __init__(self, columns: int) -> None:
        self._room = columns
        self._shown = _chosen(columns)
        self._widths: list[int] = []
        self._day = ""

    def lines(self, found: Sequence[Found]) -> Iterator[str]:
        """Yield the next rows."""
        decisions = [one.entry for one in found if kind_of(one.entry) is Kind.DECISION]
        cells = {id(entry): [visible(column.cell(entry)) for column in self._shown] for entry in decisions}
        if not self._widths and cells:
            self._widths = self._fitting(list(cells.values()))
            yield self._row([column.heading for column in self._shown])
        for one in found:
            yield from self._new_day(one.entry)
            kind = kind_of(one.entry)
            if kind is Kind.DECISION:
                yield self._row(cells[id(one.entry)], denied=one.entry.outcome != "allow")
            else:
                text = gap_text(one.entry) if kind is Kind.GAP else _event(one.entry)
                yield self._notice(one.entry, text, typer.colors.YELLOW if kind is Kind.GAP else "")

    def _new_day(self, entry: Entry) -> Iterator[str]:
        """A clock without a date is of the day that was last named."""
        day = visible(entry.time[:10])
        if self._shown is not _ALL and day != self._day:
            self._day = day
            yield f"-- {day}, UTC --"

    def _row(self, cells: Sequence[str], *, denied: bool = False) -> str:
        padded = [
            _cut(cell, width).ljust(width) for cell, width in zip(cells[:-1], self._widths, strict=False)
        ]
        text = _GAP.join([*padded, _cut(cells[-1], self._widths[-1])]).rstrip()
        return coloured(text, typer.colors.RED) if denied else text

    def _notice(self, entry: Entry, text: str, colour: str) -> str:
        line = _cut(f"{visible(self._shown[0].cell(entry))}{_GAP}{visible(text)}", self._room)
        return coloured(line, colour) if colour else line

    def _fitting(self, rows: Sequence[Sequence[str]]) -> list[int]:
        """Return how wide each column is; the last takes what is left."""
        widths = [
            max(column.usual, len(column.heading), *(len(row[at]) for row in rows))
            for at, column in enumerate(self._shown[:-1])
        ]
        excess = sum(widths) + len(_GAP) * len(widths) + _LAST_USUAL - self._room
        for at in sorted(range(len(widths)), key=lambda at: self._shown[at].least - widths[at]):
            if excess > 0:
                saved = min(excess, max(0, widths[at] - self._shown[at].least))
                widths[at] -= saved
                excess -= saved
        left = self._room - sum(widths) - len(_GAP) * len(widths)
        return [*widths, max(_LAST_LEAST, left)]


def gap_text(gap: Entry) -> str:
    """Say what a gap is."""
    most = "at most " if gap.why == "killed" else ""
    where = f" of {gap.sidecar}" if gap.sidecar else ""
    what = f"1 record{where} is" if gap.count == 1 else f"{gap.count} records{where} are"
    numbers = f", {gap.first_seq} to {gap.last_seq}" if gap.last_seq > gap.first_seq else f", {gap.first_seq}"
    return f"-- {most}{what} missing here: {gap.why} (stream {gap.stream}{numbers}) --"


def _event(entry: Entry) -> str:
    about = f": {pairs(entry.about)}" if entry.about else ""
    return f"-- {entry.event} at {entry.sidecar}{about} --"


def columns(out: TextIO) -> int:
    """Return how wide a terminal is; a pipe or a file is as wide as it needs to be."""
    try:
        return os.get_terminal_size(out.fileno()).columns or UNBOUNDED
    except (OSError, ValueError):
        return UNBOUNDED


def _chosen(width: int) -> Sequence[_Column]:
    if width < _MIDDLING:
        return _NARROW
    if width < _WIDE:
        return _MIDDLE
    return _BROAD if width < _WIDEST else _ALL


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(1, width - 3)]}..."
