"""Several processes that write records to one place, line by line."""

from __future__ import annotations

import fcntl
import mmap

from authz.record.sinks import Sink


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


def in_turns(sink: Sink | None, fd: int) -> Sink | None:
    """Return a sink for one of several writers, who share the file `fd`; itself where it is -1."""
    return TurnSink(sink, fd) if sink is not None and fd >= 0 else sink
