"""What was taken from a stream, on its way to a sink: in pieces that it is glad to take, linked if asked.

Links are made piece by piece, when a piece is offered: a line that is given up is replaced by what says so
before anything behind it is linked. INVARIANT: the lines that arrive are linked as one chain whatever the
pieces were, and a piece that is offered again is the same to the byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from authz.record.notice import Why, gap_line
from authz.record.waiting import is_allow
from authz.shipping.delivery import Batch
from authz.shipping.reader import Taken
from authz.shipping.stream import Stream
from authz.shipping.tally import GAP

_SEQ = re.compile(rb'"seq":(\d+)')  # no text of a client can hold this: its quotes are escaped


class Chained(Protocol):
    """What links lines: see `record/chain.py`."""

    @property
    def state(self) -> str:
        """Where the chain stands."""
        ...

    @property
    def tip(self) -> str:
        """What the next stream's chain is begun with."""
        ...

    def link(self, lines: bytes) -> bytes:
        """Return the lines, linked."""
        ...

    def end(self) -> bytes:
        """Return what ends the chain."""
        ...


ChainAt = Callable[[str], Chained]  # the chain of a stream as it was in that state


class Parcel:
    """Lines of one stream, delivered piece by piece.

    Args:
        most_bytes: of a piece, unless one line is longer.
        chain_at: None: lines are not linked.
        state: of the chain, when everything before these lines had arrived.
    """

    def __init__(
        self, stream: Stream, taken: Taken, most_bytes: int, chain_at: ChainAt | None = None, state: str = ""
    ) -> None:
        self._stream = stream
        self._taken = taken
        self._lines = taken.lines
        self._most_bytes = self._limit = most_bytes
        self._chain_at = chain_at
        self.state = state  # when what was accepted had arrived
        self.tip = ""
        self._next_state = state
        self._at = 0  # what is before it was accepted
        self._end = 0  # of the piece that is offered
        self._first_seq = taken.first_seq
        self._instead = b""  # offered in place of the line that is refused
        # A chain that never began has no end: nothing is offered for a process that recorded nothing.
        self._closing = taken.ends and chain_at is not None and bool(state or taken.lines)

    @property
    def done(self) -> bool:
        """Whether all of it was accepted."""
        return self._at == len(self._lines) and not self._closing

    @property
    def single(self) -> bool:
        """Whether the piece offered is one line that may be given up."""
        line = self._lines[self._at : self._end]
        return line.count(b"\n") == 1 and not line.startswith(GAP)

    def piece(self) -> Batch:
        """Return what to offer now."""
        if self._at == len(self._lines):
            return self._farewell()
        self._end = self._cut()
        lines = self._instead or self._lines[self._at : self._end]
        linked = self._linked(lines)
        return Batch(
            self._stream.name,
            linked,
            linked.count(b"\n"),
            self._first_seq,
            self._last_seq(),
            self._taken.time_us,
        )

    def accepted(self) -> bytes:
        """The sink has the piece: go on to the next, and return its lines as they stood in the spool."""
        lines = self._instead or self._lines[self._at : self._end]
        self._closing = self._closing and self._at < len(self._lines)
        if self._end < len(self._lines):
            self._first_seq = self._seq_from(self._end)
        self._at, self.state, self._instead = self._end, self._next_state, b""
        self._limit = min(2 * self._limit, self._most_bytes)
        return lines

    @property
    def countable(self) -> bool:
        """Whether each line of the piece is one record, so that a number of them says all."""
        piece = self._lines[self._at : self._end]
        return bool(piece) and not self._instead and GAP not in piece

    def accepted_but(self, count: int) -> tuple[bytes, int]:
        """The sink has the piece but for so many lines, nobody knows which: what says so comes next.

        Returns: the lines of the piece, and how many of its records are missing at most: what links lines
            puts some of its own between them.
        """
        stream, first_seq, last_seq = self._stream, self._first_seq, self._last_seq()
        lines = self.accepted()
        count = min(count, lines.count(b"\n"))
        gap = gap_line(
            stream.sidecar, stream.name, first_seq, last_seq, count, Why.REFUSED, self._taken.time_us
        )
        self._lines = self._lines[: self._at] + gap + self._lines[self._at :]
        self._first_seq = last_seq + 1
        return lines, count

    def halve(self) -> bool:
        """Offer half as much the next time; False where it is one line, and must not be given up."""
        piece = self._lines[self._at : self._end]
        self._limit = max(1, len(piece) // 2)
        return piece.count(b"\n") > 1

    def give_up(self, why: Why) -> None:
        """Offer what says that the line is missing, in its place."""
        line = self._lines[self._at : self._end]
        found = _SEQ.search(line)
        seq = int(found[1]) if found else self._first_seq
        stream = self._stream
        self._instead = gap_line(
            stream.sidecar, stream.name, seq, seq, 1, why, self._taken.time_us, int(is_allow(line))
        )

    def take_back(self) -> None:
        """Offer the line itself again."""
        self._instead = b""

    @property
    def replaced(self) -> bool:
        """Whether what is offered stands for a line that is given up."""
        return bool(self._instead)

    def _cut(self) -> int:
        """Return the end of the next piece: whole lines, at least one."""
        lines, at = self._lines, self._at
        if len(lines) - at <= self._limit:
            return len(lines)
        return lines.rfind(b"\n", at, at + self._limit) + 1 or lines.index(b"\n", at) + 1

    def _last_seq(self) -> int:
        """Return the last seq that the piece covers; the one before its first, where it covers none."""
        last_seq = self._seq_from(self._end) - 1 if self._end < len(self._lines) else self._taken.last_seq
        return max(last_seq, self._first_seq - 1)

    def _seq_from(self, at: int) -> int:
        """Return the seq of the first line from there on that has one; lines before it count as earlier."""
        found = _SEQ.search(self._lines, at)
        return max(int(found[1]), self._first_seq) if found else self._taken.last_seq + 1

    def _linked(self, lines: bytes) -> bytes:
        if self._chain_at is None:
            return lines
        chain = self._chain_at(self.state)
        linked = chain.link(lines)
        self._next_state, self.tip = chain.state, chain.tip
        return linked

    def _farewell(self) -> Batch:
        """Return what ends the chain, which covers no record."""
        end = b""
        if self._chain_at is not None:
            chain = self._chain_at(self.state)
            end = chain.end()
            self._next_state, self.tip = chain.state, chain.tip
        self._end = self._at
        last_seq = self._taken.last_seq
        return Batch(self._stream.name, end, end.count(b"\n"), last_seq + 1, last_seq, self._taken.time_us)
