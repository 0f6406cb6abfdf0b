"""What a sink takes of a batch, and what it shall not be offered again: a gap counts it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from authz.shipping.carrier import Carrier
from authz.shipping.delivery import Batch, Refused, Rejected
from authz.shipping.parcel import Parcel
from authz.shipping.positions import Positions
from authz.shipping.reader import Taken
from authz.shipping.spool import Spool
from authz.shipping.stream import Stream
from tests.support.spool import StreamWriter, gaps, seqs


class Choosy:
    """Takes all but every so many-th record, as the specification of OTLP lets a collector do."""

    name = "choosy"
    batch_bytes = 3_000

    def __init__(self, dislikes: int) -> None:
        self.dislikes = dislikes
        self.taken: list[bytes] = []
        self.offered: list[int] = []
        self.batches: list[tuple[int, int]] = []

    def deliver(self, batch: Batch) -> None:
        lines = batch.lines.splitlines(keepends=True)
        assert batch.records == len(lines)
        self.batches.append((batch.first_seq, batch.last_seq))
        self.offered += seqs(batch.lines)
        liked = [line for line in lines if not any(seq % self.dislikes == 0 for seq in seqs(line))]
        if not liked:
            raise Refused("none")
        self.taken += liked
        if len(liked) < len(lines):
            raise Rejected(len(lines) - len(liked))

    def reopen(self) -> None: ...

    def close(self) -> None: ...


class Scene(NamedTuple):
    """A sink, who carries to it, and who writes."""

    sink: Choosy
    carrier: Carrier
    writer: StreamWriter

    def carry(self) -> None:
        """Deliver all that there is."""
        spool = self.carrier._spool
        spool.find(lambda _: None)
        spool.look()
        for _ in range(1000):
            if self.carrier.step() is None:
                return
        raise AssertionError("it never came to an end")


def _scene(root: Path, dislikes: int) -> Scene:
    spool = Spool(root)
    spool.positions.mkdir(exist_ok=True)
    sink = Choosy(dislikes)
    carrier = Carrier(sink, Positions(spool.positions / sink.name), spool, lambda _: None)
    return Scene(sink, carrier, StreamWriter(root))


@pytest.mark.parametrize("dislikes", [2, 7, 50])
def test_each_record_arrived_or_is_counted_by_one_gap_and_none_is_offered_twice(
    tmp_path: Path, dislikes: int
) -> None:
    scene = _scene(tmp_path, dislikes)
    for _ in range(20):
        scene.writer.write(10)
    scene.carry()
    arrived = seqs(b"".join(scene.sink.taken))
    missing = {seq for seq in range(1, 201) if seq % dislikes == 0}
    assert arrived == sorted(set(range(1, 201)) - missing)
    assert scene.sink.offered == [*range(1, 201)]
    declared = gaps(b"".join(scene.sink.taken))
    assert {gap["why"] for gap in declared} == {"refused"}
    for gap in declared:
        first, last, count = (int(str(gap[name])) for name in ("first_seq", "last_seq", "count"))
        within = {seq for seq in missing if first <= seq <= last}
        assert count == len(within)
        missing -= within
    assert not missing
    scene.writer.close()
    scene.carrier.close()


def test_what_a_sink_was_offered_is_covered_without_a_hole(tmp_path: Path) -> None:
    scene = _scene(tmp_path, 7)
    for _ in range(20):
        scene.writer.write(10)
    scene.carry()
    reached = 0
    for first, last in scene.sink.batches:
        assert first == reached + 1
        assert last >= first - 1  # a gap alone covers none
        reached = last
    assert reached == 200
    scene.writer.close()
    scene.carrier.close()


def test_it_is_counted_as_refused_and_the_sink_is_not_down(tmp_path: Path) -> None:
    scene = _scene(tmp_path, 5)
    scene.writer.write(20)
    scene.carry()
    tally = scene.carrier.tally
    assert (tally.written, tally.refused, tally.errors, tally.up) == (16, 4, 0, True)
    assert tally.gaps == {"refused": 4}
    scene.writer.close()
    scene.carrier.close()


def test_a_piece_with_a_gap_in_it_is_cut_until_it_is_known_what_was_not_taken(tmp_path: Path) -> None:
    """A gap stands for many: were it what the sink did not take, a count of lines would hide them."""
    scene = _scene(tmp_path, 4)
    scene.writer.write(5)
    scene.writer.write_gap(1000)
    scene.writer.write(3)
    scene.carry()
    lines = b"".join(dict.fromkeys(scene.sink.taken))  # some came twice, to the byte
    declared = [(gap["why"], int(str(gap["count"]))) for gap in gaps(lines)]
    assert ("queue_full", 1000) in declared
    refused = sum(count for why, count in declared if why == "refused")
    assert len(seqs(lines)) + refused == 8
    scene.writer.close()
    scene.carrier.close()


def test_of_a_sink_that_rejects_more_than_there_was_no_more_is_counted(tmp_path: Path) -> None:
    writer = StreamWriter(tmp_path)
    lines = writer.write(2)
    parcel = Parcel(Stream(writer.path), Taken(lines, 2, 1, 2, 0, 0), 1000)
    parcel.piece()
    assert parcel.accepted_but(7) == (lines, 2)
    (gap,) = gaps(parcel.piece().lines)
    assert (gap["first_seq"], gap["last_seq"], gap["count"]) == (1, 2, 2)
    assert not parcel.countable  # a gap says more than one
    parcel.accepted()
    assert parcel.done
    writer.close()
