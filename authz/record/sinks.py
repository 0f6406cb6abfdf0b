"""Where records go: standard output, a file, or nowhere. Each takes bytes and says how many it took.

A sink never loses its place: what it did not take, the queue offers again from that byte on.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from pathlib import Path
from typing import Protocol

from authz.model.errors import ConfigError

_STDOUT_FD = 1
_FILE_MODE = 0o640  # its group may collect it; nobody else may read who asked what
_FLAGS = (
    os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
)  # a FIFO must not hang the start


class Sink(Protocol):
    """A place that takes records."""

    @property
    def name(self) -> str:
        """Its name in metrics."""
        ...

    def write(self, data: memoryview) -> int:
        """Write some of the data; return how many bytes. May block.

        Raises:
            BlockingIOError: it can take nothing just now.
            OSError: it is broken; the caller waits and tries again.
        """
        ...

    def reopen(self) -> None:
        """Ask for a fresh start at the next line, as after a rotation. Any thread may ask."""
        ...


class StdoutSink:
    """Records to standard output."""

    __slots__ = ("_fd",)
    name = "stdout"

    def __init__(self, fd: int = _STDOUT_FD) -> None:
        self._fd = fd

    def write(self, data: memoryview) -> int:
        """See `Sink.write`."""
        return os.write(self._fd, data)

    def reopen(self) -> None:
        """Do nothing: standard output is not ours to open."""


class FileSink:
    """Records appended to a file, which is opened anew when somebody moved it and asks `reopen`."""

    __slots__ = ("_fd", "_line_open", "_path", "_reopen")
    name = "file"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = _open(path)
        self._reopen = False
        self._line_open = False

    def write(self, data: memoryview) -> int:
        """See `Sink.write`."""
        if self._reopen and not self._line_open:  # a line is never torn between two files
            self._swap()
        count = os.write(self._fd, data)
        if count:
            self._line_open = data[count - 1] != ord("\n")
        return count

    def reopen(self) -> None:
        """See `Sink.reopen`."""
        self._reopen = True

    def _swap(self) -> None:
        fresh = os.open(self._path, _FLAGS, _FILE_MODE)  # an error leaves the old file in use
        os.close(self._fd)
        self._fd, self._reopen = fresh, False


class TurnSink:
    """A sink to which several processes write: each holds a lock from the first byte of a line to the last.

    What is longer than PIPE_BUF (4 KiB on Linux) may enter a pipe in parts, and our writes are up to 256 KiB.
    The lock belongs to the process (POSIX's kind), so it ends with it, however that ends. One that is killed
    in the middle of a line leaves a mark, and who comes next ends the line before it begins its own: at most
    the killed one's last line is broken.

    Args:
        fd: a file of at least one byte that all of them have open.
    """

    __slots__ = ("_fd", "_held", "_mark", "_sink")

    def __init__(self, sink: Sink, fd: int) -> None:
        self._sink = sink
        self._fd = fd
        self._mark = mmap.mmap(fd, 1)  # 1: a line has been begun
        self._held = False

    @property
    def name(self) -> str:
        """See `Sink.name`."""
        return self._sink.name

    def write(self, data: memoryview) -> int:
        """See `Sink.write`."""
        if not self._held:
            self._take()
        begun, self._mark[0] = self._mark[0], 1
        try:
            count = self._sink.write(data)
        except OSError:
            self._leave(begun)
            raise
        self._leave(data[count - 1] != ord("\n") if count else begun)
        return count

    def _take(self) -> None:
        """Wait for our turn; end the line that somebody was killed in."""
        fcntl.lockf(self._fd, fcntl.LOCK_EX)
        self._held = True
        if self._mark[0]:
            try:
                self._sink.write(memoryview(b"\n"))
            except OSError:
                self._let_go()
                raise
            self._mark[0] = 0

    def _leave(self, begun: int) -> None:
        """Let the next one write, unless a line of ours is begun."""
        self._mark[0] = begun
        if not begun:
            self._let_go()

    def _let_go(self) -> None:
        fcntl.lockf(self._fd, fcntl.LOCK_UN)
        self._held = False

    def reopen(self) -> None:
        """See `Sink.reopen`."""
        self._sink.reopen()


def _open(path: Path) -> int:
    try:
        return os.open(path, _FLAGS, _FILE_MODE)
    except (OSError, ValueError) as error:
        words = (getattr(error, "strerror", None) or "cannot be opened").lower()
        raise ConfigError(f"record_sink: `{path}`: {words}; name a file that this user may write") from None


def open_sink(text: str) -> Sink | None:
    """Open what the setting `record_sink` names; None for `off`.

    Args:
        text: `stdout`, `off` or `file:PATH`.

    Raises:
        ConfigError: the file cannot be opened, or the text names no sink.
    """
    if text == "off":
        return None
    if text == "stdout":
        return StdoutSink()
    if text.startswith("file:"):
        return FileSink(Path(text.removeprefix("file:")))
    raise ConfigError(f"record_sink: `{text}` is no sink; say `stdout`, `file:PATH` or `off`")


def in_turns(sink: Sink | None, fd: int) -> Sink | None:
    """Return a sink for one of several writers, who share the file `fd`; itself where it is -1."""
    return TurnSink(sink, fd) if sink is not None and fd >= 0 else sink
