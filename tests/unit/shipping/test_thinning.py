from __future__ import annotations

import os
from pathlib import Path

import pytest

from authz.shipping.giving_up import pieces_of
from authz.shipping.reader import Reader
from authz.shipping.spool import Spool
from authz.shipping.thinning import Thinner
from tests.support.spool import StreamWriter, flip, gaps, seqs

STREAM = "1" * 16
OTHER = "2" * 16


class Bearer:
    """Who delivers: what of each stream may have arrived unkept."""

    def __init__(self, *uncertain: int) -> None:
        self._range = uncertain[0], uncertain[1]

    def uncertain(self, stream: str) -> tuple[int, int]:
        return self._range


def spool_of(root: Path) -> Spool:
    spool = Spool(root)
    spool.find(lambda _: None)
    return spool


def lines_of(spool: Spool, name: str = STREAM) -> bytes:
    """Return everything that a reader finds, up to the end."""
    reader, lines = Reader(spool.streams[name], 0), b""
    while taken := reader.take(1 << 20):
        lines += taken.lines
    reader.close()
    return lines


@pytest.fixture
def writer(tmp_path: Path) -> StreamWriter:
    writer = StreamWriter(tmp_path, STREAM, segment_bytes=2_000)
    for _ in range(20):
        writer.write_mixed(["allow"] * 7 + ["deny"], size=50)
    return writer


def test_below_its_bound_a_spool_stays_as_it_is(tmp_path: Path, writer: StreamWriter) -> None:
    spool = spool_of(tmp_path)
    Thinner(2 * spool.bytes, allows_first=True).thin(spool, [Bearer(0, 0)])
    assert gaps(lines_of(spool)) == []


def test_the_oldest_allows_go_first_and_no_more_than_must(tmp_path: Path, writer: StreamWriter) -> None:
    spool = spool_of(tmp_path)
    bound = int(spool.bytes / 0.95)
    thinner = Thinner(bound, allows_first=True)
    thinner.thin(spool, [Bearer(0, 0)])
    lines = lines_of(spool)
    assert 0.75 * bound < spool.bytes <= 0.85 * bound
    assert set(range(8, 161, 8)) <= set(seqs(lines)), "what is no allow is kept"
    assert len(seqs(lines)) + sum(gap["count"] for gap in gaps(lines)) == 160
    assert all(gap["count"] == gap["allows"] == 7 for gap in gaps(lines))
    allows = set(seqs(lines)) - set(range(8, 161, 8))
    assert max(gap["first_seq"] for gap in gaps(lines)) < min(allows), "the oldest go first"
    assert (thinner.allows, thinner.others) == (sum(gap["count"] for gap in gaps(lines)), 0)
    assert spool.bytes == sum(path.stat().st_size for path in writer.segments())


def test_where_allows_are_not_enough_everything_goes_and_leaves_one_line(
    tmp_path: Path, writer: StreamWriter
) -> None:
    spool = spool_of(tmp_path)
    Thinner(3_000, allows_first=True).thin(spool, [Bearer(0, 0)])
    lines = lines_of(spool)
    assert len(seqs(lines)) + sum(gap["count"] for gap in gaps(lines)) == 160
    first = gaps(lines)[0]
    assert first["first_seq"] == 1
    assert first["last_seq"] > 80
    assert first["allows"] * 8 == first["count"] * 7
    assert len(writer.segments()) < 5, "segments that hold nothing but gaps become one"


def test_whoever_keeps_nothing_in_preference_loses_whole_segments(
    tmp_path: Path, writer: StreamWriter
) -> None:
    spool = spool_of(tmp_path)
    thinner = Thinner(int(spool.bytes / 0.95), allows_first=False)
    thinner.thin(spool, [Bearer(0, 0)])
    lines = lines_of(spool)
    assert thinner.others > 0
    assert seqs(lines) == list(range(seqs(lines)[0], 161))


def test_what_is_thinned_twice_is_counted_once(tmp_path: Path, writer: StreamWriter) -> None:
    spool = spool_of(tmp_path)
    Thinner(int(spool.bytes / 0.95), allows_first=True).thin(spool, [Bearer(0, 0)])
    again = spool_of(tmp_path)  # another life, which knows of nothing
    Thinner(2_500, allows_first=True).thin(again, [Bearer(0, 0)])
    lines = lines_of(again)
    assert len(seqs(lines)) + sum(gap["count"] for gap in gaps(lines)) == 160


