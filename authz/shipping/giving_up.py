"""What is left of blocks when lines of them are given up. Pure: bytes in, bytes out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from authz.record.notice import Why, gap_line
from authz.record.segment import HEAD_BYTES, MAGIC, Block, decode_head, encode_block, is_intact
from authz.record.waiting import is_allow
from authz.shipping.tally import GAP, gaps_in

_OURS = Why.SPOOL_FULL.value


class Piece(NamedTuple):
    """A block and its lines."""

    block: Block
    lines: bytes

    def encoded(self) -> bytes:
        """Return it as it stands in a segment."""
        block = self.block
        return encode_block(self.lines, block.lines, block.first_seq, block.last_seq, block.time_us)


class Thinned(NamedTuple):
    """What is left.

    Args:
        allows, others: how many records were given up.
        kept: whether something was spared that may go later.
    """

    pieces: list[Piece]
    allows: int = 0
    others: int = 0
    kept: bool = False


def pieces_of(data: bytes) -> list[Piece]:
    """Return the blocks of a segment that read as they were written."""
    pieces, at = [], 0
    while at >= 0:
        block = decode_head(data[at : at + HEAD_BYTES])
        end = at + HEAD_BYTES + (block.size if block else 0)
        if block is not None and is_intact(block, lines := data[at + HEAD_BYTES : end]):
            pieces.append(Piece(block, lines))
            at = end if end < len(data) else -1
        else:
            at = data.find(MAGIC, at + 1)
    return pieces


def thinned(
    pieces: Iterable[Piece],
    kept: Sequence[tuple[int, int]],
    sidecar: str,
    stream: str,
    *,
    everything: bool,
) -> Thinned:
    """Give up the allows of these blocks, or everything.

    Args:
        kept: seqs that must stay as they are, each range without its first one.
        everything: then blocks become one wherever no such range begins or ends.
    """
    left: list[Piece] = []
    group: list[Piece] = []
    totals = [0, 0]
    spared = False

    def settle() -> None:
        if group:
            piece, allows, others = _given_up(group, sidecar, stream, everything=everything)
            left.append(piece)
            totals[0] += allows
            totals[1] += others
            group.clear()

    for piece in pieces:
        block = piece.block
        if any(block.first_seq <= last and block.last_seq > first for first, last in kept):
            settle()
            left.append(piece)
            spared = True
            continue
        if group and not (everything and _may_join(group[-1].block, block, kept)):
            settle()
        group.append(piece)
    settle()
    return Thinned(left, totals[0], totals[1], spared)


def joined(
    pieces: Sequence[Piece], kept: Sequence[tuple[int, int]], sidecar: str, stream: str
) -> Piece | None:
    """Return one block for these; None where they must not be one."""
    found = thinned(pieces, kept, sidecar, stream, everything=True)
    return found.pieces[0] if len(found.pieces) == 1 and not found.kept else None


def _may_join(block: Block, after: Block, kept: Sequence[tuple[int, int]]) -> bool:
    """Whether two blocks may be one: what lies between them is nothing, and no sink stands there."""
    if after.first_seq != block.last_seq + 1:
        return False
    return all(block.last_seq not in marks for marks in kept)


def _given_up(
    pieces: Sequence[Piece], sidecar: str, stream: str, *, everything: bool
) -> tuple[Piece, int, int]:
    """Return one block for these, and how many allows and others it has no more."""
    left: list[bytes] = []
    allows = others = count = allowed = 0
    for line in (line for piece in pieces for line in piece.lines.splitlines(keepends=True)):
        if line.startswith(GAP):
            (gap,) = gaps_in(line)
            if gap.why == _OURS:
                count, allowed = count + gap.count, allowed + gap.allows
            else:
                left.append(line)
        elif is_allow(line):
            allows += 1
        elif everything:
            others += 1
        else:
            left.append(line)
    first, last = pieces[0].block, pieces[-1].block
    count += allows + others
    if count:
        left.insert(
            0,
            gap_line(
                sidecar,
                stream,
                first.first_seq,
                last.last_seq,
                count,
                Why.SPOOL_FULL,
                last.time_us,
                allowed + allows,
            ),
        )
    lines = b"".join(left)
    block = Block(len(lines), len(left), first.first_seq, last.last_seq, last.time_us)
    return Piece(block, lines), allows, others
