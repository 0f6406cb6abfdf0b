"""Lines between judging and writing: a bounded list that accounts for what it does not keep.

Lines are put in the order of their `seq`, each the next number of its stream. Of what does not fit a gap line
says how many, where they would have stood. Pure: no thread, clock or file; `queue.py` locks it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import accumulate
from typing import Literal, NamedTuple

OnFull = Literal["drop_allows", "drop", "deny"]
GapLine = Callable[[int, int, int, int], bytes]  # first and last seq, how many, how many of them allows

# Lines that are joined at once: behind a slow sink, all that waits would stand in memory twice. Not fewer:
# each round of the writer waits for the interpreter several times, up to 5 ms each.
TAKE_MAX = 4096
WAITING_MAX_BYTES = (
    32 * 1024 * 1024
)  # hostile lines are long: the bound in lines alone would not bound memory
KEPT_SHARE = 10  # one part in so many is kept for what is no allow

_OUTCOME, _ALLOW = b'"outcome":"', b'allow"'  # no text of a client can hold this: its quotes are escaped


class Take(NamedTuple):
    """Lines that go together: all that is known of the seqs from the first to the last."""

    data: bytes
    records: int  # lines that are no gaps
    first_seq: int
    last_seq: int
    gaps: int = 0


class _Missing:
    """A gap that is still growing."""

    __slots__ = ("allows", "count", "first_seq", "last_seq")

    def __init__(self, seq: int) -> None:
        self.first_seq = self.last_seq = seq
        self.count = self.allows = 0


def is_allow(line: bytes) -> bool:
    """Whether a line is the record of an allow: what is given up first.

    SECURITY: the first such field is the record's own; a label, or a header that is recorded, may have that
    name, too.
    """
    at = line.find(_OUTCOME)
    return at >= 0 and line.startswith(_ALLOW, at + len(_OUTCOME))


class Waiting:
    """Lines that wait, and the account of those that could not.

    Args:
        capacity: lines, taken but not done with among them.
        gap_line: makes the line that stands for missing ones.
    """

    def __init__(self, capacity: int, on_full: OnFull, gap_line: GapLine) -> None:
        self.capacity = capacity
        kept = capacity // KEPT_SHARE if on_full == "drop_allows" else 0
        self._rooms = (capacity, WAITING_MAX_BYTES)
        self._allow_rooms = (capacity - kept, WAITING_MAX_BYTES * (KEPT_SHARE - 1) // KEPT_SHARE)
        if on_full != "drop_allows":
            self._allow_rooms = self._rooms
        self._gap_line = gap_line
        self._lines: list[bytes] = []
        self._gaps: deque[tuple[int, int]] = deque()  # which line since the beginning, and how many it counts
        self._first = 0  # which line the first of `_lines` is
        self._missing: _Missing | None = None
        self._put_seq = self._taken_seq = 0
        self.count = self.bytes = 0  # put, and not yet done with; gap lines are not counted

    def __bool__(self) -> bool:
        return bool(self._lines) or self._missing is not None

    def put(self, lines: list[bytes]) -> int:
        """Take lines, of those that do not fit none; return how many were dropped."""
        count, size = len(lines), sum(map(len, lines))
        room, room_bytes = self._allow_rooms
        if self.count + count > room or self.bytes + size > room_bytes:
            return sum(not self._put_one(line) for line in lines)
        if self._missing is not None:
            self._declare()
        self._lines += lines
        self._put_seq += count
        self.count += count
        self.bytes += size
        return 0

    def miss(self, *, allow: bool = False) -> None:
        """Account for a record that does not come."""
        self._put_seq += 1
        if self._missing is None:
            self._missing = _Missing(self._put_seq)
        self._missing.last_seq = self._put_seq
        self._missing.count += 1
        self._missing.allows += allow

    def take(self, most: int = TAKE_MAX, most_bytes: int = WAITING_MAX_BYTES) -> Take | None:
        """Return the first lines, at most so many, and so many bytes unless it is one; None where there are
        none. `done` follows.
        """
        if self._missing is not None and len(self._lines) < most:
            self._declare()
        lines = self._lines[:most]
        if not lines:
            return None
        if self.bytes > most_bytes:
            sizes = accumulate(map(len, lines))
            del lines[max(1, sum(size <= most_bytes for size in sizes)) :]
        del self._lines[: len(lines)]
        self._first += len(lines)
        covered, gaps = len(lines), 0
        while self._gaps and self._gaps[0][0] < self._first:
            covered += self._gaps.popleft()[1] - 1
            gaps += 1
        first_seq, self._taken_seq = self._taken_seq + 1, self._taken_seq + covered
        return Take(b"".join(lines), len(lines) - gaps, first_seq, self._taken_seq, gaps)

    def first(self) -> bytes:
        """Return the line that is taken next; b"" where none is."""
        return self._lines[0] if self._lines else b""

    def done(self, records: int, size: int) -> None:
        """Make room: so many records of so many bytes are written, or given up."""
        self.count -= records
        self.bytes -= size

    def _put_one(self, line: bytes) -> bool:
        allow = is_allow(line)
        room, room_bytes = self._allow_rooms if allow else self._rooms
        if self.count >= room or self.bytes + len(line) > room_bytes:
            self.miss(allow=allow)
            return False
        if self._missing is not None:
            self._declare()
        self._lines.append(line)
        self._put_seq += 1
        self.count += 1
        self.bytes += len(line)
        return True

    def _declare(self) -> None:
        """Let a line say what is missing, where it would have stood."""
        missing, self._missing = self._missing, None
        if missing is not None:
            line = self._gap_line(missing.first_seq, missing.last_seq, missing.count, missing.allows)
            self._gaps.append((self._first + len(self._lines), missing.count))
            self._lines.append(line)
            self.bytes += len(line)
