"""Whether git is writing a work tree just now: it holds `index.lock` from the first file to the last."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Event

BUSY_MAX_S = 5.0  # a git that died leaves its lock for ever
_LOOK_S = 0.005

Mark = tuple[int, int, int]  # of a lock: device, inode, when it was made


class Checkout:
    """Waits for git; a lock that it waited for in vain delays nothing a second time."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._stale: set[Mark] = set()

    def wait(self, directories: Iterable[str], ended: Event) -> None:
        """Wait until no work tree above these directories is being written, or for so long that it is not."""
        locks = {lock for directory in directories if (lock := _lock(Path(directory))) is not None}
        end_s = self._monotonic_s() + BUSY_MAX_S
        while (held := self._held(locks)) and not ended.is_set():
            if self._monotonic_s() >= end_s:
                self._stale = held
                return
            ended.wait(_LOOK_S)

    def _held(self, locks: set[Path]) -> set[Mark]:
        return {mark for lock in locks if (mark := _mark(lock)) is not None} - self._stale


def _lock(directory: Path) -> Path | None:
    """Return where git would have its lock for the work tree that a directory is in; None: it is in none.

    Source: gitrepository-layout(5): a linked work tree has a file `.git` that says where its own things are.
    """
    for above in (directory, *directory.parents):
        git = above / ".git"
        if git.is_dir():
            return git / "index.lock"
        if git.is_file():
            return _linked(git)
    return None


def _linked(git: Path) -> Path | None:
    try:
        kind, _, where = git.read_text(encoding="utf-8", errors="surrogateescape").partition(":")
    except OSError:
        return None
    return git.parent / where.strip() / "index.lock" if kind == "gitdir" else None


def _mark(lock: Path) -> Mark | None:
    try:
        found = lock.lstat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_mtime_ns)
