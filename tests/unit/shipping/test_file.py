"""Records to a file that grows, fills the disk, moves away, and is left in the middle of a line."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from authz.model.sink import parse_sink
from authz.shipping.delivery import Unavailable
from authz.shipping.file import FileSink, put_aside
from tests.support.batches import batch_of, record_line, records


def _sink(path: Path, max_bytes: int = 0, keep: int = 3) -> FileSink:
    return FileSink(parse_sink(f"file:{path}"), "file", max_bytes, keep)


def _seqs(path: Path) -> list[int]:
    """Each line parses, or this fails."""
    return [msgspec.json.decode(line)["seq"] for line in path.read_bytes().splitlines()]


@contextmanager
def _largest_file(size: int) -> Iterator[None]:
    """No file of this process grows beyond: a disk that fills up in the middle of a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


# --- appending


def test_batches_are_appended_as_they_stand(tmp_path: Path) -> None:
    sink = _sink(tmp_path / "a.json")
    sink.deliver(records(1, 3))
    sink.deliver(records(4, 4))
    sink.close()
    assert (tmp_path / "a.json").read_bytes() == records(1, 4).lines


def test_what_stands_there_stays(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(records(1, 2).lines)
    sink = _sink(tmp_path / "a.json")
    sink.deliver(records(3, 3))
    assert _seqs(tmp_path / "a.json") == [1, 2, 3]
    sink.close()


def test_its_group_may_read_it_and_nobody_else(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        sink = _sink(tmp_path / "a.json")
        sink.deliver(records(1, 1))
        sink.close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o640


def test_nothing_is_opened_before_there_is_something_to_write(tmp_path: Path) -> None:
    sink = _sink(tmp_path / "a.json")
    sink.close()
    assert [*tmp_path.iterdir()] == []


def test_after_it_was_closed_the_next_batch_opens_it_again(tmp_path: Path) -> None:
    sink = _sink(tmp_path / "a.json")
    sink.deliver(records(1, 1))
    sink.close()
    sink.deliver(records(2, 2))
    sink.close()
    assert _seqs(tmp_path / "a.json") == [1, 2]


# --- what it is not


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unavailable, match=r"is a symbolic link; name the file that it leads to"):
        _sink(tmp_path / "a.json").deliver(records(1, 1))
    assert not (tmp_path / "elsewhere").exists()


def test_a_linked_directory_is(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    sink = _sink(tmp_path / "link" / "a.json")
    sink.deliver(records(1, 1))
    sink.close()
    assert _seqs(tmp_path / "real" / "a.json") == [1]


def test_a_fifo_is_no_file_and_does_not_hang_anybody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(Unavailable, match="is no file"):
        _sink(tmp_path / "a.json").deliver(records(1, 1))


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="is a directory"):
        _sink(tmp_path).deliver(records(1, 1))


def test_of_two_who_write_one_file_the_second_waits(tmp_path: Path) -> None:
    first, second = _sink(tmp_path / "a.json"), _sink(tmp_path / "a.json")
    first.deliver(records(1, 1))
    with pytest.raises(Unavailable, match="another process writes it; give each sidecar a file of its own"):
        second.deliver(records(2, 2))
    first.close()
    second.deliver(records(2, 2))
    second.close()
    assert _seqs(tmp_path / "a.json") == [1, 2]


# --- faults


def test_a_full_disk_takes_back_what_was_written_of_a_batch(tmp_path: Path) -> None:
    path, sink = tmp_path / "a.json", _sink(tmp_path / "a.json")
    sink.deliver(records(1, 2))
    with _largest_file(path.stat().st_size + 300), pytest.raises(Unavailable, match="file too large"):
        sink.deliver(records(3, 9))
    assert _seqs(path) == [1, 2]
    sink.deliver(records(3, 9))
    sink.close()
    assert _seqs(path) == [*range(1, 10)]


def test_what_cannot_be_taken_back_is_mended_by_the_next_who_opens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sink = tmp_path / "a.json", _sink(tmp_path / "a.json")
    sink.deliver(records(1, 2))

    def refuse(_fd: int, _size: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken, _largest_file(path.stat().st_size + 300):
        broken.setattr("os.ftruncate", refuse)
        with pytest.raises(Unavailable, match="input/output error"):
            sink.deliver(records(3, 9))
    assert not path.read_bytes().endswith(b"\n")
    sink.deliver(records(3, 9))
    sink.close()
    assert _seqs(path) == [1, 2, 3, *range(3, 10)]  # a whole line stays: it comes twice, and is no half one


def test_a_directory_that_is_gone_is_an_outage_until_it_is_back(tmp_path: Path) -> None:
    home = tmp_path / "logs"
    home.mkdir()
    sink = _sink(home / "a.json")
    sink.deliver(records(1, 1))
    (home / "a.json").unlink()
    home.rmdir()
    with pytest.raises(Unavailable, match="no such file or directory"):
        sink.deliver(records(2, 2))
    home.mkdir()
    sink.deliver(records(2, 2))
    sink.close()
    assert _seqs(home / "a.json") == [2]


def test_a_file_that_was_deleted_is_made_anew(tmp_path: Path) -> None:
    path, sink = tmp_path / "a.json", _sink(tmp_path / "a.json")
    sink.deliver(records(1, 1))
    path.unlink()
    sink.deliver(records(2, 2))
    sink.close()
    assert _seqs(path) == [2]


def test_a_batch_whose_file_is_deleted_in_that_moment_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sink = tmp_path / "a.json", _sink(tmp_path / "a.json")
    sink.deliver(records(1, 1))
    write = os.write

    def deleted_under(fd: int, data: memoryview) -> int:
        path.unlink()
        return write(fd, data)

    with monkeypatch.context() as hasty:
        hasty.setattr("os.write", deleted_under)
        with pytest.raises(Unavailable, match="was deleted while it was written"):
            sink.deliver(records(2, 2))
    sink.deliver(records(2, 2))
    sink.close()
    assert _seqs(path) == [2]


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EMFILE, errno.EIO])
def test_a_file_that_cannot_be_opened_is_an_outage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    sink = _sink(tmp_path / "a.json")

    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as broken:
        broken.setattr("os.open", refuse)
        with pytest.raises(Unavailable, match=os.strerror(code).lower()):
            sink.deliver(records(1, 1))
    sink.deliver(records(1, 1))
    sink.close()
    assert _seqs(tmp_path / "a.json") == [1]


