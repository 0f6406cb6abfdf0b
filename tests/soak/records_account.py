"""What a sink has of each stream, held against what callers were answered. Pure: lines in, faults out.

Of each stream every number is there once, as a line or counted by a gap; lines that came again are the same
to the byte; new ones come in their order. Every answer that a caller got is there, or a gap covers it. Of
records that were lost with their process (`killed`) a gap says at most how many; all others are exact.

One thing cannot be otherwise: records that had arrived, and before that was kept the shipper was killed and
their segment damaged. They are declared `damaged` although they are there, and from there on a chain begins
to differ from what had come before. Such a stream is disputed: counted, and no fault.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
from msgspec import Struct

_SHOWN = 3  # faults of a kind that are worth reading


class Answer(NamedTuple):
    """What a caller was told."""

    request_id: str
    decision_id: str  # "": allowed, which says none
    status: int


class Line(Struct, gc=False):
    """What of a line is held against answers."""

    kind: str = ""
    decision_id: str = ""
    request_id: str = ""
    stream: str = ""
    seq: int = -1
    status: int = 0
    first_seq: int = -1
    last_seq: int = -1
    count: int = -1
    allows: int = -1
    why: str = ""


@dataclass(frozen=True, slots=True)
class Gap:
    """A gap as it was declared. `count` -1: nobody knows how many."""

    first_seq: int
    last_seq: int
    count: int
    allows: int
    why: str

    def covers(self, seq: int) -> bool:
        """Whether a missing number may be one that it counts."""
        return self.first_seq <= seq and (seq <= self.last_seq or self.count < 0)


class Seat(NamedTuple):
    """Where a record is."""

    stream: str
    seq: int
    status: int


@dataclass(slots=True)
class _Group:
    """Gaps that lie over each other."""

    first_seq: int
    last_seq: int
    counted: int = 0
    missing: int = 0
    gaps: list[Gap] = field(default_factory=list)


_read = msgspec.json.Decoder(Line).decode


class Account:
    """What one sink has, in the order in which it came."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines = self.repeats = self.events = 0
        self.decisions: dict[str, Seat] = {}
        self.requests: dict[str, Seat] = {}
        self.streams: dict[str, dict[int, int]] = defaultdict(dict)  # seq -> hash of its line
        self.gaps: dict[str, list[Gap]] = defaultdict(list)
        self._most: dict[str, int] = defaultdict(int)
        self._gap_lines: dict[tuple[str, int, int, str], int] = {}
        self._wrong: dict[str, list[tuple[str, str]]] = defaultdict(list)  # what: of which stream, and where

    def take(self, lines: Iterable[bytes]) -> None:
        """Take what came."""
        for data in lines:
            self.lines += 1
            try:
                line = _read(data)
            except msgspec.MsgspecError as error:
                self._wrong["a line that is no record"].append(("", f"{error}: {data[:120]!r}"))
                continue
            if line.kind == "gap":
                self._gap(line, data)
            elif line.kind in ("", "event"):
                self._numbered(line, data)

    def last_seq(self, stream: str) -> int:
        """Return the last number that this sink knows of."""
        gaps = [gap.last_seq for gap in self.gaps.get(stream, ())]
        return max([*gaps, self._most.get(stream, 0)], default=0)

    def declared(self, why: str = "") -> int:
        """Return how many records gaps count."""
        return sum(max(0, gap.count) for gap in self._all_gaps() if why in ("", gap.why))

    def whys(self) -> dict[str, int]:
        """Return how many records gaps count, by why."""
        found: Counter[str] = Counter()
        for gap in self._all_gaps():
            found[gap.why if gap.count >= 0 else f"{gap.why}, nobody knows how many"] += max(0, gap.count)
        return dict(found)

    def given_up(self) -> int:
        """Return how many records gaps count that made room: of those that the queue had none for, allows."""
        gaps = [*self._all_gaps()]
        queue = sum(max(0, gap.allows) for gap in gaps if gap.why == "queue_full")
        return queue + sum(gap.count for gap in gaps if gap.why == "spool_full")

    @property
    def unknown(self) -> bool:
        """Whether a gap does not know how many it stands for."""
        return any(gap.count < 0 for gap in self._all_gaps())

    def seat(self, answer: Answer) -> Seat | None:
        """Return where the record of an answer is."""
        if answer.decision_id:
            return self.decisions.get(answer.decision_id)
        return self.requests.get(answer.request_id)

    def others_given_up(self) -> int:
        """Return how many records that were no allows gaps may count."""
        return sum(gap.count - max(0, gap.allows) for gap in self._all_gaps() if gap.count > 0)

    def faults(self) -> Iterator[str]:
        """Yield what is wrong with the streams by themselves."""
        disputed = self.disputed()
        for what, found in self._wrong.items():
            bare = [text for stream, text in found if stream not in disputed or "alike" not in what]
            if bare:
                yield f"{self.name}: {what}: {len(bare)}, such as {'; '.join(bare[:_SHOWN])}"
        for stream in sorted({*self.streams, *self.gaps}):
            if not any(gap.count < 0 for gap in self.gaps.get(stream, ())):
                yield from self._uneven(stream, disputed=stream in disputed)

    def disputed(self) -> dict[str, int]:
        """Return by stream how many records are there that were declared to be damaged."""
        found = {}
        for stream in self.gaps:
            more = sum(
                max(0, group.counted - group.missing)
                for group in self._groups(stream)
                if any(gap.why == "damaged" for gap in group.gaps)
            )
            if more:
                found[stream] = more
        return found

    def _uneven(self, stream: str, *, disputed: bool) -> Iterator[str]:
        """Numbers that are there, and those that gaps count, are all there are."""
        gaps, there = self.gaps.get(stream, []), self.streams.get(stream, {})
        last = self.last_seq(stream)
        covered = {seq for gap in gaps for seq in range(gap.first_seq, gap.last_seq + 1)}
        bare = [seq for seq in range(1, last + 1) if seq not in there and seq not in covered]
        if bare:
            yield f"{self.name}: stream {stream}: covered by no gap: {len(bare)}, from {bare[0]} on"
        for group in self._groups(stream):
            odd = group.missing > group.counted if disputed else group.missing != group.counted
            if odd:
                yield (
                    f"{self.name}: stream {stream}: {group.missing} are missing from {group.first_seq} to"
                    f" {group.last_seq}, and {group.counted} are counted: {group.gaps[:_SHOWN]}"
                )

    def _groups(self, stream: str) -> list[_Group]:
        """Return the gaps of a stream, those together that lie over each other."""
        there, groups = self.streams.get(stream, {}), list[_Group]()
        for gap in sorted(self.gaps.get(stream, ()), key=lambda one: one.first_seq):
            if not groups or gap.first_seq > groups[-1].last_seq:
                groups.append(_Group(gap.first_seq, gap.last_seq))
            group = groups[-1]
            group.gaps.append(gap)
            group.last_seq = max(group.last_seq, gap.last_seq)
            group.counted += gap.count
        for group in groups:
            group.missing = sum(seq not in there for seq in range(group.first_seq, group.last_seq + 1))
        return groups

    def _numbered(self, line: Line, data: bytes) -> None:
        known, mark = self.streams[line.stream], hash(data)
        if line.seq in known:
            self.repeats += 1
            if known[line.seq] != mark:
                self._wrong["came again, and not alike"].append((line.stream, f"{line.stream} {line.seq}"))
            return
        if line.seq < self._most[line.stream]:
            self._wrong["out of order"].append((line.stream, f"{line.stream} {line.seq}"))
        known[line.seq] = mark
        self._most[line.stream] = max(self._most[line.stream], line.seq)
        self.events += line.kind == "event"
        if not line.kind:
            seat = Seat(line.stream, line.seq, line.status)
            if line.decision_id in self.decisions:
                self._wrong["one decision twice"].append((line.stream, line.decision_id))
            self.decisions[line.decision_id] = seat
            if line.request_id:
                self.requests[line.request_id] = seat

    def _gap(self, line: Line, data: bytes) -> None:
        key, mark = (line.stream, line.first_seq, line.last_seq, line.why), hash(data)
        if key in self._gap_lines:
            self.repeats += 1
            if self._gap_lines[key] != mark:
                self._wrong["a gap came again, and not alike"].append((line.stream, f"{key}"))
            return
        self._gap_lines[key] = mark
        self.gaps[line.stream].append(Gap(line.first_seq, line.last_seq, line.count, line.allows, line.why))

    def _all_gaps(self) -> Iterator[Gap]:
        for gaps in self.gaps.values():
            yield from gaps


