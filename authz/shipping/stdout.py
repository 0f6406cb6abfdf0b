"""Records to standard output: a pipe to whoever collects them, a terminal, a file.

It is not ours alone: its flags are shared with whoever else holds it, so it is asked before it is written to,
and no write is one that could wait. A line is written whole wherever the system can do so: a pipe takes 4 KiB
at once, and neither a kill nor another process comes between.
"""

from __future__ import annotations

import os
import select
import stat
import time

from authz.shipping.delivery import Batch, Unavailable
from authz.shipping.wire import Clock

_STDOUT_FD = 1
_BATCH_BYTES = 256 * 1024
_WAIT_S = 10.0  # for whoever reads
_FILE_BYTES = 256 * 1024  # of one write where nobody reads
_PIPE_BYTES = select.PIPE_BUF


class StdoutSink:
    """Standard output. See `delivery.Sink`.

    Args:
        wait_s: how long one batch waits for whoever reads.
    """

    batch_bytes = _BATCH_BYTES

    def __init__(
        self, name: str, fd: int = _STDOUT_FD, *, clock: Clock = time.monotonic, wait_s: float = _WAIT_S
    ) -> None:
        self.name = name
        self._fd = fd
        self._clock = clock
        self._wait_s = wait_s
        self._lines = b""  # what is being written ...
        self._at = 0  # ... and how much of it is out

    def deliver(self, batch: Batch) -> None:
        """See `delivery.Sink`."""
        deadline_s = self._clock() + self._wait_s
        if self._lines != batch.lines:
            self._finish_line(deadline_s)
            self._lines, self._at = batch.lines, 0
        self._write_to(len(self._lines), deadline_s)
        self._lines, self._at = b"", 0

    def _finish_line(self, deadline_s: float) -> None:
        """End a line that was begun before another batch came: half of one is nobody's record."""
        if self._at and self._lines[self._at - 1] != ord("\n"):
            self._write_to(self._lines.index(b"\n", self._at) + 1, deadline_s)

    def _write_to(self, end: int, deadline_s: float) -> None:
        try:
            most = _PIPE_BYTES if _may_wait(self._fd) else _FILE_BYTES
            while self._at < end:
                self._wait(deadline_s)
                piece = memoryview(self._lines)[self._at : self._cut(end, most)]
                self._at += os.write(self._fd, piece)
        except BlockingIOError:
            raise Unavailable("standard output: whoever reads it is too slow") from None
        except OSError as error:
            raise Unavailable(f"standard output: {(error.strerror or 'cannot be written').lower()}") from None

    def _cut(self, end: int, most: int) -> int:
        """Return where the next write ends: after the last whole line that fits, where one does."""
        if end - self._at <= most:
            return end
        whole = self._lines.rfind(b"\n", self._at, self._at + most) + 1
        return whole or self._at + most

    def _wait(self, deadline_s: float) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        if not poll.poll(max(0.0, (deadline_s - self._clock()) * 1000)):
            raise Unavailable("standard output: nobody reads it")

    def reopen(self) -> None:
        """Do nothing: standard output is not ours to open."""

    def close(self) -> None:
        """Do nothing: it is not ours to close."""


def _may_wait(fd: int) -> bool:
    """Whether somebody must read for a write to go on: anything but a file."""
    return not stat.S_ISREG(os.fstat(fd).st_mode)
