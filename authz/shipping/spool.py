"""All streams of a spool, as last looked at: one thread looks, everybody reads."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

from authz.record.segment import is_stream
from authz.shipping.positions import DIRECTORY
from authz.shipping.stream import GONE, Stream, sweep

LOOKED_AT_MAX = 500  # streams that are new, in one round: 50 ms; after many crashes there may be thousands
_LATELY_NS = 1_000_000_000
_DIRECTORY_MODE = 0o700
_LOCK = ".lock"


class Spool:
    """What stands in a spool.

    Args:
        path: its directory; made if there is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.streams: dict[str, Stream] = {}  # one thread changes it; others iterate over `list(...)` of it
        self.version = 0  # grows when a stream appears or loses its writer
        self._unseen: list[str] = []
        self._touched_ns = 0
        self._lock_fd = -1

    @property
    def positions(self) -> Path:
        """Where sinks' positions are kept."""
        return self.path / DIRECTORY

    @property
    def whole(self) -> bool:
        """Whether every stream that was there has been looked at."""
        return not self._unseen

    @property
    def bytes(self) -> int:
        """What all segments hold, as last looked at."""
        return sum(stream.bytes for stream in list(self.streams.values()))

    def claim(self, deadline_s: float) -> bool:
        """Become the only one who ships from here; whether that came about in time (monotonic).

        Raises:
            OSError: the directory is of no use.
        """
        self.path.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
        self.positions.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
        if self.positions.is_symlink():  # SECURITY: we write and delete there
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._lock_fd = os.open(self.positions / _LOCK, flags, 0o600)
        while True:
            try:
                fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline_s:
                    return False
                time.sleep(0.05)  # an earlier one, orphaned, that still ships what it can
            else:
                return True

    def close(self) -> None:
        """Let another one ship."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def find(self, welcome: Callable[[Stream], None]) -> bool:
        """Look for new streams; whether there are any.

        Args:
            welcome: called with each before anybody else sees it.
        """
        self._list()
        names, self._unseen = self._unseen[:LOOKED_AT_MAX], self._unseen[LOOKED_AT_MAX:]
        fresh = [Stream(self.path / name) for name in names]
        for stream in fresh:
            if _is_ours(stream.path):
                stream.look()
                welcome(stream)
                self.streams[stream.name] = stream
        self.version += bool(fresh)
        return bool(fresh)

    def look(self) -> bool:
        """Look at every stream that is written, and whether it still is; whether anything is new."""
        looked = [(stream, stream.look()) for stream in list(self.streams.values()) if stream.alive]
        self.version += any(not stream.alive for stream, _ in looked)
        return any(new for _, new in looked)

    def measure(self) -> bool:
        """Look how large they are that somebody writes; whether anything grew."""
        grew = [stream.measure() for stream in list(self.streams.values()) if stream.alive]
        return any(grew)

    def forget(self, name: str) -> None:
        """Note that a stream is no more."""
        self.streams.pop(name, None)
        self._touched_ns = 0  # it may be there again, and have been passed over as one that is known

    def _list(self) -> None:
        try:
            touched_ns = self.path.stat().st_mtime_ns
            if touched_ns == self._touched_ns and abs(time.time_ns() - touched_ns) > _LATELY_NS:
                return
            with os.scandir(self.path) as entries:
                names = [entry.name for entry in entries]
        except OSError:
            return
        self._touched_ns = touched_ns
        waiting = set(self._unseen)
        self._unseen += sorted(
            name for name in names if is_stream(name) and name not in self.streams and name not in waiting
        )
        for name in names:
            if name.endswith(GONE) and is_stream(name.removesuffix(GONE)):
                sweep(self.path / name)  # left behind by one of us that was killed


def _is_ours(path: Path) -> bool:
    """Whether this is a directory that our user made.

    SECURITY: where a spool stood open to others for a while, they may have left records of their own making.
    """
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
