"""Whether a process that answers checks still does, and how one that does not is ended.

A judging thread turns at least ten times a second, with calls or without. One that does not is stuck: in a
room, or in a library of C that holds the interpreter for ever. With workers the supervisor sees it and kills;
a process that serves alone watches itself:

    a judge is stuck, the interpreter runs     the watchdog's thread logs it and ends the process
    a library holds the interpreter and works  a kernel's timer of processor time ends it: see LastResort
    ... and waits for something                nobody in here can act: probes of `/health` get no answer

Time is counted in turns of whoever watches, or in processor time, never read from a clock: a machine that
slept, or a process that was stopped for an hour, made none of either, and dies of neither.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import Protocol

from authz.config.log import get_logger

TICK_S = 0.5  # how often it is looked; a judge is five times as fast
RECORDS_S = 5.0  # how long the last records may take to reach their sink
STUCK = 70  # exit code of a process that ended itself: EX_SOFTWARE of sysexits.h

_CORES_MAX = 8  # how many threads at once a process may be granted processor time for

_log = get_logger("wiring")


class Judge(Protocol):
    """A judging thread, as it is seen from outside."""

    turns: int

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        ...


class Progress:
    """Tells whether every judge has turned since it was last told so."""

    def __init__(self, judges: Sequence[Judge]) -> None:
        self._judges = judges
        self._seen = [-1] * len(judges)

    def made(self, *, draining: bool = False) -> bool:
        """Ask. A judge that has ended makes no progress, unless all are about to end."""
        now = [judge.turns for judge in self._judges]
        for judge, before, turns in zip(self._judges, self._seen, now, strict=True):
            if judge.alive and turns == before:
                return False
            if not judge.alive and not draining:
                return False
        self._seen = now
        return True


class LastResort:
    """Ends this process where no thread of Python gets to run for so long, by the kernel's hand.

    SIGPROF comes after so much processor time of the process; each `arm` puts it off. What it calls needs no
    interpreter: a function of C writes where every thread stands, then `_exit` itself is the handler. (The
    signal's default would do nothing to process 1 of a container, which sidecars are.)
    `faulthandler.dump_traceback_later` goes by the clock: a process that had been stopped would die of being
    continued.
    """

    def __init__(self, stuck_after_s: float) -> None:
        self._cpu_s = stuck_after_s * min(os.cpu_count() or 1, _CORES_MAX)
        libc = ctypes.CDLL(None)
        libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
        libc.signal(int(signal.SIGPROF), ctypes.cast(libc["_exit"], ctypes.c_void_p))  # code: the signal
        faulthandler.register(signal.SIGPROF, file=sys.__stderr__ or 2, all_threads=True, chain=True)

    def arm(self) -> None:
        """Put the end off: somebody is there."""
        signal.setitimer(signal.ITIMER_PROF, self._cpu_s)


class Watchdog:
    """Watches a process that serves alone, from `start` to `close`.

    Args:
        made: whether there was progress since it was last asked.
        on_tick: told that this thread runs.
        end: ends the process.
    """

    def __init__(
        self,
        made: Callable[[], bool],
        stuck_after_s: float,
        on_tick: Callable[[], None] = lambda: None,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._made = made
        self._stuck_after_s = stuck_after_s
        self._on_tick = on_tick
        self._end = end
        self._closed = Event()
        self._thread = Thread(target=self._run, name="watchdog", daemon=True)
        self.silent_s = 0.0

    @property
    def stuck(self) -> bool:
        """Whether nothing has moved for half of the time after which the process is ended."""
        return self.silent_s >= self._stuck_after_s / 2

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def close(self) -> None:
        """Watch no longer."""
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.wait(TICK_S):
            self._on_tick()
            self.look(TICK_S)

    def look(self, elapsed_s: float) -> None:
        """Look once, so long after the last time; end the process where it has been stuck for too long."""
        self.silent_s = 0.0 if self._made() else self.silent_s + elapsed_s
        if self.silent_s < self._stuck_after_s:
            return
        _log.error("a judging thread is stuck: this process ends, to be started anew", silent_s=self.silent_s)
        faulthandler.dump_traceback(file=sys.__stderr__ or 2, all_threads=True)
        self._end(STUCK)
