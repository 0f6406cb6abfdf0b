"""Records in files: plain or compressed by gzip, read from either end, and followed while they grow."""

from __future__ import annotations

import os
import stat
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from authz.history.cutting import BLOCK_BYTES, Cutter, cut_back
from authz.history.following import Following
from authz.history.line import LINE_MAX_BYTES, Flaw, Place, read_line
from authz.history.source import Item
from authz.model.errors import ConfigError
from authz.model.text import visible

STDIN = "-"
_LOOK_S = 0.2  # between two looks at a file that does not grow
_GZIP = b"\x1f\x8b"
_GZIP_WBITS = 31  # zlib: with the header and the checksum of gzip
_FOREIGN = {
    b"\x28\xb5\x2f\xfd": ("zstd", "zstdcat"),
    b"\xfd7zX": ("xz", "xzcat"),
    b"BZh": ("bzip2", "bzcat"),
}
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO without a writer must not hang us


class FileSource:
    """One file, or standard input.

    Args:
        wait: waits so many seconds.

    Raises:
        ConfigError: it cannot be opened, or is of a kind that cannot be read.
    """

    def __init__(self, name: str, wait: Callable[[float], None] = time.sleep) -> None:
        self._wait = wait
        self.path = name
        self._fd = 0 if name == STDIN else _open(name)
        self._seekable = _is_regular(self._fd)
        self._size = os.fstat(self._fd).st_size if self._seekable else 0
        self._begun = b"" if self._seekable else self._block()
        start = self._peek(0, 16) if self._seekable else self._begun[:16]
        self._packed = start.startswith(_GZIP)
        self.done = 0
        _refuse_foreign(self.name, start)
        self._end: int | None = None
        self._following: Following | None = None

    @property
    def name(self) -> str:
        """See `Source.name`."""
        return "standard input" if self.path == STDIN else visible(self.path)

    @property
    def total(self) -> int:
        """See `Source.total`: bytes on disk."""
        return self._size

    def read(self) -> Iterator[Item]:
        """See `Source.read`."""
        cutter = Cutter(self.name)
        blocks = self._inflated() if self._packed else self._blocks()
        for block in blocks:
            if isinstance(block, Flaw):
                yield block
            else:
                yield from cutter.take(block)
        yield from cutter.end()

    def read_back(self) -> Iterator[Item] | None:
        """See `Source.read_back`."""
        if self._packed or not self._seekable:
            return None
        return cut_back(self.name, self._between, self._mark())

    def cannot_follow(self) -> str:
        """See `Source.cannot_follow`."""
        if self.path == STDIN:
            return "standard input is followed by `authz logs search -`, which shows what comes as it comes"
        plain = self._seekable and not self._packed
        return "" if plain else f"`{self.name}` is no plain file: nothing is appended to it"

    def poll(self, wait_s: float) -> list[Item]:
        """See `Source.poll`."""
        if self._following is None:
            self._following = Following(Path(self.path), os.dup(self._fd), self._mark())
        items = list(self._following.poll())
        if not items:
            self._wait(min(wait_s, _LOOK_S))
        return items

    def first_time(self) -> str:
        """Return when its first record was made, as records have times; "" where that cannot be told."""
        head = self._peek(0, BLOCK_BYTES) if self._seekable else b""
        if self._packed:
            try:
                head = zlib.decompressobj(_GZIP_WBITS).decompress(head, BLOCK_BYTES)
            except zlib.error:
                return ""
        first = read_line(head.partition(b"\n")[0])
        return "" if isinstance(first, str) else first.time

    def close(self) -> None:
        """See `Source.close`."""
        if self._following is not None:
            self._following.close()
        if self._fd:
            os.close(self._fd)

    def _mark(self) -> int:
        """Return where the last whole line ends, of what stands there now; once."""
        if self._end is None:
            tail = self._peek(max(0, self._size - LINE_MAX_BYTES), self._size)
            self._end = self._size - (len(tail) - (tail.rfind(b"\n") + 1))  # half a line is not whole yet
        return self._end

    def _between(self, start: int, end: int) -> bytes:
        self.done += end - start
        return self._peek(start, end)

    def _peek(self, start: int, end: int) -> bytes:
        try:
            return _exactly(self._fd, start, end)
        except OSError as error:
            raise _unreadable(self.name, error) from None

    def _blocks(self) -> Iterator[bytes]:
        if self._begun:
            yield self._begun
        while block := self._block():
            self.done += len(block)
            yield block

    def _block(self) -> bytes:
        try:
            return os.read(self._fd, BLOCK_BYTES)
        except OSError as error:
            raise _unreadable(self.name, error) from None

    def _inflated(self) -> Iterator[bytes | Flaw]:
        """Yield what was compressed: every member of it, never much at a time."""
        unpack, data = zlib.decompressobj(_GZIP_WBITS), b""
        blocks = self._blocks()
        try:
            for packed in blocks:
                data = packed
                while data:
                    if unpack.eof:  # another member, or padding
                        data = data.lstrip(b"\0")
                        if not data:
                            break
                        unpack = zlib.decompressobj(_GZIP_WBITS)
                    if block := unpack.decompress(data, BLOCK_BYTES):
                        yield block
                    data = unpack.unused_data if unpack.eof else unpack.unconsumed_tail
        except zlib.error:
            yield Flaw(Place(self.name), "it is damaged: what is compressed from there on cannot be read", 0)
            return
        if not unpack.eof:
            yield Flaw(Place(self.name), "it is torn off: what is compressed does not end", 0)


def in_order(files: list[FileSource]) -> list[FileSource]:
    """Return files in the order of their first records: rotated ones are named the other way round."""
    return sorted(files, key=FileSource.first_time)


def _open(name: str) -> int:
    try:
        return os.open(name, _FLAGS)
    except (OSError, ValueError) as error:
        raise _unreadable(visible(name), error) from None


def _is_regular(fd: int) -> bool:
    """Whether it can be read anywhere; of what cannot, we wait for what comes."""
    regular = stat.S_ISREG(os.fstat(fd).st_mode)
    if not regular and fd:
        os.set_blocking(fd, True)
    return regular


def _unreadable(name: str, error: Exception) -> ConfigError:
    words = (getattr(error, "strerror", None) or "is no name of a file").lower()
    return ConfigError(f"`{name}` cannot be read: {words}")


def _refuse_foreign(name: str, start: bytes) -> None:
    for magic, (kind, program) in _FOREIGN.items():
        if start.startswith(magic):
            raise ConfigError(f"`{name}` is compressed by {kind}: say `{program} FILE | authz logs ... -`")


def _exactly(fd: int, start: int, end: int) -> bytes:
    """Return what stands there, or as much of it as there is: a file may be cut while it is read."""
    data = b""
    while len(data) < end - start and (more := os.pread(fd, end - start - len(data), start + len(data))):
        data += more
    return data
