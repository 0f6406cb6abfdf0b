"""Only what nobody else could have written is read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from authz.model.errors import StateUnusable
from authz.snapshot.private import private

_AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir(mode=0o700)
    return tmp_path / "home"


def read(home: Path, most_bytes: int = 100) -> bytes | None:
    with private(home) as directory:
        return directory.read("a.set", most_bytes)


def write(home: Path, *chunks: bytes) -> None:
    with private(home, make=True) as directory:
        directory.write("a.set", chunks)


def refused(home: Path, most_bytes: int = 100) -> str:
    with pytest.raises(StateUnusable) as caught:
        read(home, most_bytes)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(home))
    return text.removeprefix(str(home))


def test_what_was_written_is_read_and_nobody_else_may_look(home: Path) -> None:
    assert read(home) is None
    write(home, b"one", b"", b"two")
    assert read(home) == b"onetwo"
    assert stat.S_IMODE((home / "a.set").stat().st_mode) == 0o600
    assert [path.name for path in home.iterdir()] == ["a.set"]


@pytest.mark.parametrize("umask", [0, 0o077, 0o177])
def test_a_missing_directory_is_made_for_us_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    (tmp_path / "x").mkdir()
    before = os.umask(umask)
    try:
        write(tmp_path / "x" / "home", b"one")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x" / "home").stat().st_mode) == 0o700
    assert refused(tmp_path / "gone").startswith(": no such file or directory: name a directory that can be")


@pytest.mark.parametrize("mode", [0o701, 0o710, 0o722, 0o755, 0o777])
def test_a_directory_that_others_may_enter_is_refused(home: Path, mode: int) -> None:
    write(home, b"one")
    home.chmod(mode)
    assert refused(home) == f": open to others (mode {mode:04o}): run `chmod 0700` on it"
    with pytest.raises(StateUnusable):
        write(home, b"two")


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o666, 0o602])
def test_a_file_that_others_may_open_is_refused(home: Path, mode: int) -> None:
    write(home, b"one")
    (home / "a.set").chmod(mode)
    assert refused(home) == f"/a.set: open to others (mode {mode:04o}): run `chmod 0600` on it"


@_AS_ROOT
def test_what_belongs_to_somebody_else_is_refused(home: Path) -> None:
    write(home, b"one")
    os.chown(home / "a.set", 12345, -1)
    assert refused(home) == "/a.set: belongs to user 12345, not to 0: remove it"
    os.chown(home, 12345, -1)
    assert refused(home) == ": belongs to user 12345, not to 0: name one of your own"


def test_no_link_is_followed(home: Path, tmp_path: Path) -> None:
    write(home, b"one")
    (tmp_path / "link").symlink_to(home)
    assert refused(tmp_path / "link") == ": a link: name the directory that it leads to"
    (home / "a.set").rename(home / "b.set")
    (home / "a.set").symlink_to("b.set")
    assert refused(home).startswith("/a.set: too many levels of symbolic links")


def test_what_is_no_plain_file_is_refused_and_hangs_nobody(home: Path) -> None:
    os.mkfifo(home / "a.set", 0o600)
    assert refused(home) == "/a.set: not a plain file: remove it"
    (home / "a.set").unlink()
    (home / "a.set").mkdir(mode=0o700)
    assert refused(home) == "/a.set: not a plain file: remove it"
    (home / "file").write_bytes(b"")
    assert refused(home / "file").startswith(": not a directory: ")


def test_a_file_of_any_size_is_not_read_beyond_what_was_asked(home: Path) -> None:
    write(home, b"x" * 101)
    assert refused(home) == "/a.set: more than 100 bytes: remove it"
    assert read(home, 101) == b"x" * 101


def test_a_write_that_fails_leaves_what_was_there(home: Path) -> None:
    write(home, b"one")

    def full() -> Iterator[bytes]:
        yield b"two"
        raise OSError(28, "No space left on device")

    with (
        private(home) as directory,
        pytest.raises(StateUnusable, match="no space left on device: make room"),
    ):
        directory.write("a.set", full())
    assert read(home) == b"one"
    assert [path.name for path in home.iterdir()] == ["a.set"]


def test_a_full_disk_is_told_as_such(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def to_full(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & os.O_CREAT:
            os.close(real(path, flags, mode, dir_fd=dir_fd))
            return real("/dev/full", os.O_WRONLY)
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", to_full)
    with pytest.raises(StateUnusable, match="no space left on device"):
        write(home, b"one")
    assert [path.name for path in home.iterdir()] == []


def test_whoever_writes_at_the_same_time_the_file_is_whole(home: Path) -> None:
    def slowly(text: bytes, meanwhile: bytes) -> Iterator[bytes]:
        yield text
        if meanwhile:
            write(home, *slowly(meanwhile, b""))
        yield text

    write(home, *slowly(b"one", b"two"))
    assert read(home) == b"oneone"


def test_the_head_of_a_file_is_read_alone(home: Path) -> None:
    with private(home) as directory:
        assert directory.head("a.set", 2) == b""
        directory.write("a.set", [b"one"])
        assert directory.head("a.set", 2) == b"on"
        (home / "d").mkdir()
        assert directory.head("d", 2) == b""


def test_a_time_is_noted_with_the_file(home: Path) -> None:
    with private(home) as directory:
        assert directory.modified_ns("a.set") == 0
        directory.touch("a.set", 7)
        directory.write("a.set", [b"one"])
        directory.touch("a.set", 7_000_000_000)
        assert directory.modified_ns("a.set") == 7_000_000_000


def test_what_a_killed_writer_left_is_removed_and_nothing_else(home: Path) -> None:
    for name, age_s in (("a.set.00.tmp", 1), ("a.set.11.tmp", 9), ("b.set.00.tmp", 1), ("a.set.00", 1)):
        (home / name).write_bytes(b"")
        os.utime(home / name, (age_s, age_s))
    with private(home) as directory:
        directory.sweep("a.set", 5 * 10**9)
    assert sorted(path.name for path in home.iterdir()) == ["a.set.00", "a.set.11.tmp", "b.set.00.tmp"]
