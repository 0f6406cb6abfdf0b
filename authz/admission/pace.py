"""Something done again and again: at its pace where it succeeds, and more and more patiently where not."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

FIRST_S = 1.0  # after the first failure; twice as long after each further
LONGEST_S = 30.0
SPREAD = 0.2  # of each wait, so that replicas and restarts do not ask in step


def pause_s(every_s: float, failures: int, luck: float) -> float:
    """Return how long to wait.

    Args:
        every_s: where nothing failed.
        failures: in a row, so far.
        luck: from 0 to 1, evenly spread.
    """
    wait_s = min(FIRST_S * 2 ** min(failures - 1, 10), LONGEST_S) if failures else every_s
    return wait_s * (1 - SPREAD + 2 * SPREAD * luck)


def keep_doing(
    work: Callable[[], bool],
    every_s: float,
    stop: threading.Event,
    luck: Callable[[], float] = random.random,
) -> None:
    """Do it until told to stop; `work` says whether it succeeded, and raises nothing."""
    failures = 0
    while not stop.is_set():
        failures = 0 if work() else failures + 1
        stop.wait(pause_s(every_s, failures, luck()))
