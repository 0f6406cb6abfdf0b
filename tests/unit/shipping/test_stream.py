from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from authz.shipping import stream as stream_module
from authz.shipping.spool import Spool
from authz.shipping.stream import Stream, is_locked, open_regular
from tests.support.spool import SIDECAR, StreamWriter


@pytest.fixture
def writer(tmp_path: Path) -> StreamWriter:
    return StreamWriter(tmp_path, segment_bytes=100)


def test_a_look_tells_what_grew_and_who_ended(writer: StreamWriter) -> None:
    stream = Stream(writer.path)
    assert not stream.look()
    writer.write(1)
    assert stream.look()
    assert not stream.look()
    writer.write(1)
    assert stream.measure()
    assert stream.bytes == sum(path.stat().st_size for path in writer.segments())
    writer.kill()
    assert stream.look()
    assert not stream.alive
    assert not stream.revived


def test_an_old_directory_is_listed_only_when_it_changed(writer: StreamWriter) -> None:
    writer.write(1)
    os.utime(writer.path, ns=(0, 0))
    stream = Stream(writer.path)
    stream.measure()
    with writer.segments()[0].open("ab") as file:
        file.write(b"more")
    assert stream.measure()
    assert stream.bytes == writer.segments()[0].stat().st_size


def test_a_directory_that_is_gone_holds_nothing(writer: StreamWriter, tmp_path: Path) -> None:
    stream = Stream(tmp_path / ("f" * 16))
    assert stream.segments() == []
    assert not stream.measure()
    assert stream.remove()
    assert stream.most_seq() is None
    assert stream.sidecar == ""


@pytest.mark.parametrize("about", [b"", b"{", b"[]", b"\xff"])
def test_whose_stream_it_is_may_be_unreadable(writer: StreamWriter, about: bytes) -> None:
    assert Stream(writer.path).sidecar == SIDECAR
    (writer.path / "about").write_bytes(about)
    assert Stream(writer.path).sidecar == ""


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for name in ("fifo", "link", ".", "missing"):
        with pytest.raises(OSError, match=r"\w"):
            open_regular(tmp_path / name)
    os.close(open_regular(tmp_path / "file"))


def test_a_lock_that_cannot_be_looked_at_buries_nobody(
    writer: StreamWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_locked(writer.path / "lock")
    assert not is_locked(writer.path / "missing")

    def refused(_: Path) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(stream_module, "open_regular", refused)
    assert is_locked(writer.path / "missing")


def test_what_cannot_be_deleted_stays(writer: StreamWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    writer.write(1)
    stream = Stream(writer.path)
    stream.look()

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refused)
        patch.setattr(Path, "rename", refused)
        stream.drop(1)
        assert not stream.remove()
    assert stream.bytes > 0
    stream.drop(1)
    assert stream.bytes == 0


def test_a_spool_that_cannot_be_listed_just_now_keeps_what_it_knew(tmp_path: Path) -> None:
    writer = StreamWriter(tmp_path / "spool")
    spool = Spool(tmp_path / "spool")
    spool.find(lambda _: None)
    (tmp_path / "spool").rename(tmp_path / "away")
    assert not spool.find(lambda _: None)
    assert set(spool.streams) == {writer.name}


def test_a_spool_of_many_streams_is_looked_at_in_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authz.shipping.spool.LOOKED_AT_MAX", 3)
    names = [f"{number:016x}" for number in range(7)]
    for name in names:
        (tmp_path / name).mkdir()
    spool = Spool(tmp_path)
    rounds = 0
    while spool.find(lambda _: None):
        rounds += 1
        assert spool.whole is (rounds == 3)
    assert list(spool.streams) == names
    assert rounds == 3
