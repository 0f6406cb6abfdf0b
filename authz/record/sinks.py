"""Where records go: standard output, a file, or nowhere. Each takes bytes and says how many it took.

A sink never loses its place: what it did not take, the queue offers again from that byte on.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from authz.model.errors import ConfigError
from authz.model.sink import SinkAddress, SinkKind

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


def _open(path: Path) -> int:
    try:
        return os.open(path, _FLAGS, _FILE_MODE)
    except (OSError, ValueError) as error:
        words = (getattr(error, "strerror", None) or "cannot be opened").lower()
        raise ConfigError(f"record_sink: `{path}`: {words}; name a file that this user may write") from None


def open_sink(address: SinkAddress) -> Sink:
    """Open standard output or a file.

    Raises:
        ConfigError: the file cannot be opened.
    """
    return StdoutSink() if address.kind is SinkKind.STDOUT else FileSink(Path(address.target))
