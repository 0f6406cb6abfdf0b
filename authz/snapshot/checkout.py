"""Whether git is writing a work tree just now: it holds `index.lock` from the first file to the last."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Event

BUSY_MAX_S = 5.0  # a git that died leaves its lock for ever
_LOOK_S = 0.005
_LOCKS_S = (
    1.0  # for how long it is known where the locks are: of thousands of directories, looking takes 20 ms
)

Mark = tuple[int, int, int]  # of a lock: device, inode, when it was made


class Checkout:
    """Waits for git; a lock that it waited for in vain delays nothing a second time."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._stale: set[Mark] = set()
        self._asked: Iterable[str] = ()
        self._locks: frozenset[Path] = frozenset()
        self._looked_s = 0.0

    def wait(self, directories: Iterable[str], ended: Event) -> None:
        """Wait until no work tree above these directories is being written, or for so long that it is not."""
        now_s = self._monotonic_s()
        locks, end_s = self._locks_of(directories, now_s), now_s + BUSY_MAX_S
        while (held := self._held(locks)) and not ended.is_set():
            if self._monotonic_s() >= end_s:
                self._stale = held
                return
            ended.wait(_LOOK_S)

    def _locks_of(self, directories: Iterable[str], now_s: float) -> frozenset[Path]:
        if directories is not self._asked or now_s - self._looked_s >= _LOCKS_S:
            known: dict[str, Path | None] = {}
            found = (_lock(directory, known) for directory in directories)
            self._locks = frozenset(lock for lock in found if lock is not None)
            self._asked, self._looked_s = directories, now_s
        return self._locks

    def _held(self, locks: Iterable[Path]) -> set[Mark]:
        return {mark for lock in locks if (mark := _mark(lock)) is not None} - self._stale


def _lock(directory: str, known: dict[str, Path | None]) -> Path | None:
    """Return where git would have its lock for the work tree that a directory is in; None: it is in none.

    Args:
        known: what was found of others, for those in the same directory.

    Source: gitrepository-layout(5): a linked work tree has a file `.git` that says where its own things are.
    """
    if directory in known:
        return known[directory]
    git = os.path.join(directory, ".git")  # noqa: PTH118 - text: ten times as fast, and there are thousands
    above = os.path.dirname(directory)  # noqa: PTH120 - likewise
    match _kind(git):
        case stat.S_IFDIR:
            lock: Path | None = Path(git) / "index.lock"
        case stat.S_IFREG:
            lock = _linked(Path(git))
        case _:
            lock = _lock(above, known) if above != directory else None
    known[directory] = lock
    return lock


def _kind(path: str) -> int:
    try:
        return stat.S_IFMT(os.stat(path).st_mode)  # noqa: PTH116 - likewise
    except OSError:
        return 0


def _linked(git: Path) -> Path | None:
    try:
        kind, _, where = git.read_text(encoding="utf-8", errors="surrogateescape").partition(":")
    except OSError:
        return None
    return git.parent / where.strip() / "index.lock" if kind == "gitdir" else None


def _mark(lock: Path) -> Mark | None:
    try:
        found = lock.lstat()
    except (OSError, ValueError):  # whoever wrote where the lock is may have written anything
        return None
    return (found.st_dev, found.st_ino, found.st_mtime_ns)
