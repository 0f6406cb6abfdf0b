"""What is given up of a spool that gets full, because a sink is away for longer than it holds.

The oldest goes first: allows, then everything. What goes is counted by a gap line in its place, and blocks
keep their seqs, so that no position is confused. INVARIANT: nothing is given up that a sink may have got
already without that being kept: no record arrives and is declared missing, too.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Protocol

from authz.config.log import get_logger
from authz.shipping.giving_up import Piece, joined, pieces_of, thinned
from authz.shipping.spool import Spool
from authz.shipping.stream import Stream, open_regular

FULL, ENOUGH = 0.90, 0.85  # of the bound: what is reached before something is given up, and by that
PRESSING = 0.97  # writers stop at the bound
_SEGMENT_MAX_BYTES = 64 * 1024 * 1024  # a larger one is damaged, or somebody else's
_JOINED_MAX_BYTES = 64 * 1024  # segments that hold nothing but gaps become one up to this size
_FRESH = ".thin.tmp"
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
_READING = 1 << 63  # see `Carrier._take`
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

_log = get_logger("shipping")

Range = tuple[int, int]  # seqs, the first left out


class Bearer(Protocol):
    """What is asked of whoever delivers."""

    def uncertain(self, stream: str) -> Range:
        """See `Carrier.uncertain`."""
        ...


class Thinner:
    """Keeps a spool below its bound.

    Args:
        allows_first: whether what is no allow is kept for longer.
    """

    def __init__(self, max_bytes: int, *, allows_first: bool) -> None:
        self._max_bytes = max_bytes
        self._steps = (False, True) if allows_first else (True,)  # whether everything goes
        self.allows = self.others = 0  # records given up
        self._told = False
        self._hindered = False  # somebody was about to read, so that all of a stream was spared for a moment

    def presses(self, spool: Spool) -> bool:
        """Whether writers will soon have to stop."""
        return spool.bytes > PRESSING * self._max_bytes

    def thin(self, spool: Spool, bearers: Sequence[Bearer]) -> None:
        """Give up what has to be given up."""
        used = spool.bytes
        if used <= FULL * self._max_bytes:
            self._told = self._told and used > self._max_bytes / 2
            return
        if not self._told:  # one line for each time, not for each segment
            self._told = True
            _log.error("the spool is full: the oldest records are given up", bytes=used)
        excess = used - ENOUGH * self._max_bytes
        self._hindered = False
        for everything in self._steps:
            if self._hindered:  # what may be read by now shall not go before the allows that could not
                return
            for stream in sorted(spool.streams.values(), key=lambda one: one.name):
                for seq in _closed(stream):
                    if excess <= 0:
                        return
                    excess -= self._thin(stream, seq, bearers, everything=everything)

    def _thin(self, stream: Stream, seq: int, bearers: Sequence[Bearer], *, everything: bool) -> int:
        """Thin one segment; return how many bytes that made free."""
        with stream.lock:  # INVARIANT: nobody begins to read it meanwhile
            if stream.readers.get(seq):
                return 0
            ranges = [bearer.uncertain(stream.name) for bearer in bearers]
            self._hindered |= any(last >= _READING for _, last in ranges)
            step, spared = stream.thinned.get(seq, (False, None))
            if spared is not None and step >= everything and spared in ((), tuple(ranges)):
                return 0
            freed = self._rewrite(stream, seq, ranges, everything=everything)
            if everything:
                freed += _join(stream, seq, ranges)
            return freed

    def _rewrite(self, stream: Stream, seq: int, ranges: list[Range], *, everything: bool) -> int:
        pieces = pieces_of(_read(stream, seq))
        found = thinned(pieces, ranges, stream.sidecar, stream.name, everything=everything)
        before, after = stream.sizes.get(seq, 0), sum(len(piece.encoded()) for piece in found.pieces)
        if after < before and not (_replace(stream, seq, found.pieces, everything=everything)):
            return 0
        # What is kept for now is looked at again once that has changed.
        stream.thinned = {**stream.thinned, seq: (everything, tuple(ranges) if found.kept else ())}
        if after >= before:
            return 0
        self.allows += found.allows
        self.others += found.others
        return before - after


def _closed(stream: Stream) -> list[int]:
    """Return the segments that nobody writes any more."""
    seqs = sorted(stream.sizes)
    return seqs[:-1] if stream.alive else seqs


def _join(stream: Stream, seq: int, ranges: Sequence[Range]) -> int:
    """Make one segment of this and the one before it, where nothing but gaps is left of both.

    A sink that is away for weeks would leave millions of them. Killed between the two steps, we leave a
    segment whose seqs the one before it has, too: readers pass over it.
    """
    earlier = max((one for one in stream.sizes if one < seq), default=-1)
    sizes = stream.sizes.get(earlier, _JOINED_MAX_BYTES) + stream.sizes.get(seq, 0)
    if stream.thinned.get(earlier) != (True, ()) or stream.thinned.get(seq) != (True, ()):
        return 0
    if sizes > _JOINED_MAX_BYTES or stream.readers.get(earlier):
        return 0
    pieces = pieces_of(_read(stream, earlier)) + pieces_of(_read(stream, seq))
    one = joined(pieces, ranges, stream.sidecar, stream.name)
    if one is None or not _replace(stream, earlier, [one], everything=False):
        return 0
    stream.drop(seq)
    return sizes - stream.sizes[earlier]


def _read(stream: Stream, seq: int) -> bytes:
    try:
        fd = open_regular(stream.segment(seq))
    except OSError:
        return b""
    try:
        return os.pread(fd, _SEGMENT_MAX_BYTES, 0)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _replace(stream: Stream, seq: int, pieces: Sequence[Piece], *, everything: bool) -> bool:
    """Put these in the place of a segment, at once; whether that was done."""
    data = b"".join(piece.encoded() for piece in pieces)
    try:
        _put(stream, seq, data)
    except OSError as error:
        if error.errno not in _NO_ROOM or not everything:
            return False
        # There is no room for the small one beside the large one. A kill in between leaves none of them, and
        # the numbers show it.
        stream.drop(seq)
        try:
            _put(stream, seq, data)
        except OSError:
            return True
    stream.sizes = {**stream.sizes, seq: len(data)}
    return True


def _put(stream: Stream, seq: int, data: bytes) -> None:
    fresh = stream.path / _FRESH
    try:
        fd = os.open(fresh, _NEW, 0o600)
        try:
            if os.write(fd, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(fd)
        fresh.rename(stream.segment(seq))
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
