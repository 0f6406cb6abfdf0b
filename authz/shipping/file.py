"""Records to a file, which is put aside when it has grown: PATH, PATH.1 (newer) .. PATH.keep (oldest).

A batch stands in one file, whole or not at all: what is written of one that fails is taken back, so that
trying again leaves no half line and no second copy. What a kill left is taken back when the file is opened.

INVARIANT: only whole lines stand in a file after `deliver`, and before the first one of ours.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

from authz.model.sink import SinkAddress
from authz.shipping.delivery import Batch, Unavailable

_MODE = 0o640  # its group may collect it; nobody else may read who asked what
# SECURITY: not through a link. This file is cut and renamed, and whoever may place a link in its directory
# would choose whose file that happens to. A FIFO must not hang us, and is no file.
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
_BATCH_BYTES = 1024 * 1024
_LINE_MAX_BYTES = 1024 * 1024  # a half line of ours is shorter
_OURS = b'{"v":'  # what each of our lines begins with


class FileSink:
    """One file. See `delivery.Sink`.

    Args:
        max_bytes: it is put aside before it grows beyond, by whole batches; 0: never.
        keep: how many of those there are.
    """

    batch_bytes = _BATCH_BYTES

    def __init__(self, address: SinkAddress, name: str, max_bytes: int, keep: int) -> None:
        self.name = name
        self._path = Path(address.target)
        self._max_bytes, self._keep = max_bytes, keep
        self._fd = -1
        self._reopen = False

    def deliver(self, batch: Batch) -> None:
        """See `delivery.Sink`."""
        try:
            size = self._ready(len(batch.lines))
            self._append(batch.lines, size)
        except OSError as error:
            self.close()
            raise Unavailable(f"`{self._path}`: {_words(error)}") from None

    def _ready(self, coming: int) -> int:
        """Have the file open that stands at the path now; return its size."""
        if self._reopen or not self._is_there():
            self._reopen = False
            self.close()
        if self._fd < 0:
            self._fd = _open(self._path)
        size = os.fstat(self._fd).st_size
        if size and 0 < self._max_bytes < size + coming:
            put_aside(self._path, self._keep)
            self.close()
            self._fd = _open(self._path)
            size = os.fstat(self._fd).st_size
        return size

    def _is_there(self) -> bool:
        """Whether what is open is what stands at the path: not moved, not deleted."""
        if self._fd < 0:
            return False
        try:
            return os.path.samestat(os.fstat(self._fd), self._path.lstat())
        except FileNotFoundError:
            return False

    def _append(self, lines: bytes, size: int) -> None:
        view = memoryview(lines)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            # Where this fails, too, the next one who opens the file does it.
            os.ftruncate(self._fd, size)
            raise
        if not os.fstat(self._fd).st_nlink:
            raise OSError(errno.ENOENT, "was deleted while it was written")

    def reopen(self) -> None:
        """Open the file anew at the next batch, after somebody moved it."""
        self._reopen = True

    def close(self) -> None:
        """See `delivery.Sink`."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def put_aside(path: Path, keep: int) -> None:
    """Rename a file to PATH.1, and those before it one further; of more than `keep` the oldest goes.

    Each step is one rename, onto a name that is free: a kill between two leaves a free name, which the next
    call finds, and goes no further than that. Only where all names are taken is the oldest replaced.
    """
    names = [path, *(Path(f"{path}.{number}") for number in range(1, keep + 1))]
    free = next((at for at, name in enumerate(names) if not os.path.lexists(name)), keep)
    for at in range(free, 0, -1):
        names[at - 1].rename(names[at])


def _open(path: Path) -> int:
    """Open it for us alone, ending with a whole line; raises OSError."""
    fd = os.open(path, _FLAGS, _MODE)
    try:
        _require_file(fd)
        _claim(fd)
        _mend(fd)
    except OSError:
        os.close(fd)
        raise
    return fd


def _require_file(fd: int) -> None:
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise OSError(errno.EINVAL, "is no file; as the only sink it may be a FIFO")


def _claim(fd: int) -> None:
    """Hold the file: of two who write, put aside and cut it, each would spoil what the other wrote."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OSError(errno.EBUSY, "another process writes it; give each sidecar a file of its own") from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):  # some network file systems have no locks
            raise


def _mend(fd: int) -> None:
    """Take back a half line that a kill left. It was never acknowledged, and comes again whole."""
    size = os.fstat(fd).st_size
    tail = os.pread(fd, _LINE_MAX_BYTES, max(0, size - _LINE_MAX_BYTES))
    half = tail[tail.rfind(b"\n") + 1 :]
    if half and (half.startswith(_OURS) or _OURS.startswith(half)):
        os.ftruncate(fd, size - len(half))
    elif half:
        os.write(fd, b"\n")  # somebody else's words are not ours to take away


def _words(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "is a symbolic link; name the file that it leads to"
    return (error.strerror or "cannot be written").lower()
