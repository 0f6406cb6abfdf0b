"""A file that grows: what is appended, whether it is moved away and begun anew, or cut."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from authz.history.cutting import BLOCK_BYTES, Cutter
from authz.history.source import Item, Note
from authz.model.text import visible

_READS_MAX = 64  # blocks at one look: 16 MiB, so that others have their turn
# How often a file that was moved away is still looked at: its writer may go on with it until it is told.
_LOOKS_AFTER = 40
_ASIDE_MAX = 100  # numbered files that are looked through


class _Open(NamedTuple):
    fd: int
    cutter: Cutter


class Following:
    """What is appended to a file from one place on.

    Args:
        fd: the file as it is open now; ours from here on.
        start: bytes that were read already.
    """

    def __init__(self, path: Path, fd: int, start: int) -> None:
        self._path = path
        self._name = visible(str(path))
        os.lseek(fd, start, os.SEEK_SET)
        self._now: _Open | None = _Open(fd, Cutter(self._name))
        self._old: list[tuple[_Open, int]] = []  # files that were moved away, and looks that are left

    def poll(self) -> Iterator[Item]:
        """Yield what came since the last look."""
        yield from self._of_old()
        now = self._now
        if now is None:
            yield from self._renewed(self._old[-1][0].fd if self._old else None)
            return
        yield from _appended(now)
        if _is_cut(now.fd):
            os.lseek(now.fd, 0, os.SEEK_SET)
            self._now = now._replace(cutter=Cutter(self._name))
            yield Note(f"`{self._name}` was cut: it is read from its beginning")
        elif not _is_same(self._path, now.fd):
            self._old.append((now, _LOOKS_AFTER))
            self._now = None
            yield from self._renewed(now.fd)

    def close(self) -> None:
        """Let go of every file."""
        for one in (self._now, *(old for old, _ in self._old)):
            if one is not None:
                os.close(one.fd)
        self._now, self._old = None, []

    def _renewed(self, before: int | None) -> Iterator[Item]:
        """Go on with the new file, once it is there, and with those that came and went between two looks."""
        if not self._begin():
            return
        yield Note(f"`{self._name}` was put aside: the new one is followed")
        for path in self._between(before):
            if (passed := _opened(path, self._name)) is not None:
                self._old.append((passed, _LOOKS_AFTER))
                yield from _appended(passed)
        if self._now is not None:
            yield from _appended(self._now)

    def _between(self, before: int | None) -> list[Path]:
        """Return the files that were put aside after the one that we know, the oldest first."""
        if before is None:
            return []
        passed: list[Path] = []
        for number in range(1, _ASIDE_MAX):
            path = self._path.with_name(f"{self._path.name}.{number}")
            if not path.exists():
                return []  # ours is nowhere: nobody knows what came after it
            if _is_same(path, before):
                return passed[::-1]
            passed.append(path)
        return []

    def _begin(self) -> bool:
        self._now = _opened(self._path, self._name)
        return self._now is not None

    def _of_old(self) -> Iterator[Item]:
        left = []
        for old, looks in self._old:
            yield from _appended(old)
            if looks:
                left.append((old, looks - 1))
            else:
                yield from old.cutter.end()
                os.close(old.fd)
        self._old = left


def _appended(one: _Open) -> Iterator[Item]:
    for _ in range(_READS_MAX):
        try:
            block = os.read(one.fd, BLOCK_BYTES)
        except OSError:  # what the disk refuses now it may do later
            return
        if not block:
            return
        yield from one.cutter.take(block)


def _opened(path: Path, name: str) -> _Open | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None  # it is not there yet, or no more
    if not stat.S_ISREG(os.fstat(fd).st_mode):  # a FIFO would hang us, and a directory cannot be read
        os.close(fd)
        return None
    return _Open(fd, Cutter(name))


def _is_same(path: Path, fd: int) -> bool:
    try:
        there, ours = path.stat(), os.fstat(fd)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def _is_cut(fd: int) -> bool:
    return os.fstat(fd).st_size < os.lseek(fd, 0, os.SEEK_CUR)
