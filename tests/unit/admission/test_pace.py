"""How long to wait: evenly where it goes well, longer and longer where not, never all at once."""

from __future__ import annotations

import threading

from authz.admission.pace import LONGEST_S, SPREAD, keep_doing, pause_s


def test_failures_are_waited_for_longer_and_longer_up_to_a_bound() -> None:
    assert [pause_s(5, failures, 0.5) for failures in (0, 1, 2, 3)] == [5, 1, 2, 4]
    assert pause_s(5, 10_000, 0.5) == LONGEST_S


def test_no_two_wait_equally_long() -> None:
    assert pause_s(5, 0, 0.0) == 5 * (1 - SPREAD)
    assert round(pause_s(5, 0, 1.0), 9) == 5 * (1 + SPREAD)


class _Stop(threading.Event):
    """Says how long it was waited for, and is set after so many waits."""

    def __init__(self, waits: int) -> None:
        super().__init__()
        self.waits: list[float] = []
        self._left = waits

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        self._left -= 1
        if not self._left:
            self.set()
        return self.is_set()


def test_it_is_done_until_told_to_stop_and_success_forgets_failures() -> None:
    stop, results = _Stop(4), iter([False, False, True, False])
    keep_doing(lambda: next(results), 5, stop, luck=lambda: 0.5)
    assert stop.waits == [1, 2, 5, 1]