def faults(accounts: Sequence[Account], answers: Sequence[Answer]) -> list[str]:
    """Return what must not be."""
    found = [fault for account in accounts for fault in account.faults()]
    for account in accounts:
        found += _missing(account, accounts, answers)
        found += _behind(account, accounts)
    return found


def _missing(account: Account, accounts: Sequence[Account], answers: Sequence[Answer]) -> Iterator[str]:
    """Answers without a record are those that gaps count."""
    missing = [answer for answer in answers if account.seat(answer) is None]
    records = {answer.decision_id or answer.request_id for answer in missing}
    if not account.unknown and len(records) > account.declared():
        yield f"{account.name}: {len(records)} answers have no record, gaps count {account.declared()}"
    refused = {answer.decision_id for answer in missing if answer.decision_id}
    if not account.unknown and len(refused) > account.others_given_up():
        yield (
            f"{account.name}: {len(refused)} refusals have no record, gaps count"
            f" {account.others_given_up()} that are no allows"
        )
    bare = list(_uncovered(account, accounts, missing))
    if bare:
        yield f"{account.name}: covered by no gap, and others have it: {len(bare)}, such as {bare[:_SHOWN]}"
    odd = [
        f"{answer} is {seat.status}"
        for answer in answers
        if (seat := account.seat(answer)) is not None and seat.status != answer.status
    ]
    if odd:
        yield f"{account.name}: answer and record differ: {len(odd)}, such as {odd[0]}"


def _uncovered(account: Account, accounts: Sequence[Account], missing: Iterable[Answer]) -> Iterator[Seat]:
    for answer in missing:
        seats = (other.seat(answer) for other in accounts)
        seat = next((seat for seat in seats if seat is not None), None)
        if seat is not None and not any(gap.covers(seat.seq) for gap in account.gaps.get(seat.stream, ())):
            yield seat


def _behind(account: Account, accounts: Sequence[Account]) -> Iterator[str]:
    """Every sink has every stream to its end."""
    for stream in sorted({stream for other in accounts for stream in (*other.streams, *other.gaps)}):
        most = max(other.last_seq(stream) for other in accounts)
        if account.last_seq(stream) < most and not account.unknown:
            yield (f"{account.name}: stream {stream} ends at {account.last_seq(stream)}, elsewhere at {most}")
