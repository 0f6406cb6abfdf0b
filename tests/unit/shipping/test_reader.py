from __future__ import annotations

import os
from pathlib import Path

import pytest

from authz.record.segment import HEAD, HEAD_BYTES, encode_block
from authz.shipping import reader as reader_module
from authz.shipping.reader import Reader, Taken
from authz.shipping.stream import Stream, open_regular
from tests.support.spool import TIME_US, StreamWriter, flip, gaps, record, seqs, tear, zero

MOST = 1 << 20


@pytest.fixture
def writer(tmp_path: Path) -> StreamWriter:
    return StreamWriter(tmp_path, segment_bytes=1 << 30)


def reader_of(writer: StreamWriter, done: int = 0, *, dead: bool = False) -> Reader:
    if dead:
        writer.kill()
    stream = Stream(writer.path)
    stream.look()
    assert stream.alive is not dead
    return Reader(stream, done)


def all_of(reader: Reader) -> bytes:
    """Return everything up to the end of a stream that is over."""
    lines = b""
    while not reader.ended:
        taken = reader.take(MOST)
        assert taken is not None
        lines += taken.lines
    return lines


def test_blocks_are_handed_on_whole_and_in_order(writer: StreamWriter) -> None:
    written = writer.write(3) + writer.write(2)
    taken = reader_of(writer).take(MOST)
    assert taken == Taken(written, 5, 1, 5, TIME_US + 3, TIME_US + 5)


def test_no_more_is_taken_than_asked_for_unless_one_block_is_larger(writer: StreamWriter) -> None:
    first, second = writer.write(3), writer.write(2)
    reader = reader_of(writer)
    taken = reader.take(len(first))
    assert taken is not None
    assert taken.lines == first
    assert reader.take(1) == Taken(second, 2, 4, 5, TIME_US + 5, TIME_US + 5)
    assert reader.take(1) is None


def test_what_is_written_later_is_found(writer: StreamWriter) -> None:
    reader = reader_of(writer)
    assert reader.take(MOST) is None
    first = writer.write(1)
    assert (taken := reader.take(MOST)) is not None
    assert taken.lines == first
    writer.turn()
    second = writer.write(1)
    assert (taken := reader.take(MOST)) is not None
    assert taken.lines == second
    assert reader.take(MOST) is None


def test_a_block_written_just_before_the_next_segment_was_begun_is_not_passed_over(
    writer: StreamWriter,
) -> None:
    reader = reader_of(writer)
    writer.write(1)
    reader.take(MOST)
    writer.write(1)
    writer.turn()
    writer.write(1)
    assert (taken := reader.take(MOST)) is not None
    assert seqs(taken.lines) == [2, 3]


def test_reading_goes_on_where_the_sink_was(writer: StreamWriter) -> None:
    for _ in range(4):
        writer.write(2)
        writer.turn()
    taken = reader_of(writer, done=4).take(MOST)
    assert taken is not None
    assert seqs(taken.lines) == [5, 6, 7, 8]


def test_a_stream_that_ended_well_ends_without_a_word(writer: StreamWriter) -> None:
    written = writer.write(2)
    writer.close()
    reader = reader_of(writer, dead=True)
    taken = reader.take(MOST)
    assert taken is not None
    assert (taken.lines, taken.ends) == (written, True)
    assert reader.ended
    assert reader.take(MOST) is None


def test_a_stream_that_never_wrote_anything_ends_without_a_word(writer: StreamWriter) -> None:
    (writer.path / "head").unlink()
    taken = reader_of(writer, dead=True).take(MOST)
    assert taken is not None
    assert (taken.lines, taken.ends) == (b"", True)


def test_what_a_killed_writer_had_numbered_or_promised_is_declared(writer: StreamWriter) -> None:
    writer.write(2)
    writer.skip(3)
    writer.note(5, promised=4)
    (gap,) = gaps(all_of(reader_of(writer, dead=True)))
    assert (gap["first_seq"], gap["last_seq"], gap["count"], gap["why"]) == (3, 9, 7, "killed")
    assert gap["stream"] == writer.name
    assert gap["sidecar"] == "test-sidecar"


def test_who_declares_a_gap_once_more_says_the_same(writer: StreamWriter) -> None:
    writer.write(2)
    writer.note(2, promised=4)
    reader = reader_of(writer, dead=True)
    first = reader.take(MOST)
    reader.rewind(0)
    assert reader.take(MOST) == first


