"""Reads a stream block by block, in order, and says what is missing.

Nothing that stands in a spool is believed before its checksum was. What cannot be read is passed over to the
next block that can: the numbers of blocks show what lay between, and a gap line says so. A torn end is damage
only once nobody can be about to finish it: its writer is dead, or has begun another segment.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import NamedTuple

from authz.record.notice import Why, gap_line
from authz.record.segment import (
    BLOCK_MAX_BYTES,
    HEAD_BYTES,
    MAGIC,
    SEGMENT_MAX_BYTES,
    Block,
    decode_head,
    is_intact,
)
from authz.shipping.stream import Stream, open_regular

# Of what claims to be a segment no more is looked at: a writer begins another long before.
_SEEN_MAX_BYTES = SEGMENT_MAX_BYTES + BLOCK_MAX_BYTES + HEAD_BYTES
_SCAN_BYTES = 1024 * 1024
# What an attempt to open or read may fail by without anything being wrong with the file.
_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN)
_WOUNDS_MAX = 1000  # of a segment; then the rest of it is given up: each costs a look at all that follows
_TRIES_MAX = 50  # then a file that cannot be read is damaged
_BIRTH_DIGITS = 11  # of a stream's id: when it began, in ms


class Taken(NamedTuple):
    """What comes next in a stream: whole blocks, and gap lines where blocks are missing.

    Args:
        lines: JSON, each with its newline; empty at the end of a stream that ended well.
        records: how many lines that are no gap lines of ours.
        oldest_us, time_us: when the first and the last block were written.
        gaps: of our own making: why, and how many records each counts (-1: unknown).
        ends: the stream is over.
    """

    lines: bytes
    records: int
    first_seq: int
    last_seq: int
    oldest_us: int
    time_us: int
    gaps: tuple[tuple[Why, int], ...] = ()
    ends: bool = False


class _Collected:
    """Blocks on their way into one `Taken`."""

    def __init__(self, stream: Stream, after: int) -> None:
        self._stream = stream
        self._first_seq = after + 1
        self.after = after  # all up to here is accounted for
        self._parts: list[bytes] = []
        self._gaps: list[tuple[Why, int]] = []
        self._records = self.size = 0
        self._oldest_us = self._time_us = 0

    def __bool__(self) -> bool:
        return bool(self._parts)

    def add(self, block: Block, lines: bytes) -> None:
        if block.first_seq > self.after + 1:
            self.miss(Why.DAMAGED, block.first_seq - 1, block.time_us)
        self._time_us = block.time_us
        self._oldest_us = self._oldest_us or block.time_us
        self._parts.append(lines)
        self._records += block.lines
        self.size += len(lines)
        self.after = max(self.after, block.last_seq)

    def miss(self, why: Why, last_seq: int, time_us: int) -> None:
        """Declare everything up to there; -1: from here on, nobody knows how far."""
        first_seq, count = self.after + 1, last_seq - self.after if last_seq >= 0 else -1
        stream = self._stream
        # The time is that of a block, not of the clock: who declares it once more after a kill says the same.
        line = gap_line(stream.sidecar, stream.name, first_seq, last_seq, count, why, time_us)
        self._parts.append(line)
        self._gaps.append((why, count))
        self.size += len(line)
        self._oldest_us = self._oldest_us or time_us
        self._time_us = time_us
        self.after = max(self.after, last_seq)

    def taken(self, *, ends: bool) -> Taken:
        return Taken(
            b"".join(self._parts),
            self._records,
            self._first_seq,
            self.after,
            self._oldest_us,
            self._time_us,
            tuple(self._gaps),
            ends,
        )


class Reader:
    """Where one sink reads in a stream. One thread uses it.

    Args:
        done: the last seq that the sink has.
    """

    def __init__(self, stream: Stream, done: int) -> None:
        self.stream = stream
        self.taken_seq = done
        self.ended = False  # the last `Taken` was handed out
        self._fd = -1
        self._segment = -1  # its first seq; the one that was read last, if none is open
        self._at = 0  # of the next block in it
        self._last = False  # no later segment was there when last looked
        self._stuck_size = -1  # of a segment whose end is torn, when last looked at
        self._damaged_to = 0  # the last seq that a head spoke of whose lines are damaged
        self._block_us = 0  # when the last block of this segment was written
        self._tries = 0
        self._seq_limit = 0  # of what is taken just now
        self._wounds = 0  # places in this segment that do not read as they were written

    def take(self, most_bytes: int, most_seqs: int = 1 << 60) -> Taken | None:
        """Return what comes next, about so many bytes of it; None: nothing just now.

        Args:
            most_seqs: that it covers, unless that is one block.
        """
        if self.ended:
            return None
        self._seq_limit = self.taken_seq + most_seqs
        found = _Collected(self.stream, self.taken_seq)
        while found.size < most_bytes:
            try:
                more = self._step(found, most_bytes - found.size)
            except OSError as error:
                more = self._troubled(error)
            if not more:
                break
        if not found and not self.ended:
            return None
        taken = found.taken(ends=self.ended)
        self.taken_seq = found.after
        return taken

    def rewind(self, done: int) -> None:
        """Go back to there; nothing stays open, so that what is replaced meanwhile is read as it is then."""
        self.close()
        self.taken_seq, self.ended = done, False
        self._segment, self._at, self._last = -1, 0, False

    def close(self) -> None:
        """Let go of the open segment."""
        if self._fd >= 0:
            with self.stream.lock:
                self._forget(self._segment)
            os.close(self._fd)
            self._fd = -1

    @property
    def place(self) -> tuple[int, int]:
        """The segment that is read, by its first seq, and how many bytes of it are done."""
        return self._segment, self._at

    def _step(self, found: _Collected, room: int) -> bool:
        """Go on by a block, a segment or a damage; whether that led anywhere."""
        alive = self.stream.alive  # asked first: what is read after the end of a writer is all there is
        if self._fd < 0 and not self._open(found.after):
            return self._finish(found) if self._last and not alive else False
        final = not (self._last and alive)
        data = os.pread(self._fd, max(room, HEAD_BYTES) + HEAD_BYTES, self._at)
        start = self._at
        for block, lines in self._blocks(data, found):
            if block.last_seq > found.after or block.first_seq == block.last_seq + 1 == found.after + 1:
                found.add(block, lines)
        if self._at > start:
            return True
        if not data or self._at >= _SEEN_MAX_BYTES:
            return self._pass(found, final=final)
        return self._mend(found, final=final)

    def _blocks(self, data: bytes, found: _Collected) -> Iterator[tuple[Block, bytes]]:
        """Yield the blocks that are whole in what was read; the first one, if it is longer, all the same."""
        at = 0
        while (block := decode_head(data[at : at + HEAD_BYTES])) is not None:
            if (at or found) and block.last_seq > self._seq_limit:
                return
            end = at + HEAD_BYTES + block.size
            lines = data[at + HEAD_BYTES : end]
            if end > len(data):
                if at or found:  # it is read at once the next time
                    return
                lines = os.pread(self._fd, block.size, self._at + HEAD_BYTES)
            if not is_intact(block, lines):
                return
            self._at += HEAD_BYTES + block.size
            self._block_us = block.time_us
            yield block, lines
            at = end

    def _mend(self, found: _Collected, *, final: bool) -> bool:
        """Go on behind what is damaged, or wait for what is not finished."""
        size = os.fstat(self._fd).st_size
        head = decode_head(os.pread(self._fd, HEAD_BYTES, self._at))
        whole = head is not None and self._at + HEAD_BYTES + head.size <= size
        if found and whole:
            return False  # maybe not damaged: it had no room
        if not final and size == self._stuck_size:
            return False
        self._stuck_size = size
        behind = self._next_head(min(size, _SEEN_MAX_BYTES))
        if behind < 0 and not final:
            return False
        if head is not None and whole:  # one that is cut off was never written: its writer was killed
            self._damaged_to = max(self._damaged_to, head.last_seq)
        self._wounds += 1
        healthy = behind >= 0 and self._wounds < _WOUNDS_MAX
        self._at = behind if healthy else max(size, self._at)
        return True

    def _next_head(self, end: int) -> int:
        """Return where the next head stands that its checksum bears out, or -1."""
        at = self._at + 1
        while at < end:
            data = os.pread(self._fd, _SCAN_BYTES, at)
            if len(data) < HEAD_BYTES:
                break
            place = data.find(MAGIC)
            while place >= 0:
                if decode_head(os.pread(self._fd, HEAD_BYTES, at + place)) is not None:
                    return at + place
                place = data.find(MAGIC, place + 1)
            at += len(data) - len(MAGIC) + 1
        return -1

    def _pass(self, found: _Collected, *, final: bool) -> bool:
        """Leave a segment that was read to its end, or see whether another has been begun."""
        if not final:
            self._last = not any(seq > self._segment for seq in self.stream.segments())
            return not self._last  # once more: something may have been written before the other was begun
        self.close()
        return True

    def _open(self, after: int) -> bool:
        """Open the segment that comes next; whether there is one."""
        seqs = self.stream.segments()
        if self._segment < 0:  # where the seq that is wanted lies, or should
            begun = [seq for seq in seqs if seq <= after + 1]
            later = seqs[len(begun) - 1 :] if begun else seqs
        else:
            later = [seq for seq in seqs if seq > self._segment]
        self._last = len(later) < 2
        if not later:
            return False
        with self.stream.lock:
            fd = self._opened(later[0])
            if fd >= 0:
                self.stream.readers[later[0]] = self.stream.readers.get(later[0], 0) + 1
        self._segment, self._at, self._fd = later[0], 0, fd
        self._stuck_size, self._tries, self._wounds, self._block_us = -1, 0, 0, 0
        return fd >= 0 or self._open(after)

    def _opened(self, first_seq: int) -> int:
        """Return the open segment; -1 where it is gone, or no file: the numbers will show what is missing."""
        try:
            return open_regular(self.stream.segment(first_seq))
        except OSError as error:
            if error.errno in _PASSING or (
                error.errno in (errno.EACCES, errno.EIO) and self._tries < _TRIES_MAX
            ):
                raise
            return -1

    def _troubled(self, error: OSError) -> bool:
        """Wait with a file that cannot be read; one that never can is passed over."""
        self._tries += 1
        if error.errno in _PASSING or self._tries <= _TRIES_MAX:
            return False
        if self._fd >= 0:
            self._tries = 0
            self.close()
        return True

    def _finish(self, found: _Collected) -> bool:
        """Declare what the end of a stream leaves open."""
        time_us = self._block_us or int(self.stream.name[:_BIRTH_DIGITS], 16) * 1000
        if self._damaged_to > found.after:
            found.miss(Why.DAMAGED, self._damaged_to, time_us)
        most_seq = self.stream.most_seq()
        if most_seq is None:
            if found.after or self._segment >= 0:  # who never wrote anything left nothing behind
                found.miss(Why.KILLED, -1, time_us)
        elif most_seq > found.after:
            found.miss(Why.KILLED, most_seq, time_us)
        self.ended = True
        return False

    def _forget(self, first_seq: int) -> None:
        readers = self.stream.readers
        readers[first_seq] -= 1
        if not readers[first_seq]:
            del readers[first_seq]
