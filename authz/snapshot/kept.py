"""How a set is written down for the next start, and read back.

    authz-state 1 <SHA-256 of all that follows, hex>
    {"set": ..., "revision": ..., "active": [...], "count": ...}
    ["<part>", "<file>", <size>]      before the bytes of each file
    ["<part>", null, 0]               for a part without any

The files stand there as they were read. Nothing compiled is kept: what is read back goes through the same
parser, checks and compiler as any other set.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any, NamedTuple

from authz.snapshot.parts import Files, Parts

HEAD_BYTES = len("authz-state 1 ") + 64 + 1
REVISIONS = 256  # that are remembered as active before: a roll-back goes to one of the last few

_HEAD = re.compile(rb"authz-state ([0-9]{1,4}) ([0-9a-f]{64})\n")
_REVISION = re.compile("[0-9a-f]{12}")
_BLOCK_BYTES = 256 * 1024  # written at once; so large a piece is hashed and written without the interpreter
_LINE_BYTES = 64 * 1024  # a path has 4 KiB at most; 256 revisions fit, too


class Damaged(Exception):
    """Why bytes are no set that was kept; half a sentence."""


class Kept(NamedTuple):
    """A set that was in force.

    Args:
        set: which one: two sets may be kept beside each other.
        revision: as it was in force.
        active: revisions that were ever in force, the last one last.
        parts: the files of each part that was in force.
    """

    set: str
    revision: str
    active: tuple[str, ...]
    parts: Parts


def encode(kept: Kept, breathe: Callable[[], None] = lambda: None) -> list[bytes]:
    """Write a set down, in blocks.

    Args:
        breathe: called once for each file, so that others may use the interpreter.
    """
    blocks = list(_blocks(kept, breathe))
    digest = sha256()
    for block in blocks:
        digest.update(block)
    return [b"authz-state 1 %s\n" % digest.hexdigest().encode(), *blocks]


def decode(content: bytes) -> Kept:
    """Read a set back.

    Raises:
        Damaged: it is not whole, or was written otherwise than here.
    """
    head = _HEAD.match(content)
    if head is None:
        raise Damaged("not a set that was kept")
    if head[1] != b"1":
        raise Damaged("written by another version of authz")
    body = memoryview(content)[HEAD_BYTES:]
    if sha256(body).hexdigest().encode() != head[2]:
        raise Damaged("damaged: its digest is another one")
    try:
        return _Reader(content).read()
    except (ValueError, RecursionError):
        raise Damaged("damaged: it cannot be read") from None


def _blocks(kept: Kept, breathe: Callable[[], None]) -> Iterator[bytes]:
    pieces: list[bytes] = [_manifest(kept)]
    size = 0
    for part, files in kept.parts.items():
        if not files.contents:
            pieces.append(_line([part, None, 0]))
        for name, content in files.contents.items():
            pieces += (_line([part, name, len(content)]), content)
            size += len(content)
            if size > _BLOCK_BYTES:
                yield b"".join(pieces)
                pieces, size = [], 0
            breathe()
    yield b"".join(pieces)


def _manifest(kept: Kept) -> bytes:
    count = sum(max(1, len(files.contents)) for files in kept.parts.values())
    return _line({"set": kept.set, "revision": kept.revision, "active": kept.active, "count": count})


def _line(data: object) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode() + b"\n"  # ASCII, whatever a name holds


class _Reader:
    """Reads what stands behind the head; raises ValueError where it is not what was written."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = HEAD_BYTES

    def read(self) -> Kept:
        match self._line():
            case {
                "set": str(identity),
                "revision": str(revision),
                "active": [*active],
                "count": int(count),
                **rest,
            } if not rest:
                parts = self._parts(count)
                return Kept(identity, _checked(revision), tuple(map(_checked, active[-REVISIONS:])), parts)
        raise ValueError("manifest")

    def _parts(self, count: int) -> Parts:
        parts: dict[str, dict[str, bytes]] = {}
        for _ in range(count):
            match self._line():
                case [str(part), None, 0]:
                    parts.setdefault(part, {})
                case [str(part), str(name), int(size)] if size >= 0:
                    files = parts.setdefault(part, {})
                    if name in files:
                        raise ValueError("a file twice")
                    files[name] = self._bytes(size)
                case _:
                    raise ValueError("entry")
        if self._at != len(self._content):
            raise ValueError("more than was counted")
        return {part: Files(files) for part, files in parts.items()}

    def _line(self) -> Any:  # JSON: whoever asks matches it
        end = self._content.index(b"\n", self._at, self._at + _LINE_BYTES)
        line, self._at = self._content[self._at : end], end + 1
        return json.loads(line)

    def _bytes(self, size: int) -> bytes:
        found = self._content[self._at : self._at + size]
        self._at += size
        if len(found) != size:
            raise ValueError("cut off")
        return found


def _checked(revision: object) -> str:
    if isinstance(revision, str) and _REVISION.fullmatch(revision):
        return revision
    raise ValueError("revision")