@pytest.mark.parametrize("head", [None, b"short", HEAD.pack(7, 1 << 60, *[0] * 62)])
def test_where_the_head_says_nothing_the_gap_has_no_end(writer: StreamWriter, head: bytes | None) -> None:
    writer.write(2)
    path = writer.path / "head"
    path.unlink()
    if head is not None:
        path.write_bytes(head)
    (gap,) = gaps(all_of(reader_of(writer, dead=True)))
    assert (gap["first_seq"], gap["why"]) == (3, "killed")
    assert "last_seq" not in gap
    assert "count" not in gap


@pytest.mark.parametrize("cut", [1, 50, 150])
def test_the_torn_end_of_a_living_writer_is_waited_for(writer: StreamWriter, cut: int) -> None:
    writer.write(1)
    block = encode_block(record(2), 1, 2, 2, TIME_US)
    writer.append(block[:-cut])
    reader = reader_of(writer)
    assert (taken := reader.take(MOST)) is not None
    assert seqs(taken.lines) == [1]
    assert reader.take(MOST) is None
    assert reader.take(MOST) is None
    writer.append(block[-cut:])
    assert (taken := reader.take(MOST)) is not None
    assert taken.lines == record(2)


def test_the_torn_end_of_a_dead_writer_counts_as_killed(writer: StreamWriter) -> None:
    writer.write(1)
    writer.append(encode_block(record(2), 1, 2, 2, TIME_US)[:-5])
    writer.note(2)
    (gap,) = gaps(all_of(reader_of(writer, dead=True)))
    assert (gap["first_seq"], gap["last_seq"], gap["why"]) == (2, 2, "killed")


def test_a_torn_end_before_another_segment_is_damage(writer: StreamWriter) -> None:
    writer.write(1)
    writer.write(2)
    torn = writer.segments()[0]
    writer.turn()
    writer.write(1)
    tear(torn, 5)
    taken = reader_of(writer).take(MOST)
    assert taken is not None
    assert seqs(taken.lines) == [1, 4]
    (gap,) = gaps(taken.lines)
    assert (gap["first_seq"], gap["last_seq"], gap["count"], gap["why"]) == (2, 3, 2, "damaged")


@pytest.mark.parametrize("at", [0, 5, 10, 13, 25, HEAD_BYTES, HEAD_BYTES + 40])
def test_a_flipped_bit_costs_its_block_alone(writer: StreamWriter, at: int) -> None:
    for _ in range(3):
        writer.write(2)
    size = writer.segments()[0].stat().st_size // 3
    flip(writer.segments()[0], size + at)
    lines = all_of(reader_of(writer, dead=True))
    assert seqs(lines) == [1, 2, 5, 6]
    assert [(gap["first_seq"], gap["last_seq"], gap["why"]) for gap in gaps(lines)] == [(3, 4, "damaged")]


def test_damage_at_the_end_of_a_stream_is_told_from_what_was_never_written(writer: StreamWriter) -> None:
    writer.write(2)
    at = writer.segments()[0].stat().st_size
    writer.write(2)
    flip(writer.segments()[0], at + HEAD_BYTES + 3)
    writer.note(4, promised=1)
    found = [
        (gap["first_seq"], gap["count"], gap["why"]) for gap in gaps(all_of(reader_of(writer, dead=True)))
    ]
    assert found == [(3, 2, "damaged"), (5, 1, "killed")]


def test_zeros_in_a_living_stream_are_damage_once_something_follows(writer: StreamWriter) -> None:
    writer.write(2)
    path = writer.segments()[0]
    zero(path, 0, path.stat().st_size)
    reader = reader_of(writer)
    assert reader.take(MOST) is None
    writer.write(1)
    assert (taken := reader.take(MOST)) is not None
    assert seqs(taken.lines) == [3]
    assert [gap["why"] for gap in gaps(taken.lines)] == ["damaged"]


def test_bytes_lost_from_the_middle_cost_no_more_than_the_blocks_they_were_of(writer: StreamWriter) -> None:
    for _ in range(5):
        writer.write(1)
    path = writer.segments()[0]
    data = path.read_bytes()
    size = len(data) // 5
    path.write_bytes(data[: size + 60] + data[2 * size - 10 :])
    assert seqs(all_of(reader_of(writer, dead=True))) == [1, 3, 4, 5]