def test_gaps_of_the_queue_stay(tmp_path: Path) -> None:
    writer = StreamWriter(tmp_path, STREAM, segment_bytes=500)
    writer.write(5)
    writer.write_gap(30)
    writer.write(50)
    writer.close()
    spool = spool_of(tmp_path)
    Thinner(1_000, allows_first=False).thin(spool, [Bearer(0, 0)])
    found = [(gap["why"], gap["first_seq"], gap["count"]) for gap in gaps(lines_of(spool))]
    assert ("queue_full", 6, 30) in found
    assert sum(count for why, _, count in found if why == "spool_full") == 55


def test_nothing_is_given_up_that_may_have_arrived(tmp_path: Path, writer: StreamWriter) -> None:
    spool = spool_of(tmp_path)
    Thinner(3_000, allows_first=True).thin(spool, [Bearer(0, 0), Bearer(16, 40)])
    assert set(range(17, 41)) <= set(seqs(lines_of(spool)))
    assert not any(gap["first_seq"] <= 16 < gap["last_seq"] for gap in gaps(lines_of(spool)))


def test_what_was_spared_goes_once_it_is_known_to_have_arrived(tmp_path: Path, writer: StreamWriter) -> None:
    spool = spool_of(tmp_path)
    thinner = Thinner(3_000, allows_first=True)
    thinner.thin(spool, [Bearer(0, 160)])
    assert gaps(lines_of(spool)) == []
    thinner.thin(spool, [Bearer(160, 160)])
    assert len(gaps(lines_of(spool))) > 0


def test_a_segment_that_is_read_and_the_one_that_is_written_stay(
    tmp_path: Path, writer: StreamWriter
) -> None:
    spool = spool_of(tmp_path)
    reader = Reader(spool.streams[STREAM], 0)
    reader.take(1)
    before = [path.read_bytes() for path in writer.segments()]
    Thinner(100, allows_first=True).thin(spool, [Bearer(0, 0)])
    paths = writer.segments()
    assert paths[0].read_bytes() == before[0]
    assert paths[-1].read_bytes() == before[-1]
    assert len(paths[1].read_bytes()) < len(before[1])
    reader.close()


def test_older_streams_are_thinned_first(tmp_path: Path, writer: StreamWriter) -> None:
    younger = StreamWriter(tmp_path, OTHER, segment_bytes=2_000)
    for _ in range(20):
        younger.write(8, size=50)
    spool = spool_of(tmp_path)
    Thinner(int(spool.bytes / 0.95), allows_first=True).thin(spool, [Bearer(0, 0)])
    assert gaps(lines_of(spool))
    assert not gaps(lines_of(spool, OTHER))


def test_a_damaged_segment_is_thinned_and_its_hole_stays_a_hole(tmp_path: Path, writer: StreamWriter) -> None:
    flip(writer.segments()[0], 60)
    spool = spool_of(tmp_path)
    Thinner(3_000, allows_first=True).thin(spool, [Bearer(0, 0)])
    lines = lines_of(spool)
    assert gaps(lines)[0]["why"] == "damaged"
    assert len(seqs(lines)) + sum(gap["count"] for gap in gaps(lines)) == 160


def test_where_the_disk_is_full_room_is_made_before_the_rest_is_written(
    tmp_path: Path, writer: StreamWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = spool_of(tmp_path)
    real, total = os.write, spool.bytes

    def full(fd: int, data: bytes) -> int:
        if sum(path.stat().st_size for path in tmp_path.rglob("*.seg")) >= total:
            raise OSError(28, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr(os, "write", full)
    Thinner(total - 1_500, allows_first=False).thin(spool, [Bearer(0, 0)])
    monkeypatch.undo()
    lines = lines_of(spool)
    assert {gap["why"] for gap in gaps(lines)} == {"spool_full"}
    assert len(seqs(lines)) + sum(gap["count"] for gap in gaps(lines)) == 160


def test_where_nothing_can_be_written_nothing_is_lost(
    tmp_path: Path, writer: StreamWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = spool_of(tmp_path)

    def refused(*_: object) -> int:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refused)
        Thinner(3_000, allows_first=True).thin(spool, [Bearer(0, 0)])
    assert seqs(lines_of(spool)) == list(range(1, 161))


def test_pieces_are_the_blocks_that_read_as_they_were_written(tmp_path: Path) -> None:
    writer = StreamWriter(tmp_path, STREAM)
    for _ in range(3):
        writer.write(1)
    path = writer.segments()[0]
    whole = path.read_bytes()
    assert b"".join(piece.encoded() for piece in pieces_of(whole)) == whole
    flip(path, len(whole) // 3 + 60)
    assert [piece.block.first_seq for piece in pieces_of(path.read_bytes() + b"AZR1")] == [1, 3]
    assert pieces_of(b"") == []
