"""How records stand in a spool: what the process that judges writes, and the one that ships reads.

    SPOOL/STREAM/0000000000000001.seg   blocks: a head of 48 bytes, then lines of JSON; named by its first seq
    SPOOL/STREAM/head                   what was numbered and promised (`Head`): shared memory, outlives kills
    SPOOL/STREAM/about                  one line of JSON: whose stream it is
    SPOOL/STREAM/lock                   locked (flock) by the writer while it lives
    SPOOL/positions/SINK                how far each sink is

A stream is one life of one process; its id sorts by time. INVARIANT: every `seq` of a stream lies in exactly
one block, and a block accounts for each of its own: as a line, or counted by a gap line. So whoever reads a
stream knows of each missing record: what no block covers was lost, between two blocks by damage, after the
last one by the end of its writer.
"""

from __future__ import annotations

import secrets
import struct
import zlib
from typing import NamedTuple

SEGMENT_MAX_BYTES = (
    4 * 1024 * 1024
)  # a new one is begun after so much: what is dropped or shipped goes by segment
BLOCK_MAX_BYTES = 40 * 1024 * 1024  # a head that says more is damaged: a queue never holds so much
HEAD_SLOTS = 63
SEQ_END = 1 << 48  # no stream comes so far: 80 years of 100,000 records/s; what says so is damaged

MAGIC = b"AZR1"  # with which every block begins
# Magic, CRC-32 of the rest of the head, CRC-32 of the lines, bytes, lines, 0, first and last seq, time.
_HEAD = struct.Struct("<4sIIIIIQQq")
_FIELDS = struct.Struct("<IIIIQQq")
HEAD_BYTES = _HEAD.size
_SUFFIX = ".seg"


class Block(NamedTuple):
    """The head of a block: what its lines cover."""

    size: int  # bytes of its lines
    lines: int  # gap lines among them
    first_seq: int
    last_seq: int  # first_seq - 1: it covers none
    time_us: int  # wall clock when it was written
    crc: int = 0  # of its lines


def encode_block(lines: bytes, count: int, first_seq: int, last_seq: int, time_us: int) -> bytes:
    """Return a whole block: its head and its lines."""
    fields = _FIELDS.pack(zlib.crc32(lines), len(lines), count, 0, first_seq, last_seq, time_us)
    return MAGIC + struct.pack("<I", zlib.crc32(fields)) + fields + lines


def decode_head(data: bytes) -> Block | None:
    """Return what a head says, or None where it is damaged or cut off."""
    if len(data) < HEAD_BYTES:
        return None
    magic, head_crc, crc, size, lines, _, first_seq, last_seq, time_us = _HEAD.unpack_from(data)
    if magic != MAGIC or zlib.crc32(data[8:HEAD_BYTES]) != head_crc or size > BLOCK_MAX_BYTES:
        return None
    if last_seq >= SEQ_END or first_seq > last_seq + 1:
        return None
    return Block(size, lines, first_seq, last_seq, time_us, crc)


def is_intact(block: Block, lines: bytes) -> bool:
    """Whether these are the lines of that head."""
    return len(lines) == block.size and zlib.crc32(lines) == block.crc


def segment_name(first_seq: int) -> str:
    """Return the name of the segment that begins there; names sort as their records."""
    return f"{first_seq:016d}{_SUFFIX}"


def segment_seq(name: str) -> int | None:
    """Return where a segment of this name begins, or None where it is none of ours."""
    number = name.removesuffix(_SUFFIX)
    return int(number) if name.endswith(_SUFFIX) and number.isdecimal() and len(number) == 16 else None


def new_stream(time_ms: int) -> str:
    """Return the id of a new stream: 16 hex digits; later ones sort later."""
    return f"{time_ms:011x}{secrets.randbelow(1 << 20):05x}"


def is_stream(name: str) -> bool:
    """Whether this is the id of a stream."""
    return len(name) == 16 and all(digit in "0123456789abcdef" for digit in name)


class Head(NamedTuple):
    """What `head` says: 64 numbers of 8 bytes in the machine's order.

    Number 0 is the last seq given out. Each judging thread has one of the others: how many checks it is
    answering that have no number yet. After a kill the sum of all is the last seq that there may have been.
    """

    last_seq: int
    promised: int

    @property
    def most_seq(self) -> int:
        """The last seq that may ever have been."""
        return self.last_seq + self.promised


HEAD = struct.Struct(f"@{HEAD_SLOTS + 1}Q")


def decode_head_file(data: bytes | bytearray) -> Head | None:
    """Return what a `head` file says, or None where it is cut off."""
    if len(data) < HEAD.size:
        return None
    last_seq, *promised = HEAD.unpack_from(data)
    return Head(last_seq, sum(promised))
