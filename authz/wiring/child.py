"""One worker as its supervisor sees it: a process, the link to it, and what it last said."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

from authz.wiring import link
from authz.wiring.link import Question, Report

_MODULE = "authz.wiring.worker"
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_LAST_WORDS_S = 2.0  # to read what a worker said before it ended: its end of the link is closed
_CONFESS_S = 0.2  # to say where its threads stand, before it is killed

_KILL_S = 1.0
CONFESS = signal.SIGUSR2  # not SIGABRT, which leaves a core, and keys in it

_NOTHING = Report()


class Child:
    """A started worker.

    Args:
        begin: what it is told first, from `link.packed`.
        turn_fd: a file that it inherits under the same number.
        heard: called with each report, by a thread of ours; and with None when there will be no more.
    """

    def __init__(self, begin: bytes, turn_fd: int, heard: Callable[[Report | None], None]) -> None:
        self.said = _NOTHING
        self.spoke = False  # whether it ever said anything
        self._heard = heard
        self._link, its_end = socket.socketpair()
        with its_end:
            self._process = _spawn(its_end.fileno(), turn_fd)
        self._ears = Thread(target=self._hear, name="ears", daemon=True)
        self._ears.start()
        with suppress(OSError):  # it is dead already: `code` tells
            link.send_begin(self._link, begin)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def code(self) -> int | None:
        """Return how it ended (a signal is negative), or None while it runs."""
        return self._process.poll()

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def ask(self, question: Question) -> bool:
        """Ask, without waiting; False where it is gone or does not listen."""
        try:
            self._link.send(link.encode(question) + b"\n", socket.MSG_DONTWAIT)
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """End it at once; if it can, it first says on standard error where its threads stand."""
        self.send(CONFESS)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_CONFESS_S)
        self.send(signal.SIGKILL)
        with suppress(
            subprocess.TimeoutExpired
        ):  # it may hang in the kernel: the others must not wait for it
            self._process.wait(_KILL_S)

    def bury(self) -> None:
        """Take its last words, once it has ended, and let go of the link."""
        self._ears.join(_LAST_WORDS_S)
        self._link.close()

    def _hear(self) -> None:
        for report in link.reports(self._link):
            self.said, self.spoke = report, True
            self._heard(report)
        self._heard(None)


def _spawn(link_fd: int, turn_fd: int) -> subprocess.Popen[bytes]:
    """Start a worker whose signals wait until it is able to take them."""
    # -P: no module is taken from the working directory, whoever may write there.
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001 - as multiprocessing does
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, *flags, "-P", "-m", _MODULE, str(link_fd)],
            stdin=subprocess.DEVNULL,
            pass_fds=(link_fd, turn_fd),
            env=os.environ,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
