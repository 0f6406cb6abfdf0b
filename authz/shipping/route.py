"""Which stream a sink is served from next: those that are over first, the oldest before all; then in turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from authz.shipping.positions import Positions
from authz.shipping.reader import Reader
from authz.shipping.spool import Spool
from authz.shipping.stream import Stream

_UPCOMING = 64  # streams whose beginning is noted along with one: a file is written once for all of them


class Route:
    """The way of one sink through a spool. One thread uses it."""

    def __init__(self, spool: Spool, positions: Positions) -> None:
        self._spool = spool
        self._positions = positions
        self._version = -1
        self._ended: list[str] = []  # streams without a writer, the oldest last
        self._live: deque[str] = deque()
        self._readers: dict[str, Reader] = {}

    def next(self) -> Iterator[tuple[Stream, Reader]]:
        """Yield the streams in which something may be found, in order."""
        self._renew()
        if self._ended and (stream := self._spool.streams.get(self._ended[-1])):
            yield stream, self._reader(stream)
        self._live.rotate(-1)
        for name in list(self._live):
            if stream := self._spool.streams.get(name):
                yield stream, self._reader(stream)

    def upcoming(self, stream: Stream) -> list[str]:
        """Return this stream's name, and those that will come after it."""
        return [stream.name] if stream.alive else [stream.name, *self._ended[-_UPCOMING:]]

    def let_go(self) -> None:
        """Keep no segment open."""
        for reader in self._readers.values():
            reader.rewind(reader.taken_seq)

    def leave(self, stream: Stream) -> None:
        """Be done with a stream that is over."""
        reader = self._readers.pop(stream.name, None)
        if reader is not None:
            reader.close()
        if self._ended and self._ended[-1] == stream.name:
            self._ended.pop()
        else:
            self._version = -1

    def waiting_bytes(self, stream: Stream) -> int:
        """Return how much of a stream was not taken yet: exact while it is read. Any thread may ask."""
        position, reader = self._positions.get(stream.name), self._readers.get(stream.name)
        if position is not None and position.end:
            return 0
        sizes = stream.sizes
        if reader is not None and (place := reader.place)[0] in sizes:
            segment, at = place
        else:
            done = position.done if position else 0
            segment, at = max((seq for seq in sizes if seq <= done + 1), default=0), 0
        return max(0, sum(size for seq, size in sizes.items() if seq >= segment) - at)

    def close(self) -> None:
        """Let go of everything."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def _renew(self) -> None:
        if self._version == self._spool.version:
            return
        self._version = self._spool.version  # first: what changes meanwhile is looked at once more
        streams = [stream for stream in list(self._spool.streams.values()) if not self._has_all(stream.name)]
        self._ended = sorted((stream.name for stream in streams if not stream.alive), reverse=True)
        self._live = deque(sorted(stream.name for stream in streams if stream.alive))

    def _has_all(self, name: str) -> bool:
        position = self._positions.get(name)
        return position is not None and position.end

    def _reader(self, stream: Stream) -> Reader:
        reader = self._readers.get(stream.name)
        if reader is None:
            position = self._positions.get(stream.name)
            reader = self._readers[stream.name] = Reader(stream, position.done if position else 0)
        return reader
