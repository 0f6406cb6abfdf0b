"""One stream of a spool, as its directory shows it: segments, and whether somebody still writes.

SECURITY: only regular files are read, and none through a link: a FIFO would hang us, and a link would let
whoever may write here choose what is shipped.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from pathlib import Path
from threading import Lock

import msgspec
from msgspec import Struct

from authz.record.segment import HEAD, HEAD_SLOTS, SEQ_END, decode_head_file, segment_name, segment_seq

GONE = ".gone"  # what a directory's name ends with while it is taken away
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LATELY_NS = 1_000_000_000
_ABOUT_MAX_BYTES = 4096
_PROMISED_MAX = 1_000_000  # of all threads of a process together: more is damage


class _About(Struct, frozen=True):
    sidecar: str = ""


_about = msgspec.json.Decoder(_About).decode


class Stream:
    """A stream's directory.

    Args:
        lock: held while a segment is opened for reading, and while one is replaced or taken away.
        sizes: bytes of each segment by its first seq, as last looked at.
        alive: whether its writer lived when last looked at; False is for good.
    """

    __slots__ = ("_sidecar", "alive", "lock", "name", "path", "readers", "sizes", "thinned", "touched_ns")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.lock = Lock()
        self.sizes: dict[int, int] = {}
        self.alive = True
        self.touched_ns = 0  # of the directory, when `sizes` was last read
        self.readers: dict[int, int] = {}  # segment open for reading: by how many; under `lock`
        # What was given up of a segment: whether everything, and what was spared.
        self.thinned: dict[int, tuple[bool, tuple[tuple[int, int], ...]]] = {}
        self._sidecar: str | None = None

    @property
    def bytes(self) -> int:
        """What its segments hold, as last looked at."""
        return sum(list(self.sizes.values()))

    @property
    def sidecar(self) -> str:
        """Whose stream it is; "" where that is not to be read."""
        if self._sidecar is None:
            self._sidecar = _read_sidecar(self.path / "about")
        return self._sidecar

    def segments(self) -> list[int]:
        """Return the first seq of each segment there is now, in order.

        Raises:
            OSError: the directory cannot be read; of one that is gone there are none.
        """
        try:
            with os.scandir(self.path) as entries:
                found = (segment_seq(entry.name) for entry in entries)
                return sorted(seq for seq in found if seq is not None)
        except FileNotFoundError:
            return []

    def segment(self, first_seq: int) -> Path:
        """Return where a segment is."""
        return self.path / segment_name(first_seq)

    def look(self) -> bool:
        """Look whether it grew, or lost its writer; whether anything is new."""
        was = (self.alive, self.sizes)
        if self.alive:
            self.alive = is_locked(self.path / "lock")  # first: what it wrote at last is seen below
        self.measure()
        return was != (self.alive, self.sizes)

    def measure(self) -> bool:
        """Look how large segments are; whether anything grew. Costs two system calls where nothing did."""
        try:
            touched_ns = self.path.lstat().st_mtime_ns
            # Times of files move on every 4 ms: what was touched lately may have been touched again since.
            lately = abs(time.time_ns() - touched_ns) < _LATELY_NS
            if lately or touched_ns != self.touched_ns or not self.sizes:
                sizes = {seq: _size(self.segment(seq)) for seq in self.segments()}
            else:  # segments came and went with the directory's time; only the last one grows
                last = max(self.sizes)
                sizes = {**self.sizes, last: _size(self.segment(last))}
        except OSError:
            return False
        grew = sizes != self.sizes
        self.sizes, self.touched_ns = sizes, touched_ns
        return grew

    def most_seq(self) -> int | None:
        """Return the last seq that its writer may have given out; None: that is not known."""
        try:
            fd = open_regular(self.path / "head")
        except OSError:
            return None
        try:
            head = decode_head_file(os.pread(fd, HEAD.size, 0))
        except OSError:
            return None
        finally:
            os.close(fd)
        if head is None or head.promised > _PROMISED_MAX * HEAD_SLOTS or head.last_seq >= SEQ_END:
            return None
        return head.most_seq

    def drop(self, first_seq: int) -> None:
        """Delete a segment that every sink has."""
        try:
            self.segment(first_seq).unlink(missing_ok=True)
        except OSError:  # the disk is read-only, say: it stays, and nobody reads it again
            return
        self.sizes = {seq: size for seq, size in self.sizes.items() if seq != first_seq}
        self.thinned.pop(first_seq, None)

    @property
    def revived(self) -> bool:
        """Whether a writer whose directory somebody took away has begun it anew."""
        return is_locked(self.path / "lock")

    def remove(self) -> bool:
        """Take the directory away: at once for whoever looks, whole or not at all. Whether it is gone."""
        gone = self.path.with_name(self.name + GONE)
        try:
            self.path.rename(gone)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        sweep(gone)
        return True


def sweep(directory: Path) -> None:
    """Remove a directory and the files in it, as far as that is possible."""
    try:
        with os.scandir(directory) as entries:
            names = [entry.name for entry in entries]
        for name in names:
            if not (directory / name).is_dir():
                (directory / name).unlink(missing_ok=True)
        directory.rmdir()
    except OSError:
        return  # somebody else's directory in ours: no reason to stop


def open_regular(path: Path) -> int:
    """Open a regular file for reading.

    Raises:
        OSError: there is none, or something else.
    """
    fd = os.open(path, _FLAGS)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return fd


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock of this file."""
    try:
        fd = open_regular(path)
    except OSError as error:
        # INVARIANT: a lock that cannot be looked at just now says nothing: who lives must not be buried.
        return error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.EIO)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def _read_sidecar(path: Path) -> str:
    try:
        fd = open_regular(path)
    except OSError:
        return ""
    try:
        return _about(os.pread(fd, _ABOUT_MAX_BYTES, 0)).sidecar
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return ""
    finally:
        os.close(fd)


def _size(path: Path) -> int:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0
