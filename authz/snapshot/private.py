"""A directory that is ours alone, and files in it that are whole or not there.

SECURITY: what is read here decides who is let in. So nothing is followed, and nothing is believed that
somebody else could have written: the directory and the file belong to us, and nobody else may look into
either. Every name is looked up in the directory that was checked, not in a path that may lead elsewhere by
now.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from authz.model.errors import StateUnusable

_OTHERS = 0o077  # what group and others may do
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TEMPORARY = ".tmp"


class Private:
    """One directory, opened.

    Args:
        fd: its descriptor.
        shown: its path, for messages.
    """

    def __init__(self, fd: int, shown: str) -> None:
        self._fd = fd
        self._shown = shown

    def read(self, name: str, most_bytes: int) -> bytes | None:
        """Return what a file holds; None where there is none.

        Raises:
            StateUnusable: it is not ours, not a plain file, or larger than that.
        """
        try:
            with self._open(name) as fd:
                found = os.fstat(fd)
                self._check(name, found, most_bytes)
                return _read(fd, min(found.st_size, most_bytes))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateUnusable(self._say(name, f"{why(error)}: remove it")) from None

    def head(self, name: str, size: int) -> bytes:
        """Return the first bytes of a file; nothing where it cannot be read."""
        with suppress(OSError), self._open(name) as fd:
            return _read(fd, size)
        return b""

    def write(self, name: str, chunks: Iterable[bytes]) -> None:
        """Put a file in place, whole or not at all, whoever writes the same at the same time.

        Raises:
            StateUnusable: it could not be written; what stood there still does.
        """
        temporary = f"{name}.{secrets.token_hex(4)}{_TEMPORARY}"
        try:
            self._write(temporary, chunks)
            os.replace(temporary, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
            os.fsync(self._fd)  # the name, too, must outlast a power cut
        except OSError as error:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=self._fd)
            raise StateUnusable(
                self._say(name, f"{why(error)}: make room, or name another directory")
            ) from None

    def touch(self, name: str, modified_ns: int) -> None:
        """Note a time in a file's own."""
        with suppress(OSError):
            os.utime(name, ns=(modified_ns, modified_ns), dir_fd=self._fd, follow_symlinks=False)

    def modified_ns(self, name: str) -> int:
        """Return the time that `touch` noted, or 0."""
        try:
            return os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_mtime_ns
        except OSError:
            return 0

    def sweep(self, name: str, before_ns: int) -> None:
        """Remove what a killed process left of writing this file, unless somebody may be writing it yet."""
        for entry in os.listdir(self._fd):  # noqa: PTH208 - a Path knows no descriptor
            if entry.startswith(f"{name}.") and entry.endswith(_TEMPORARY):
                with suppress(OSError):
                    if os.stat(entry, dir_fd=self._fd, follow_symlinks=False).st_mtime_ns < before_ns:
                        os.unlink(entry, dir_fd=self._fd)

    def _write(self, name: str, chunks: Iterable[bytes]) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=self._fd)
        with os.fdopen(fd, "wb", buffering=0) as file:
            for chunk in chunks:
                left = memoryview(chunk)
                while left:
                    left = left[file.write(left) or 0 :]
            os.fsync(fd)

    @contextmanager
    def _open(self, name: str) -> Iterator[int]:
        # Without O_NONBLOCK a FIFO in the file's place would hang us for ever.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(name, flags, dir_fd=self._fd)
        try:
            yield fd
        finally:
            os.close(fd)

    def _check(self, name: str, found: os.stat_result, most_bytes: int) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise StateUnusable(self._say(name, "not a plain file: remove it"))
        _check_ours(found, f"{self._shown}/{name}", "remove it")
        if found.st_size > most_bytes:
            raise StateUnusable(self._say(name, f"more than {most_bytes} bytes: remove it"))

    def _say(self, name: str, what: str) -> str:
        return f"{self._shown}/{name}: {what}"


@contextmanager
def private(directory: Path, *, make: bool = False) -> Iterator[Private]:
    """Open a directory, and make sure that it is ours alone.

    Args:
        make: make it where it is missing.

    Raises:
        StateUnusable: it is missing, not a directory, somebody else's, or open to others.
    """
    try:
        made = make and _make(directory)
        fd = os.open(directory, _DIRECTORY)
    except OSError as error:
        link = directory.is_symlink()
        what = "a link: name the directory that it leads to" if link else f"{why(error)}: {_MEND}"
        raise StateUnusable(f"{directory}: {what}") from None
    try:
        if made:  # whatever the umask says; while a socket is made it is narrower
            os.fchmod(fd, 0o700)
        _check_ours(os.fstat(fd), str(directory), "name one of your own")
        yield Private(fd, str(directory))
    finally:
        os.close(fd)


_MEND = "name a directory that can be made and written with `--state`, or `--state off`"


def _make(directory: Path) -> bool:
    """Make a directory for us alone, and those above it as the umask says; return whether it was missing."""
    if os.path.lexists(directory):
        return False
    directory.parent.mkdir(parents=True, exist_ok=True)
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        return False
    return True


def _read(fd: int, size: int) -> bytes:
    """Read so many bytes, or as many as there are."""
    pieces = []
    while size > 0 and (piece := os.read(fd, size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _check_ours(found: os.stat_result, shown: str, mend: str) -> None:
    """Refuse what somebody else wrote or could have written."""
    if found.st_uid != os.geteuid():
        raise StateUnusable(f"{shown}: belongs to user {found.st_uid}, not to {os.geteuid()}: {mend}")
    mode = stat.S_IMODE(found.st_mode)
    if mode & _OTHERS:
        private_mode = mode & ~_OTHERS
        raise StateUnusable(
            f"{shown}: open to others (mode {mode:04o}): run `chmod {private_mode:04o}` on it"
        )


def why(error: OSError) -> str:
    """Say what the system said, as our prose does."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]
