"""How soon a worker comes back."""

from __future__ import annotations

import pytest

from authz.wiring.lives import LONGEST_S, STEADY_S, Lives, how_ended


def test_one_that_had_served_comes_back_at_once_however_often() -> None:
    lives = Lives()
    assert [lives.died(STEADY_S) for _ in range(5)] == [0.0] * 5


def test_one_that_keeps_dying_young_waits_longer_and_longer_but_not_for_ever() -> None:
    lives = Lives()
    assert [lives.died(0.1) for _ in range(6)] == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0]
    assert [lives.died(0.1) for _ in range(2000)][-1] == LONGEST_S


def test_one_that_then_serves_for_a_while_begins_anew() -> None:
    lives = Lives()
    for _ in range(4):
        lives.died(0.1)
    lives.steady()
    assert lives.backoff_s == 0.0
    assert lives.died(0.1) == 0.0


@pytest.mark.parametrize(
    ("code", "how"), [(0, "exit code 0"), (3, "exit code 3"), (-9, "signal SIGKILL"), (-99, "signal 99")]
)
def test_how_a_process_ended_is_said_in_words(code: int, how: str) -> None:
    assert how_ended(code) == how
