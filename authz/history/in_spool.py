"""Records that wait in a spool: read as they stand there, while others write and ship them.

Nothing is believed before its checksum was. What was shipped is gone from a spool, so streams begin anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from authz.history.line import Chunk, Flaw, Place
from authz.history.source import Item, Note
from authz.model.errors import ConfigError
from authz.model.text import visible
from authz.record.segment import HEAD_BYTES, MAGIC, Block, decode_head, is_intact, is_stream, segment_seq


class _Read(NamedTuple):
    """A block that is whole."""

    block: Block
    lines: bytes


class SpoolSource:
    """The streams of one spool, the oldest first.

    Raises:
        ConfigError: it is no spool, or may not be read.
    """

    def __init__(self, path: str) -> None:
        self._name = visible(path)
        self.done = 0
        self._segments = _segments(Path(path), self._name)
        self._total = sum(map(_size, self._segments))

    @property
    def name(self) -> str:
        """See `Source.name`."""
        return self._name

    @property
    def total(self) -> int:
        """See `Source.total`: bytes."""
        return self._total

    def read(self) -> Iterator[Item]:
        """See `Source.read`."""
        stream, last_seq = "", -1
        for segment in self._segments:
            if segment.parent.name != stream:
                stream, last_seq = segment.parent.name, -1
            for item in self._blocks(segment):
                if isinstance(item, Flaw):
                    yield item
                    continue
                first_seq = item.block.first_seq
                if 0 <= last_seq < first_seq - 1:
                    yield _between(last_seq, first_seq, stream)
                last_seq = item.block.last_seq
                if item.lines:
                    yield Chunk(item.lines, _place(segment, first_seq))

    def read_back(self) -> Iterator[Item] | None:
        """See `Source.read_back`: streams stand beside each other, not in the order of time."""
        return None

    def cannot_follow(self) -> str:
        """See `Source.cannot_follow`."""
        return f"`{self._name}` is a spool, emptied as it fills: follow a sink, or the sidecar"

    def poll(self, wait_s: float) -> list[Item]:
        """See `Source.poll`: there is nothing to wait for."""
        return []

    def close(self) -> None:
        """See `Source.close`: nothing is held."""

    def _blocks(self, segment: Path) -> Iterator[_Read | Flaw]:
        """Yield the blocks of a segment; where one is damaged, what follows the next head that is not."""
        try:
            data = segment.read_bytes()
        except FileNotFoundError:
            return  # it was shipped meanwhile
        except OSError as error:
            yield Flaw(Place(visible(str(segment))), (error.strerror or "cannot be read").lower(), 0)
            return
        self.done += len(data)
        at = 0
        while at < len(data):
            read = _block_at(data, at)
            if read is not None:
                at += HEAD_BYTES + read.block.size
                yield read
                continue
            further = _next_head(data, at + 1)
            if further < len(data) or segment != self._last_of(segment):
                yield Flaw(Place(visible(str(segment)), byte=at), "a block is damaged", 0)
            at = further  # the end of the last segment may be on its way to the disk

    def _last_of(self, segment: Path) -> Path:
        return [one for one in self._segments if one.parent == segment.parent][-1]


def _segments(spool: Path, name: str) -> list[Path]:
    try:
        streams = sorted(one for one in spool.iterdir() if is_stream(one.name))
        # Which are there now: what others delete while we read is passed over.
        found = [
            segment
            for stream in streams
            for segment in sorted(stream.iterdir())
            if segment_seq(segment.name) is not None
        ]
    except OSError as error:
        raise ConfigError(f"`{name}` cannot be read: {(error.strerror or '').lower()}") from None
    if not streams and not (spool / "positions").is_dir():
        raise ConfigError(f"`{name}` is a directory and no spool; name the files in it")
    return found


def _size(segment: Path) -> int:
    try:
        return segment.stat().st_size
    except OSError:
        return 0


def _block_at(data: bytes, at: int) -> _Read | None:
    block = decode_head(data[at : at + HEAD_BYTES])
    if block is None:
        return None
    lines = data[at + HEAD_BYTES : at + HEAD_BYTES + block.size]
    return _Read(block, lines) if is_intact(block, lines) else None


def _next_head(data: bytes, at: int) -> int:
    while (found := data.find(MAGIC, at)) >= 0:
        if _block_at(data, found) is not None:
            return found
        at = found + 1
    return len(data)


def _between(last_seq: int, first_seq: int, stream: str) -> Note:
    count = first_seq - last_seq - 1
    what = "1 record is" if count == 1 else f"{count:,} records are"
    return Note(f"{what} missing in the stream {stream}, after number {last_seq}: damaged, or given up")


def _place(segment: Path, first_seq: int) -> Place:
    return Place(f"{visible(str(segment))}, block {first_seq}")