def test_a_file_system_without_locks_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_fd: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    sink = _sink(tmp_path / "a.json")
    sink.deliver(records(1, 1))
    sink.close()
    assert _seqs(tmp_path / "a.json") == [1]


def test_a_lock_that_fails_otherwise_is_an_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_fd: int, _how: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(Unavailable, match="input/output error"):
        _sink(tmp_path / "a.json").deliver(records(1, 1))


def test_why_it_failed_is_one_line_with_the_path(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as told:
        _sink(tmp_path / "none" / "a.json").deliver(records(1, 1))
    assert str(told.value) == f"`{tmp_path}/none/a.json`: no such file or directory"


# --- after a kill


def test_a_half_line_that_a_kill_left_is_taken_back(tmp_path: Path) -> None:
    whole = records(1, 2).lines
    for cut in range(1, len(record_line(3))):
        path = tmp_path / f"{cut}.json"
        path.write_bytes(whole + record_line(3)[:cut])
        sink = _sink(path)
        sink.deliver(records(3, 3))
        sink.close()
        assert path.read_bytes() == records(1, 3).lines


def test_a_half_line_alone_is_taken_back(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(record_line(1)[:50])
    sink = _sink(tmp_path / "a.json")
    sink.deliver(records(1, 1))
    sink.close()
    assert _seqs(tmp_path / "a.json") == [1]


@pytest.mark.parametrize("words", [b"somebody's words", b"[1]", b"{}", b"x" * (1 << 20) + b"yz"])
def test_somebody_elses_last_line_is_ended_and_not_taken_away(tmp_path: Path, words: bytes) -> None:
    (tmp_path / "a.json").write_bytes(words)
    sink = _sink(tmp_path / "a.json")
    sink.deliver(records(1, 1))
    sink.close()
    assert (tmp_path / "a.json").read_bytes() == words + b"\n" + records(1, 1).lines


# --- putting aside


def test_a_file_is_put_aside_before_it_grows_too_large(tmp_path: Path) -> None:
    path, size = tmp_path / "a.json", len(records(1, 2).lines)
    sink = _sink(path, size, keep=2)
    for seq in range(1, 10, 2):
        sink.deliver(records(seq, seq + 1))
    sink.close()
    names = sorted(one.name for one in tmp_path.iterdir())
    assert names == ["a.json", "a.json.1", "a.json.2"]
    assert [_seqs(tmp_path / name) for name in reversed(names)] == [[5, 6], [7, 8], [9, 10]]


def test_a_batch_larger_than_a_file_may_be_stands_in_one_alone(tmp_path: Path) -> None:
    sink = _sink(tmp_path / "a.json", max_bytes=10)
    sink.deliver(records(1, 5))
    sink.deliver(records(6, 6))
    sink.close()
    assert _seqs(tmp_path / "a.json.1") == [1, 2, 3, 4, 5]
    assert _seqs(tmp_path / "a.json") == [6]


def test_without_a_bound_nothing_is_put_aside(tmp_path: Path) -> None:
    sink = _sink(tmp_path / "a.json")
    for seq in range(1, 50):
        sink.deliver(records(seq, seq))
    sink.close()
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"]


def test_a_kill_between_any_two_renames_loses_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, keep = Path.rename, 3

    class Killed(BaseException):
        pass

    for survived in range(keep + 1):
        home = tmp_path / str(survived)
        home.mkdir()
        names = [home / "a.json", *(home / f"a.json.{number}" for number in range(1, keep))]
        for name in names:  # PATH, .1, .2; .3 is free
            name.write_text(name.name)
        done = 0

        def until_killed(self: Path, target: Path, most: int = survived) -> Path:
            nonlocal done
            done += 1
            if done > most:
                raise Killed
            return rename(self, target)

        with monkeypatch.context() as killed:
            killed.setattr(Path, "rename", until_killed)
            if survived < keep:
                with pytest.raises(Killed):
                    put_aside(home / "a.json", keep)
            else:
                put_aside(home / "a.json", keep)
        (home / "a.json").touch()  # whoever starts next opens it, and it grows
        put_aside(home / "a.json", keep)
        kept = {one.read_text() for one in home.iterdir()}
        lost = {name.name for name in names} - kept
        assert lost == (
            set() if survived < keep else {"a.json.2"}
        )  # the oldest, by rule, where all are taken


def test_putting_aside_replaces_the_oldest_alone(tmp_path: Path) -> None:
    names = [tmp_path / "a.json", *(tmp_path / f"a.json.{number}" for number in (1, 2))]
    for name in names:
        name.write_text(name.name)
    put_aside(names[0], 2)
    assert {one.name: one.read_text() for one in tmp_path.iterdir()} == {
        "a.json.1": "a.json",
        "a.json.2": "a.json.1",
    }


def test_what_cannot_be_put_aside_is_an_outage(tmp_path: Path) -> None:
    sink = _sink(tmp_path / "a.json", 10, keep=1)
    sink.deliver(records(1, 1))
    (tmp_path / "a.json.1").mkdir()
    with pytest.raises(Unavailable, match="is a directory"):
        sink.deliver(records(2, 2))
    (tmp_path / "a.json.1").rmdir()
    sink.deliver(records(2, 2))
    sink.close()
    assert _seqs(tmp_path / "a.json.1") == [1]
    assert _seqs(tmp_path / "a.json") == [2]


# --- moved by others


def test_a_file_that_others_move_is_let_go_of(tmp_path: Path) -> None:
    path, sink = tmp_path / "a.json", _sink(tmp_path / "a.json")
    sink.deliver(records(1, 1))
    path.rename(tmp_path / "moved")
    sink.deliver(records(2, 2))
    sink.close()
    assert _seqs(tmp_path / "moved") == [1]
    assert _seqs(path) == [2]


def test_reopen_opens_what_stands_there_and_loses_nothing(tmp_path: Path) -> None:
    path, sink = tmp_path / "a.json", _sink(tmp_path / "a.json")
    sink.deliver(records(1, 1))
    sink.reopen()
    sink.deliver(records(2, 2))
    sink.close()
    assert _seqs(path) == [1, 2]


def test_a_file_that_others_cut_to_nothing_goes_on_from_there(tmp_path: Path) -> None:
    path, sink = tmp_path / "a.json", _sink(tmp_path / "a.json")
    sink.deliver(records(1, 5))
    os.truncate(path, 0)  # `copytruncate`
    sink.deliver(records(6, 6))
    sink.close()
    assert path.read_bytes() == record_line(6)


# --- the real thing: killed while it writes and puts aside

_WRITER = """
import sys
from authz.model.sink import parse_sink
from authz.shipping.file import FileSink
from tests.support.batches import records
sink = FileSink(parse_sink("file:" + sys.argv[1]), "file", 20_000, 400)
seq = int(sys.argv[2])
while True:
    sink.deliver(records(seq, seq + 6))
    seq += 7
    sys.stdout.write(f"{seq}\\n")
    sys.stdout.flush()
"""


def test_killed_again_and_again_it_loses_no_batch_that_it_took(tmp_path: Path) -> None:
    path, begin = tmp_path / "a.json", 1
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path), str(begin)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        begin = [int(writer.stdout.readline()) for _ in range(60)][-1]  # taken so far
        writer.kill()
        rest = writer.stdout.read().splitlines(keepends=True)
        begin = max([begin, *(int(line) for line in rest if line.endswith("\n"))])
        writer.stdout.close()
        writer.wait()
    sink = _sink(path, 20_000, keep=400)
    sink.deliver(batch_of(record_line(begin), first_seq=begin))
    sink.close()
    found = {seq for each in tmp_path.iterdir() for seq in _seqs(each)}
    assert found >= set(range(1, begin + 1))
