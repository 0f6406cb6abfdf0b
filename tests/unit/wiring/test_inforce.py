"""What is served while the directories are broken, by a clock that is passed in."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from structlog.testing import capture_logs

from authz.config.rooms import SnapshotSettings
from authz.snapshot.snapshot import Snapshot, not_ready
from authz.wiring.inforce import InForce
from tests.support.sets import events

S = 1_000_000
GOOD, BETTER = Snapshot(ready=True, revision="good"), Snapshot(ready=True, revision="better")
STALE = "the policy set is stale, for more than max_staleness_s (60): a.yaml: broken"
When = Literal["serve", "not-ready", "deny"]


class Clock:
    def __init__(self) -> None:
        self.now_us = 1000 * S

    def ticks_us(self) -> int:
        return self.now_us

    def wall_us(self) -> int:
        return self.now_us

    def pass_s(self, seconds: float) -> None:
        self.now_us += int(seconds * S)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def made(clock: Clock, when: When = "deny", max_staleness_s: int = 60) -> InForce:
    settings = SnapshotSettings(max_staleness_s=max_staleness_s, when_stale=when, poll_s=1)
    return InForce(settings, clock, not_ready)


def broken(clock: Clock, when: When = "deny") -> InForce:
    """A good set whose directories broke a moment ago."""
    one = made(clock, when)
    one.put(GOOD)
    one.agree()
    one.differ("a.yaml: broken")
    return one


def test_before_the_first_set_everything_is_refused_with_the_reason(clock: Clock) -> None:
    one = made(clock)
    assert not one.current().ready
    assert one.ailment == "no policy set is loaded yet"
    one.differ("a.yaml: broken")
    assert not one.current().ready
    assert one.ailment == one.current().problem == "a.yaml: broken"
    clock.pass_s(1000)
    one.tick()
    assert (one.stale, one.age_us(), one.revision) == (False, 0, "")


def test_a_good_set_is_served_as_long_as_the_directories_say_the_same(clock: Clock) -> None:
    one = made(clock)
    one.put(GOOD)
    for _ in range(100):
        one.agree()
        clock.pass_s(10)
        one.tick()
        assert one.current() is GOOD
        assert (one.ailment, one.age_us(), one.stale) == ("", 0, False)


@pytest.mark.parametrize("when", ["serve", "not-ready", "deny"])
def test_while_it_may_be_so_a_broken_set_changes_nothing(clock: Clock, when: When) -> None:
    one = broken(clock, when)
    clock.pass_s(59.999)
    one.tick()
    assert one.current() is GOOD
    assert (one.ailment, one.stale) == ("", False)
    assert one.age_us() == 59_999_000


@pytest.mark.parametrize(
    ("when", "ready", "ailment"), [("serve", True, ""), ("not-ready", True, STALE), ("deny", False, STALE)]
)
def test_then_what_the_operator_chose_follows(clock: Clock, when: When, ready: bool, ailment: str) -> None:
    one = broken(clock, when)
    clock.pass_s(60)
    one.tick()
    assert one.stale
    assert one.current().ready is ready
    assert one.ailment == ailment
    assert one.revision == "good"


@pytest.mark.parametrize("when", ["serve", "not-ready", "deny"])
def test_it_is_told_once_at_the_edge_and_once_when_it_is_over(clock: Clock, when: When) -> None:
    one = broken(clock, when)
    with capture_logs() as logs:
        for _ in range(100):
            clock.pass_s(1)
            one.tick()
            one.differ("a.yaml: broken")
        (line,) = events(logs, "the policy set is stale")
        assert (line["revision"], line["when_stale"], line["why"]) == ("good", when, "a.yaml: broken")
        assert not events(logs, "the policy set is what stands in the directories again")
        for _ in range(3):
            one.agree()
    assert len(logs) == 2
    assert logs[1]["event"] == "the policy set is what stands in the directories again"


def test_once_the_directories_are_good_again_everything_is_as_before(clock: Clock) -> None:
    one = broken(clock)
    clock.pass_s(61)
    one.tick()
    assert not one.current().ready
    one.put(BETTER)
    one.agree()
    assert one.current() is BETTER
    assert (one.ailment, one.stale, one.revision) == ("", False, "better")


def test_the_old_set_that_stands_there_again_is_served_again(clock: Clock) -> None:
    one = broken(clock)
    clock.pass_s(61)
    one.tick()
    one.agree()
    assert one.current() is GOOD


def test_a_part_that_is_mended_while_another_is_broken_does_not_open_what_is_stale(clock: Clock) -> None:
    one = broken(clock)
    clock.pass_s(61)
    one.tick()
    one.put(BETTER)
    one.differ("b.yaml: broken")
    assert not one.current().ready
    assert one.revision == "better"
    assert "b.yaml: broken" in one.ailment


def test_what_an_earlier_life_kept_may_be_stale_at_once(clock: Clock) -> None:
    one = made(clock)
    one.put(GOOD)
    one.differ("a.yaml: broken", for_us=3600 * S)
    assert one.stale
    assert not one.current().ready


def test_one_who_loads_and_hangs_does_not_keep_a_stale_set_in_force(clock: Clock) -> None:
    one = made(clock)
    one.put(GOOD)
    one.agree()
    clock.pass_s(61)
    one.tick()
    assert not one.current().ready
    assert one.ailment.endswith("the directories could not be looked at for so long")


def test_without_a_bound_it_is_served_for_ever(clock: Clock) -> None:
    one = made(clock, max_staleness_s=0)
    one.put(GOOD)
    one.differ("a.yaml: broken")
    clock.pass_s(10**8)
    one.tick()
    assert one.current() is GOOD
    assert one.age_us() == 10**14


def test_nothing_is_told_where_nothing_happens(clock: Clock) -> None:
    one: Any = broken(clock)
    with capture_logs() as logs:
        one.tick()
        one.put(BETTER)
        one.agree()
    assert not logs
