"""A search: lines go in, those that answer the question come out, and everything is counted."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from authz.history.line import (
    VERSION,
    Chunk,
    Entry,
    Flaw,
    Found,
    Kind,
    Place,
    kind_of,
    read_line,
    read_lines,
)
from authz.history.question import Question

# What was shown and is remembered, so that a line that comes twice is shown once: 30 MB. Twice comes what was
# sent again after a sink had failed: batches, so near each other.
REMEMBERED = 100_000

_BEGINNING = f'{{"v":{VERSION},'.encode()  # no text within a line can hold it: its quotes are escaped

_Id = tuple[str, str, int, int] | str


@dataclass(slots=True)
class Tally:
    """What a search went through."""

    lines: int = 0  # readable ones, of whatever kind
    matched: int = 0  # and shown, gaps apart
    gaps: int = 0  # and shown
    missing: int = 0  # records that those count
    repeated: int = 0  # matched, and shown before
    unreadable: int = 0
    first_flaw: Flaw | None = None
    last_flaw: Flaw | None = None


class Scan:
    """One search.

    Args:
        most: so many are found, gaps apart, and no more; 0: all.
        duplicates: also show what was shown before.
        remembered: how many of those shown are known again.
    """

    def __init__(
        self, question: Question, *, most: int = 0, duplicates: bool = False, remembered: int = REMEMBERED
    ) -> None:
        self._question = question
        self._most = most
        self._duplicates = duplicates
        self._remembered = remembered
        self._shown: OrderedDict[_Id, None] = OrderedDict()
        self.tally = Tally()

    def take(self, item: Chunk | Flaw) -> list[Found]:
        """Return what of it is to be shown, in its order."""
        if isinstance(item, Flaw):
            self._flawed(item)
            return []
        found = []
        for one in self._fitting(item):
            if self.is_full:
                break
            if self._is_new(one.entry):
                self._count(one.entry)
                found.append(one)
        return found

    @property
    def is_full(self) -> bool:
        """Whether as many were found as are wanted."""
        return bool(self._most) and self.tally.matched >= self._most

    def _fitting(self, chunk: Chunk) -> list[Found]:
        entries = read_lines(chunk.data)
        if entries is None:
            return list(self._one_by_one(chunk))
        fits = self._question.fits
        hits = [number for number, entry in enumerate(entries) if entry.v != VERSION or fits(entry)]
        if hits:
            lines = chunk.data.split(b"\n")
            found = [Found(lines[number], entries[number]) for number in hits]
            # A version that we do not know; or an empty line here and two records in one there.
            if any(read_line(one.line) != one.entry for one in found):
                return list(self._one_by_one(chunk))
        else:
            found = []
        self.tally.lines += len(entries)
        return found

    def _one_by_one(self, chunk: Chunk) -> Iterator[Found]:
        source, number, byte = chunk.first
        for line in chunk.data.split(b"\n"):
            if line.strip():
                entry = read_line(line)
                if isinstance(entry, str) and (start := line.rfind(_BEGINNING)) > 0:
                    # What was torn off when its writer was killed, and behind it what the next one wrote.
                    self._flawed(Flaw(Place(source, number, byte), "it is torn off within"))
                    line = line[start:]
                    entry = read_line(line)
                if isinstance(entry, str):
                    self._flawed(Flaw(Place(source, number, byte), entry))
                else:
                    self.tally.lines += 1
                    if self._question.fits(entry):
                        yield Found(line, entry)
            number += 1 if number else 0
            byte += len(line) + 1 if byte >= 0 else 0

    def _flawed(self, flaw: Flaw) -> None:
        tally = self.tally
        tally.unreadable += flaw.lines
        tally.first_flaw, tally.last_flaw = tally.first_flaw or flaw, flaw

    def _is_new(self, entry: Entry) -> bool:
        if self._duplicates:
            return True
        if (identity := _id_of(entry)) in self._shown:
            self.tally.repeated += 1
            return False
        self._shown[identity] = None
        if len(self._shown) > self._remembered:
            self._shown.popitem(last=False)
        return True

    def _count(self, entry: Entry) -> None:
        if kind_of(entry) is Kind.GAP:
            self.tally.gaps += 1
            self.tally.missing += max(0, entry.count)
        else:
            self.tally.matched += 1


def _id_of(entry: Entry) -> _Id:
    """Return what tells a line from all others. Source: records.md."""
    if kind_of(entry) is Kind.DECISION and entry.decision_id:
        return entry.decision_id
    if kind_of(entry) is Kind.GAP:
        return entry.stream, entry.why, entry.first_seq, entry.last_seq
    return entry.stream, entry.kind, entry.seq, -1
