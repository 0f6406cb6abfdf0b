"""The writing end of a spool: blocks appended to segment files, by the queue's writer. See `segment.py`.

What is written survives the end of any process, however it ends, and not the end of the machine: nothing is
forced to the disk, which would cost a thousand times more than it is worth here.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import shutil
import stat
import time
from pathlib import Path

import msgspec

from authz.model.errors import ConfigError
from authz.record.numbers import Numbers
from authz.record.segment import (
    HEAD,
    SEGMENT_MAX_BYTES,
    encode_block,
    is_stream,
    segment_name,
    segment_seq,
)
from authz.record.waiting import Take

SEGMENT_MIN_BYTES = 64 * 1024
_SEGMENTS = 16  # of a full spool, at least: what is given up goes by the segment
_LOOK_S = 0.25  # between looks at how full the spool is
_DIRECTORY_MODE = 0o700
_FILE_MODE = 0o600
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
# What a start survives: the disk may have room again before the first record comes.
_PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EIO)

_to_json = msgspec.json.Encoder().encode


class SpoolWriter:
    """An outlet of the queue: one stream of a spool, written by one process.

    Args:
        spool: the directory of all streams.
        max_bytes: of all streams together; at that nothing more is written until there is room.
    """

    name = "spool"

    def __init__(self, spool: Path, numbers: Numbers, max_bytes: int) -> None:
        self._spool = spool
        self._numbers = numbers
        self._directory = spool / numbers.stream
        self._max_bytes = max_bytes
        self.most_bytes = max(SEGMENT_MIN_BYTES, min(SEGMENT_MAX_BYTES, max_bytes // _SEGMENTS))
        self._fd = self._lock_fd = -1
        self._size = 0  # of the open segment
        self._used = 0  # of the spool, when last looked at and what we wrote since
        self._look_s = 0.0
        self._head: mmap.mmap | None = None

    def open(self) -> None:
        """Begin the stream, if that is possible now; else the first write tries again.

        Raises:
            ConfigError: it will not be possible: the directory is not ours to write.
        """
        try:
            make_private(self._spool)
            self._begin()
        except OSError as error:
            if error.errno not in _PASSING:
                words = (error.strerror or "cannot be used").lower()
                raise ConfigError(
                    f"record_spool: `{self._spool}`: {words}; name a directory that this user alone may use"
                ) from None

    def write(self, take: Take, at: int) -> int:
        """Append all of a take as one block; see `Outlet.write`. `at` is 0: it takes all or nothing."""
        if self._head is None:
            self._begin()
        if self._is_full(len(take.data)):
            if self._size:
                self._turn(take.first_seq)  # see `_take_back`
            raise OSError(errno.ENOSPC, "the spool is full")
        if self._fd < 0 or self._size >= self.most_bytes:
            self._turn(take.first_seq)
        block = encode_block(
            take.data, take.records + take.gaps, take.first_seq, take.last_seq, time.time_ns() // 1000
        )
        self._append(block)
        return len(take.data)

    def reopen(self) -> None:
        """Do nothing: nobody moves these files."""

    def close(self) -> None:
        """End the stream: what was promised and never numbered never will be."""
        self._numbers.settle()
        self._close_segment()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)  # whoever ships sees by the lock that nobody writes here any more
            self._lock_fd = -1

    def _begin(self) -> None:
        """Make the stream's directory, which is there once it is whole and locked, or not at all."""
        unborn = self._spool / f".{self._numbers.stream}"
        shutil.rmtree(unborn, ignore_errors=True)
        unborn.mkdir(mode=_DIRECTORY_MODE)
        about = _to_json({"v": 1, "sidecar": self._numbers.sidecar, "stream": self._numbers.stream})
        (unborn / "about").write_bytes(about + b"\n")
        lock_fd = os.open(unborn / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX)
            head = _shared(unborn / "head")
            unborn.rename(self._directory)
        except OSError:
            os.close(lock_fd)
            raise
        self._lock_fd = lock_fd
        self._numbers.share(memoryview(head).cast("Q"))
        self._head = head

    def _is_full(self, size: int) -> bool:
        now_s = time.monotonic()
        if now_s >= self._look_s or self._used + size > self._max_bytes:
            self._used = used_bytes(self._spool)
            self._look_s = now_s + _LOOK_S
        return self._used + size > self._max_bytes

    def _turn(self, first_seq: int) -> None:
        """Begin a segment. One of this name has a torn block and nothing else: see `_append`."""
        self._close_segment()
        path = self._directory / segment_name(first_seq)
        path.unlink(missing_ok=True)
        try:
            self._fd = os.open(path, _NEW, _FILE_MODE)
        except FileNotFoundError:  # somebody removed the spool under us: the next try begins it anew
            make_private(self._spool)
            os.close(self._lock_fd)
            self._lock_fd, self._head = -1, None
            raise
        self._size = 0

    def _append(self, block: bytes) -> None:
        written = 0
        try:
            written = os.write(self._fd, block)
        finally:
            if written < len(block):
                self._take_back()
        if written < len(block):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += written
        self._used += written

    def _take_back(self) -> None:
        """Leave no half of a block; where that fails, too, the next block begins a segment.

        So it does where something stands in this one, which is deleted only once there is another, and may be
        all that keeps the disk full.
        """
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            self._close_segment()
        if self._size:
            self._close_segment()

    def _close_segment(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _shared(path: Path) -> mmap.mmap:
    """Return the memory of a new head."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
    try:
        # Written, not only made longer: a hole would end this process where the disk is full.
        if os.pwrite(fd, bytes(HEAD.size), 0) < HEAD.size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return mmap.mmap(fd, HEAD.size)
    finally:
        os.close(fd)


def make_private(directory: Path) -> None:
    """Make a directory that nobody else can enter, or see that it is one.

    Raises:
        OSError: it cannot be made, or is somebody else's.
    """
    try:
        directory.mkdir(mode=_DIRECTORY_MODE)
    except FileExistsError:
        found = directory.lstat()
        # SECURITY: in /dev/shm anybody may have been here before us.
        if directory.is_symlink() or not directory.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
        if found.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "is another user's") from None
        if found.st_mode & stat.S_ISVTX:  # as /tmp: everybody's, and nothing that we may close to others
            raise PermissionError(errno.EPERM, "is everybody's") from None
        if found.st_mode & 0o077:
            directory.chmod(_DIRECTORY_MODE)


def used_bytes(spool: Path) -> int:
    """Return how much stands in the segments of a spool.

    Raises:
        OSError: it cannot be read.
    """
    total = 0
    for stream in _entries(spool):
        if is_stream(stream.name) and stream.is_dir(follow_symlinks=False):
            for entry in _entries(Path(stream.path)):
                if segment_seq(entry.name) is not None:
                    total += _size(entry)
    return total


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except FileNotFoundError:  # shipped and removed meanwhile
        return []


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0
