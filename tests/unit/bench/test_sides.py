"""Which turns of the bench of limits count."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from authz.bench import fleet, nested, sides
from authz.bench.buckets import Callers
from authz.bench.documents import PolicySet
from authz.bench.fleet import Fleet
from authz.bench.nested import Cost
from authz.bench.openloop import Outcome
from authz.bench.redis_server import Used
from authz.bench.sides import EXACT, MEMORY, LimitEffort, Side, Turn, asked_since
from authz.model.errors import NotStarted

NOWHERE = Path("/nowhere")
CALLERS = Callers(PolicySet(NOWHERE, 0, (), ""), {2: NOWHERE}, NOWHERE, NOWHERE)
EFFORT = LimitEffort()


@dataclass
class Counting:
    """A server that only tells what its metrics would."""

    pages: list[dict[str, int]]
    workers: int = 1
    sockets: list[Path] = field(default_factory=list)

    def stores(self) -> dict[str, int]:
        return self.pages.pop(0) if len(self.pages) > 1 else self.pages[0]


def outcome(sent: int = 100, allowed: int = 100) -> Outcome:
    return Outcome(sent, 0, 1.0, allowed, 0, 0, sent - allowed, 0, 0, 1.0, 2.0, 0.1, 0.3, 0.05, 1.0)


def side(store: str, *pages: dict[str, int]) -> Side:
    return Side("it", store, Counting([*pages]))  # type: ignore[arg-type]  # no process behind it


def turns(monkeypatch: pytest.MonkeyPatch, *found: Outcome) -> None:
    left = [*found]
    monkeypatch.setattr(
        Side, "ask", lambda *_: Turn(left.pop(0) if left[1:] else left[0], 1.0, Used(0, 0, 0.0))
    )


def passed(of: Side) -> tuple[Cost, Turn]:
    cost = Cost("2 buckets, it", of.store, 2)
    return cost, nested._passed(cost, of, CALLERS, None, EFFORT)


def test_a_turn_counts_where_each_bucket_was_asked_where_it_belongs(monkeypatch: pytest.MonkeyPatch) -> None:
    turns(monkeypatch, outcome())
    cost, _ = passed(side(EXACT, {"redis": 7}, {"redis": 207}))
    assert cost.repeated == 0


def test_a_turn_in_which_redis_was_late_is_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    turns(monkeypatch, outcome(), outcome(50, 50))
    late = {"redis": 205, "outage": 2}
    cost, turn = passed(side(EXACT, {"redis": 7}, late, late, {"redis": 305, "outage": 2}))
    assert (cost.repeated, turn.outcome.sent) == (1, 50)


def test_a_turn_in_which_checks_were_shed_is_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    shed = outcome(100, 90)._replace(refused=0, unavailable=10)
    turns(monkeypatch, shed, outcome())
    cost, turn = passed(side(EXACT, {}, {"redis": 180}, {"redis": 180}, {"redis": 380}))
    assert (cost.repeated, turn.outcome.allowed) == (1, 100)


def test_where_redis_is_always_late_there_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    turns(monkeypatch, outcome())
    pages = [{"redis": 0, "outage": 100 * number} for number in range(0, 22, 2)]
    doubled = [pages[0], *(page for page in pages[1:] for _ in range(2))]
    with pytest.raises(NotStarted, match="some checks were too late, 5 times in turn"):
        passed(side(EXACT, *doubled))


def test_a_refusal_makes_a_figure_worthless(monkeypatch: pytest.MonkeyPatch) -> None:
    turns(monkeypatch, outcome(100, 99))
    with pytest.raises(NotStarted, match="not all were allowed"):
        passed(side(MEMORY, {}, {"memory": 200}))


def test_counts_that_never_come_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sides, "_SETTLE_S", 0.0)
    with pytest.raises(NotStarted, match="of 200 buckets that were asked, metrics tell of"):
        asked_since(side(EXACT, {"redis": 100}).server, {}, 200)


def test_the_ratio_is_the_median_of_those_within_each_round() -> None:
    memory = Cost("m", MEMORY, 2, cpu_rounds_us=[10.0, 20.0, 40.0])
    exact = Cost("e", EXACT, 2, cpu_rounds_us=[13.0, 28.0, 48.0])
    nested._compared([memory, exact])
    assert exact.ratio == pytest.approx(1.3)


def fleet_of(monkeypatch: pytest.MonkeyPatch, *found: tuple[int, int]) -> Fleet:
    """Count what was admitted and how much of it alone, again and again."""
    left = [*found]

    def counted(*_: Any) -> Fleet:
        admitted, alone = left.pop(0)
        return Fleet(20, 1.0, 9000, admitted, 3000, alone, 0, 1.0, 1.0, 1.0, 1.0)

    monkeypatch.setattr(fleet, "_started", lambda *_: [None] * 20)
    monkeypatch.setattr(fleet, "_counted", counted)
    return fleet.fleet(NOWHERE, CALLERS, None, EFFORT, lambda _: None)  # type: ignore[arg-type]


def test_a_fleet_within_its_promise_is_a_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fleet_of(monkeypatch, (3000, 0)).admitted == 3000


def test_a_fleet_that_had_to_decide_alone_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fleet_of(monkeypatch, (3100, 5), (2990, 0)).admitted == 2990


def test_what_redis_itself_let_pass_is_asked_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotStarted, match="20 sidecars admitted more than was promised"):
        fleet_of(monkeypatch, (3001, 0))
    with pytest.raises(NotStarted, match="admitted more"):
        fleet_of(monkeypatch, (3100, 5), (3100, 5), (3100, 5))
