"""Spools as tests need them: written, torn, flipped, and left behind by writers that were killed."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from authz.record.notice import Why, gap_line
from authz.record.segment import HEAD, HEAD_SLOTS, encode_block, new_stream, segment_name

TIME_US = 1_790_000_000_000_000
SIDECAR = "test-sidecar"
_SEQ = re.compile(rb'"seq":(\d+)')


def record(seq: int, outcome: str = "allow", size: int = 0, stream: str = "") -> bytes:
    """Return the line of a decision: what of it a shipper looks at."""
    said = {
        "v": 1,
        "time": f"2026-09-21T{seq // 3600 % 24:02}:{seq // 60 % 60:02}:{seq % 60:02}.000000Z",
        "decision_id": f"{seq:012}",
        "sidecar": SIDECAR,
        "stream": stream,
        "seq": seq,
        "outcome": outcome,
        "padding": "x" * size,
    }
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"


def records(first: int, last: int, outcome: str = "allow", size: int = 0, stream: str = "") -> list[bytes]:
    """Return the lines of decisions."""
    return [record(seq, outcome, size, stream) for seq in range(first, last + 1)]


class StreamWriter:
    """Writes a stream as the process that judges does, and breaks it in ways that it cannot.

    Args:
        segment_bytes: a new segment is begun after so much.
    """

    def __init__(self, spool: Path, name: str = "", segment_bytes: int = 1 << 20) -> None:
        self.name = name or new_stream(TIME_US // 1000)
        self.path = spool / self.name
        self.last_seq = 0
        self.promised = 0
        self._segment_bytes = segment_bytes
        self._segment: Path | None = None
        unborn = spool / f".{self.name}"
        unborn.mkdir(parents=True)
        about = json.dumps({"v": 1, "sidecar": SIDECAR, "stream": self.name})
        (unborn / "about").write_text(about)
        self._lock_fd = os.open(unborn / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        fcntl.flock(self._lock_fd, fcntl.LOCK_EX)
        (unborn / "head").write_bytes(bytes(HEAD.size))
        unborn.rename(self.path)

    def write(self, count: int, outcome: str = "allow", size: int = 0) -> bytes:
        """Append a block of so many records; return its lines."""
        first = self.last_seq + 1
        lines = b"".join(records(first, first + count - 1, outcome, size, self.name))
        return self.write_block(lines, count, first, first + count - 1)

    def write_mixed(self, outcomes: Iterable[str], size: int = 0) -> bytes:
        """Append a block of records with these outcomes."""
        first = self.last_seq + 1
        lines = [record(first + at, outcome, size, self.name) for at, outcome in enumerate(outcomes)]
        return self.write_block(b"".join(lines), len(lines), first, first + len(lines) - 1)

    def write_gap(self, count: int) -> bytes:
        """Append a block that says that so many records had no room in the queue."""
        first, last = self.last_seq + 1, self.last_seq + count
        line = gap_line(SIDECAR, self.name, first, last, count, Why.QUEUE_FULL, TIME_US, 0)
        return self.write_block(line, 1, first, last)

    def write_block(self, lines: bytes, count: int, first: int, last: int) -> bytes:
        """Append a block."""
        self.append(encode_block(lines, count, first, last, TIME_US + last), first)
        self.last_seq = last
        self.note(self.last_seq, self.promised)
        return lines

    def append(self, data: bytes, first: int = 0) -> None:
        """Append bytes to the newest segment, or to a new one where that is full."""
        if self._segment is None or self._segment.stat().st_size >= self._segment_bytes:
            self._segment = self.path / segment_name(first or self.last_seq + 1)
        with self._segment.open("ab") as file:
            file.write(data)

    def turn(self) -> None:
        """Begin a new segment with the next block."""
        self._segment = None

    def note(self, last_seq: int, promised: int = 0) -> None:
        """Write `head`: what was numbered, and promised."""
        self.promised = promised
        if self.path.exists():
            (self.path / "head").write_bytes(HEAD.pack(last_seq, promised, *[0] * (HEAD_SLOTS - 1)))

    def skip(self, count: int) -> None:
        """Number so many records that are never written."""
        self.last_seq += count
        self.note(self.last_seq, self.promised)

    def close(self) -> None:
        """End well."""
        self.note(self.last_seq, 0)
        self.kill()

    def kill(self) -> None:
        """End at once: the lock is free, and nothing is settled."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def segments(self) -> list[Path]:
        """Return the segments that there are."""
        return sorted(self.path.glob("*.seg"))


def tear(path: Path, count: int) -> None:
    """Cut so many bytes off the end of a file."""
    with path.open("r+b") as file:
        file.truncate(max(0, path.stat().st_size - count))


def flip(path: Path, at: int, mask: int = 0x01) -> None:
    """Change bits of one byte of a file."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ mask]))


def zero(path: Path, at: int, count: int) -> None:
    """Fill a part of a file with zeros."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes(count))


def seqs(lines: bytes) -> list[int]:
    """Return the seqs of the records among lines."""
    return [int(found[1]) for line in lines.split(b"\n") if (found := _SEQ.search(line))]


def gaps(lines: bytes) -> list[dict[str, Any]]:
    """Return the gap lines among lines."""
    return [json.loads(line) for line in lines.split(b"\n") if b'"kind":"gap"' in line]
