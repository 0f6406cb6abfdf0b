"""From blocks of bytes to whole lines, from either end. Bounded: a line that is too long is passed over."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from authz.history.line import LINE_MAX_BYTES, Chunk, Flaw, Place, read_line

BLOCK_BYTES = 256 * 1024  # it stays in the processor's cache while it is parsed
_LONG = "it is longer than 1 MiB"
_TORN = "it is torn off: the end of the file comes in the middle of it"


class Cutter:
    """Blocks go in, in their order; whole lines come out."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._line = 1  # number of the one that begins with the rest
        self._rest = b""
        self._skips = False  # in the middle of a line that is too long

    def take(self, block: bytes) -> Iterator[Chunk | Flaw]:
        """Yield what is whole now."""
        head = block.find(b"\n") + 1
        if self._skips or len(self._rest) + (head or len(block)) > LINE_MAX_BYTES:
            if not self._skips:
                yield Flaw(Place(self._source, self._line), _LONG)
            self._rest, self._skips = b"", not head
            self._line += bool(head)
            block = block[head:] if head else b""
        cut = block.rfind(b"\n") + 1
        if cut:
            data = self._rest + block[:cut]
            yield Chunk(data, Place(self._source, self._line))
            self._line += data.count(b"\n")
            self._rest = block[cut:]
        elif block:
            self._rest += block

    def end(self) -> Iterator[Chunk | Flaw]:
        """Yield what stands behind the last newline: a line, or half of one."""
        if self._rest.strip():
            yield _last(self._rest, Place(self._source, self._line))
        self._rest = b""

    @property
    def rest(self) -> int:
        """How many bytes wait for their newline."""
        return len(self._rest)


def _last(rest: bytes, place: Place) -> Chunk | Flaw:
    whole = not isinstance(read_line(rest), str)
    return Chunk(rest + b"\n", place) if whole else Flaw(place, _TORN)


def cut_back(source: str, read: Callable[[int, int], bytes], size: int) -> Iterator[Chunk | Flaw]:
    """Yield the lines of a file from its end: chunks from the last on, lines within one in their order.

    Args:
        read: returns the bytes from one place to another.
        size: of the file.
    """
    end, rest, skips, torn = size, b"", False, True
    while end > 0 or rest:
        start = max(0, end - BLOCK_BYTES)
        block = read(start, end)
        if skips:  # what stands behind the last newline belongs to the line that is too long
            cut = block.rfind(b"\n") + 1
            block, skips = block[:cut], not cut
        block += rest
        head = block.find(b"\n") + 1 if start else 0
        data, rest = (block[head:], block[:head]) if head or not start else (b"", block)
        if torn and data:
            data, tail, torn = *_split(data), False
            if tail.strip():
                yield _last(tail, Place(source, byte=start + head + len(data)))
        if data:
            yield Chunk(data, Place(source, byte=start + head))
        if len(rest) > LINE_MAX_BYTES:
            yield Flaw(Place(source, byte=start), _LONG)
            rest, skips = b"", True
        end = start
        if not start:
            return


def _split(data: bytes) -> tuple[bytes, bytes]:
    cut = data.rfind(b"\n") + 1
    return data[:cut], data[cut:]
