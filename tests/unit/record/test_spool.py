"""The writing end of a spool: whole blocks or none, one after the other, within a bound."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

import pytest

from authz.model.errors import ConfigError
from authz.record.numbers import Numbers
from authz.record.segment import HEAD_BYTES, Block, decode_head, decode_head_file, is_intact, segment_name
from authz.record.spool import SpoolWriter, make_private, used_bytes
from authz.record.waiting import Take

STREAM = "0190000000000001"
PLENTY = 1 << 30


def writer(spool: Path, max_bytes: int = PLENTY) -> SpoolWriter:
    made = SpoolWriter(spool, Numbers(STREAM, "items-1"), max_bytes)
    made.open()
    return made


def take(first_seq: int, count: int = 1, size: int = 10) -> Take:
    return Take((b"x" * (size - 1) + b"\n") * count, count, first_seq, first_seq + count - 1)


def blocks(path: Path) -> list[Block]:
    data, found = path.read_bytes(), []
    while data:
        block = decode_head(data)
        assert block is not None
        assert is_intact(block, data[HEAD_BYTES : HEAD_BYTES + block.size])
        found.append(block)
        data = data[HEAD_BYTES + block.size :]
    return found


def segments(spool: Path) -> list[Path]:
    return sorted((spool / STREAM).glob("*.seg"))


def test_blocks_are_appended_and_say_what_they_cover(tmp_path: Path) -> None:
    made = writer(tmp_path / "s")
    assert made.write(take(1, 3), 0) == 30
    made.write(Take(b"gap\n", 0, 4, 9, 1), 0)
    (path,) = segments(tmp_path / "s")
    assert path.name == segment_name(1)
    assert [(one.lines, one.first_seq, one.last_seq) for one in blocks(path)] == [(3, 1, 3), (1, 4, 9)]


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    made = writer(tmp_path / "s")
    made.write(take(1), 0)
    for path in [tmp_path / "s", tmp_path / "s" / STREAM, *(tmp_path / "s" / STREAM).iterdir()]:
        if path.name != "about":
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_stream_is_locked_while_it_is_written_and_its_head_tells_what_there_may_be(tmp_path: Path) -> None:
    numbers = Numbers(STREAM, "items-1")
    made = SpoolWriter(tmp_path / "s", numbers, PLENTY)
    numbers.head[0] = 1  # before there was a spool
    made.open()
    numbers.head[0], numbers.head[3] = 5, 2
    directory = tmp_path / "s" / STREAM
    head = decode_head_file((directory / "head").read_bytes())
    assert head is not None
    assert head.most_seq == 7
    with (directory / "lock").open() as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        made.close()
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert decode_head_file((directory / "head").read_bytes()) == (5, 0)
    assert (directory / "about").read_text() == f'{{"v":1,"sidecar":"items-1","stream":"{STREAM}"}}\n'


def test_a_segment_ends_when_it_is_large(tmp_path: Path) -> None:
    made = writer(tmp_path / "s", 1 << 20)  # segments of 64 KiB
    for at in range(10):
        made.write(take(1 + 10 * at, 10, 2000), 0)
    names = [path.name for path in segments(tmp_path / "s")]
    assert names == [segment_name(seq) for seq in (1, 41, 81)]


def test_a_full_spool_takes_nothing_until_there_is_room(tmp_path: Path) -> None:
    made = writer(tmp_path / "s", 100_000)
    made.write(take(1, 9, 10_000), 0)
    with pytest.raises(OSError, match="full"):
        made.write(take(10, 1, 10_000), 0)
    full, empty = segments(tmp_path / "s")  # so that what everybody has can be deleted
    assert (empty.name, empty.stat().st_size) == (segment_name(10), 0)
    full.unlink()
    made.write(take(10, 1, 10_000), 0)
    assert made.most_bytes < 100_000  # or the queue could offer what never fits


def test_other_streams_count_and_other_files_do_not(tmp_path: Path) -> None:
    made = writer(tmp_path / "s")
    made.write(take(1), 0)
    other = tmp_path / "s" / "0190000000000000"
    other.mkdir()
    (other / segment_name(1)).write_bytes(b"x" * 500)
    (other / "odd").write_bytes(b"x" * 9000)
    (tmp_path / "s" / "odd").mkdir()
    assert used_bytes(tmp_path / "s") == 500 + 10 + HEAD_BYTES


@pytest.mark.parametrize("written", [0, 20])
def test_half_a_block_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int) -> None:
    made, whole = writer(tmp_path / "s"), os.write
    made.write(take(1), 0)

    def short(fd: int, data: bytes) -> int:
        if not written:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(fd, data[:written])

    monkeypatch.setattr(os, "write", short)
    with pytest.raises(OSError, match="No space left"):
        made.write(take(2), 0)
    with pytest.raises(OSError, match="No space left"):
        made.write(take(2), 0)
    # The other one can be deleted now, and may have been all that kept the disk full.
    assert [path.name for path in segments(tmp_path / "s")] == [segment_name(1), segment_name(2)]
    monkeypatch.undo()
    made.write(take(2), 0)
    first, second = segments(tmp_path / "s")
    assert [one.first_seq for one in blocks(first) + blocks(second)] == [1, 2]


def test_half_a_block_that_cannot_be_taken_back_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, whole = writer(tmp_path / "s"), os.write
    monkeypatch.setattr(os, "write", lambda fd, data: whole(fd, data[:20]))
    monkeypatch.setattr(os, "ftruncate", lambda fd, size: os.close(-1))
    with pytest.raises(OSError, match="No space left"):
        made.write(take(1), 0)
    monkeypatch.undo()
    made.write(take(1), 0)
    made.write(take(2), 0)
    (path,) = segments(tmp_path / "s")  # of the same name: there was nothing else in it
    assert [one.first_seq for one in blocks(path)] == [1, 2]


def test_a_spool_that_somebody_removed_is_begun_anew(tmp_path: Path) -> None:
    made = writer(tmp_path / "s", 1 << 20)
    made.write(take(1, 10, 10_000), 0)
    (tmp_path / "s").rename(tmp_path / "gone")
    with pytest.raises(FileNotFoundError):
        made.write(take(11), 0)
    made.write(take(11), 0)
    assert [path.name for path in segments(tmp_path / "s")] == [segment_name(11)]


def test_a_disk_that_is_full_at_the_start_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: 0)
    made = writer(tmp_path / "s")
    with pytest.raises(OSError, match="No space left"):
        made.write(take(1), 0)
    monkeypatch.undo()
    made.write(take(1), 0)
    assert len(segments(tmp_path / "s")) == 1
    assert [path.name for path in (tmp_path / "s").iterdir()] == [STREAM]


@pytest.mark.parametrize("kind", ["file", "link", "nowhere"])
def test_what_can_be_no_spool_stops_the_start(tmp_path: Path, kind: str) -> None:
    spool = tmp_path / "s"
    if kind == "file":
        spool.write_text("")
    elif kind == "link":
        spool.symlink_to(tmp_path)
    else:
        spool = spool / "s"
    with pytest.raises(ConfigError, match=r"record_spool: .*; name a directory that this user alone may use"):
        writer(spool)


def test_a_directory_that_others_can_enter_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir(mode=0o755)
    make_private(tmp_path / "s")
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o700


def test_another_users_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(PermissionError):
        make_private(tmp_path / "s")
