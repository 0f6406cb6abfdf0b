"""How a load shares the interpreter with the thread that judges.

Two threads of one interpreter take turns: one that computes keeps the other waiting until it lets go. So
whoever loads lets go often, and for long enough that a thread that waits is really woken.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# How long a load computes before it lets go; a check may wait that long for its turn.
WORK_US = 500

# How long it lets go. `sleep(0)` would take the lock back before a waiting thread has woken: that takes the
# kernel some 50 us on the design's machines.
REST_S = 0.0001

# A load that changes a few documents has done its work after some 20 ms, and is soon to be in force. One that
# makes everything anew takes the interpreter for a second: it rests longer, so that whoever judges has most
# of it. After so many rests without a pause between them:
LONG = 60
LONG_REST_S = 0.001
PAUSE_US = 20_000  # no step takes so long: a load has ended, and another begun

# Where something long does not ask (a large file in the YAML parser, a sort), the interpreter itself makes it
# let go after this time instead of 5 ms.
SWITCH_S = 0.00005


class Pace:
    """Called between two steps of a load; most calls do nothing but look at the clock.

    Args:
        ticks_us: a clock that never goes back.
        rest: lets others have the interpreter for so many seconds.
    """

    __slots__ = ("_rest", "_rests", "_ticks_us", "_until_us")

    def __init__(
        self,
        ticks_us: Callable[[], int] = lambda: time.monotonic_ns() // 1000,
        rest: Callable[[float], object] = time.sleep,
    ) -> None:
        self._ticks_us = ticks_us
        self._rest = rest
        self._until_us = -PAUSE_US
        self._rests = 0  # since there was nothing to do

    def __call__(self) -> None:
        """Let others have the interpreter, if it was kept from them for long."""
        now_us = self._ticks_us()
        if now_us >= self._until_us:
            self._rests = self._rests + 1 if now_us < self._until_us + PAUSE_US else 0
            self._rest(REST_S if self._rests < LONG else LONG_REST_S)
            self._until_us = self._ticks_us() + WORK_US


def hurry() -> None:
    """Stand in for a pace where nobody else wants the interpreter: before the first set is served."""


@contextmanager
def yielding() -> Iterator[None]:
    """Have the interpreter switch between threads often, for as long as a load takes."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