def test_a_segment_that_vanished_is_declared_by_the_next(writer: StreamWriter) -> None:
    for _ in range(3):
        writer.write(2)
        writer.turn()
    reader = reader_of(writer)
    writer.segments()[1].unlink()
    assert (taken := reader.take(MOST)) is not None
    assert seqs(taken.lines) == [1, 2, 5, 6]
    assert [(gap["first_seq"], gap["last_seq"]) for gap in gaps(taken.lines)] == [(3, 4)]


@pytest.mark.parametrize("what", ["symlink", "fifo", "directory", "foreign"])
def test_only_regular_files_of_ours_are_read(writer: StreamWriter, tmp_path: Path, what: str) -> None:
    for _ in range(3):
        writer.write(2)
        writer.turn()
    path = writer.segments()[1]
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    match what:
        case "symlink":
            path.symlink_to(elsewhere)
        case "fifo":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case _:
            path.write_bytes(b"AZR1" * 1000 + b"something else altogether" * 100)
    (writer.path / "notes.txt").write_text("not a segment")
    lines = all_of(reader_of(writer, dead=True))
    assert seqs(lines) == [1, 2, 5, 6]
    assert [(gap["first_seq"], gap["last_seq"], gap["why"]) for gap in gaps(lines)] == [(3, 4, "damaged")]


def test_a_head_that_lies_about_its_size_is_passed_over(writer: StreamWriter) -> None:
    writer.write(1)
    liar = encode_block(b"x" * 1_000_000, 1, 2, 2, TIME_US)[:HEAD_BYTES]
    writer.append(liar)
    writer.last_seq = 2
    writer.write(1)
    lines = all_of(reader_of(writer, dead=True))
    assert seqs(lines) == [1, 3]


def test_a_segment_full_of_wounds_is_given_up(writer: StreamWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "_WOUNDS_MAX", 3)
    liar = encode_block(b"x" * 1_000_000, 1, 1, 1, TIME_US)[:HEAD_BYTES]
    writer.append(liar * 10, first=1)
    writer.last_seq = 1
    writer.write(1)
    writer.turn()
    writer.write(1)
    assert seqs(all_of(reader_of(writer, dead=True))) == [3]


def test_a_file_that_cannot_be_read_is_damage_only_after_a_while(
    writer: StreamWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        writer.write(1)
        writer.turn()
    reader = reader_of(writer, dead=True)
    real = open_regular

    def refusing(path: Path) -> int:
        if path.name.startswith("0000000000000001"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(reader_module, "open_regular", refusing)
    takes = [reader.take(MOST) for _ in range(60)]
    first = next(at for at, taken in enumerate(takes) if taken)
    assert first >= 40
    assert seqs(takes[first].lines if takes[first] else b"") == [2]  # type: ignore[union-attr]  # asked before


def test_too_many_open_files_never_count_as_damage(
    writer: StreamWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.write(1)
    reader = reader_of(writer)

    def refusing(path: Path) -> int:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(reader_module, "open_regular", refusing)
        assert [reader.take(MOST) for _ in range(100)] == [None] * 100
    assert reader.take(MOST) is not None


def test_a_segment_that_is_replaced_while_it_is_open_is_read_as_it_was(writer: StreamWriter) -> None:
    written = writer.write(1) + writer.write(1)
    reader = reader_of(writer)
    first = reader.take(1)
    assert first is not None
    assert reader.stream.readers == {1: 1}
    fresh = writer.path / "fresh"
    fresh.write_bytes(encode_block(b"other\n", 1, 1, 2, TIME_US))
    fresh.rename(writer.segments()[0])
    second = reader.take(1)
    assert second is not None
    assert first.lines + second.lines == written
    reader.close()
    assert reader.stream.readers == {}


def test_who_lets_go_reads_on_by_seq(writer: StreamWriter) -> None:
    writer.write(1)
    writer.write(1)
    reader = reader_of(writer)
    reader.take(1)
    reader.rewind(1)
    assert (taken := reader.take(1)) is not None
    assert seqs(taken.lines) == [2]


def test_a_batch_covers_no_more_seqs_than_asked_for_unless_one_block_does(writer: StreamWriter) -> None:
    writer.write_gap(20)
    writer.write(3)
    writer.write(3)
    reader = reader_of(writer)
    covered = []
    while taken := reader.take(MOST, 6):
        covered.append((taken.first_seq, taken.last_seq))
    assert covered == [(1, 20), (21, 26)]
