"""The soak, for ten seconds: nothing wrong, nobody dead; slopes need longer to say anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.gauges import Sample, slope, trend
from tests.soak.run import Found, Plan, soak
from tests.soak.swaps import Answer, Swapped, Swapping, swap_soak


@pytest.mark.e2e
def test_ten_seconds_of_everything_at_once(tmp_path: Path) -> None:
    plan = Plan(seconds=10, kill_every_s=4, renew_every_s=3, hang_up_every_s=2, away_share=0.2)
    found = soak(plan, tmp_path)
    assert found.faults(plan) == [], "\n".join(found.lines())
    assert found.kills > 0
    assert found.renewals > 0


@pytest.mark.e2e
def test_sets_that_change_in_every_style_under_load(tmp_path: Path) -> None:
    """No request without an answer, no decision that mixes revisions, the last one wins."""
    found = swap_soak(Swapping(seconds=8), tmp_path)
    assert found.faults() == [], "\n".join(found.lines())
    assert found.broken > 0
    # A directory that is made anew is not there for a moment, which a slow machine sees.
    moments = found.swaps["recreate"] + found.swaps["directory"]
    assert 0 < found.rejected_lines <= found.broken + moments


def test_what_a_swap_must_not_do_is_a_fault() -> None:
    good = Swapped(answers=[Answer("/open", 200, "1", "a", "")])
    good.swaps["in place"] = 1
    assert good.faults() == []
    good.answers += [Answer("/open", 403, "", "b", "forbidden"), Answer("/shut", 503, "", "c", "")]
    good.lost.append("/open: nothing")
    good.late.append("in place: 2, but 1")
    good.mixed.append("1 and 2")
    assert len(good.faults()) == 5
    assert Swapped().faults() == ["nothing was asked or swapped"]


def test_a_slope_is_that_of_the_second_half() -> None:
    samples = [Sample(at, 10.0 + at if at < 60 else 70.0 + (at - 60) * 0.1, 5) for at in range(121)]
    assert slope([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]) == 2.0
    seen = trend(samples)
    assert seen.mib_per_min == pytest.approx(6.0)
    assert (seen.most_mib, seen.files_per_min, seen.lived_s) == (76.0, 0.0, 120)


def test_what_must_not_be_is_a_fault() -> None:
    plan = Plan()
    good = Found()
    good.answers.update(requests=100, right=100)
    good.garbage.update(called=9)
    good.secured.update(allowed=9)
    assert good.faults(plan) == []
    good.wrong.append("open -> 403")
    good.garbage["allowed"] = 1
    good.away = 50
    good.deaths.append("worker 7 ended")
    growing = [Sample(at, float(at), at) for at in range(601)]
    good.trends["worker 7"] = trend(growing)
    assert len(good.faults(plan)) == 7


def test_what_was_never_asked_has_not_passed() -> None:
    assert Found().faults(Plan()) == ["something was not asked at all"]
