from __future__ import annotations

import pytest

from authz.model.decision import Allow, Deny, Grant, RuleName
from authz.model.latency import BUCKETS_US, Exemplar
from authz.model.reason import Detail, Outcome, Reason
from authz.model.shadow import CRASHED, Shade, Would
from authz.model.trace import Steps
from authz.record.tally import RuleSeries, Tally, total
from tests.support.answers import GRANT, PROVEN, allowed, answered, refused, request, spent

READ = RuleName("items", "read")
BLOCK = RuleName("items", "block")


def test_a_check_is_counted_by_reason_rule_limit_and_duration() -> None:
    tally = Tally()
    tally.add(allowed())
    tally.add(allowed())
    tally.add(refused(Reason.CREDENTIAL_MISSING))
    assert tally.reasons == {Reason.ALLOWED: 2, Reason.CREDENTIAL_MISSING: 1}
    assert tally.rules_allowed == {READ: 2}
    assert tally.limits == {("per-key", "memory", True): 2, ("per-customer", "memory", True): 2}
    assert tally.duration_sum_us == 75
    assert sum(tally.durations) == 3


def test_what_one_decision_refused_is_counted_as_often_as_it_refused() -> None:
    tally = Tally()
    tally.add(refused(Reason.OVERLOADED)._replace(checks=57, duration_us=30))
    assert tally.reasons == {Reason.OVERLOADED: 57}
    assert (sum(tally.durations), tally.duration_sum_us) == (57, 57 * 30)


def test_every_allowing_rule_counts_and_a_refusing_limit_is_told_from_its_neighbours() -> None:
    tally = Tally()
    both = Grant((READ, RuleName("other", "any")), (), ())
    tally.add(answered(Allow(both), request(), PROVEN, 200))
    states = (spent("a"), spent("b", passed=False, retry_ms=5))
    tally.add(answered(Deny(Reason.RATE_LIMITED, rule=READ, spent=states), request(), PROVEN, 429))
    assert tally.rules_allowed == {READ: 1, RuleName("other", "any"): 1}
    assert tally.rules_denied == {}
    assert tally.limits == {("a", "memory", True): 1, ("b", "memory", False): 1}


@pytest.mark.parametrize(
    ("near", "left", "counted"),
    [(0.2, 40, False), (0.2, 39, True), (0.2, 0, True), (0.0, 0, False), (1.0, 199, True), (1.0, 200, False)],
)
def test_who_passes_with_less_than_a_share_left_is_near_the_limit(
    near: float, left: int, counted: bool
) -> None:
    """Of a burst of 200."""
    tally = Tally(near=near)
    tally.add(answered(Allow(GRANT, (spent("a")._replace(remaining=left),)), request(), PROVEN, 200))
    assert tally.limits_near == ({"a": 1} if counted else {})


def test_who_is_refused_is_not_near_any_more() -> None:
    tally = Tally()
    states = (spent("a", passed=False, retry_ms=5)._replace(remaining=0),)
    tally.add(answered(Deny(Reason.RATE_LIMITED, spent=states), request(), PROVEN, 429))
    assert tally.limits_near == {}


@pytest.mark.parametrize(
    ("series", "allows", "denies"),
    [("all", {READ: 1}, {BLOCK: 1}), ("denies", {}, {BLOCK: 1}), ("off", {}, {})],
)
def test_the_setting_bounds_the_series_per_rule(
    series: RuleSeries, allows: dict[RuleName, int], denies: dict[RuleName, int]
) -> None:
    tally = Tally(series)
    tally.add(answered(Allow(GRANT), request(), PROVEN, 200))
    tally.add(answered(Deny(Reason.DENIED_BY_RULE, rule=BLOCK), request(), PROVEN, 403))
    assert tally.rules_allowed == allows
    assert tally.rules_denied == denies
    assert sum(tally.reasons.values()) == 2


@pytest.mark.parametrize(
    ("duration_us", "bucket"), [(0, 0), (10, 0), (11, 1), (1_000_000, len(BUCKETS_US) - 1), (9_000_000, -1)]
)
def test_a_duration_falls_under_the_first_bound_that_is_not_below_it(duration_us: int, bucket: int) -> None:
    tally = Tally()
    tally.add(allowed()._replace(duration_us=duration_us))
    assert tally.durations[bucket] == 1


def test_tallies_add_up_and_stay_as_they_were() -> None:
    one, two = Tally(), Tally()
    one.add(allowed())
    two.add(allowed())
    two.add(refused())
    whole = total([one, two])
    assert whole.reasons == {Reason.ALLOWED: 2, Reason.CREDENTIAL_MISSING: 1}
    assert sum(whole.durations) == 3
    assert whole.duration_sum_us == 75
    assert one.reasons == {Reason.ALLOWED: 1}


TRIED = Shade(Would.DENY, limit="tried", changes=True, spent=spent("tried", passed=False))
SHADES = (
    Shade(Would.DENY, "next", "no", changes=True),
    Shade(Would.NONE, "last"),
    TRIED,
    TRIED._replace(policy="next", limit="own", changes=False),
    Shade(Would.ERROR, limit="broken", detail=Detail.RULE_ERROR, changes=True),
    *CRASHED,
)


def test_what_is_in_shadow_is_counted_apart() -> None:
    tally = Tally()
    tally.add(allowed()._replace(shadow=SHADES))
    tally.add(refused()._replace(shadow=(Shade(Would.ALLOW, "next", "yes", changes=True),)))
    assert tally.shadow_rules == {
        ("next", "no", Would.DENY): 1,
        ("last", "", Would.NONE): 1,
        ("next", "yes", Would.ALLOW): 1,
    }
    assert tally.shadow_limits == {
        ("tried", "memory", Would.DENY): 1,
        ("own", "memory", Would.DENY): 1,
        ("broken", "", Would.ERROR): 1,
    }
    assert tally.changes == {
        ("policy", "next", Outcome.DENY): 1,
        ("limit", "tried", Outcome.DENY): 1,
        ("limit", "broken", Outcome.DENY): 1,
        ("policy", "next", Outcome.ALLOW): 1,
    }
    assert tally.shadow_crashes == 1
    assert tally.rules_denied == {}
    assert total([tally, tally]).changes["policy", "next", Outcome.DENY] == 2
    assert total([tally, tally]).shadow_crashes == 2


@pytest.mark.parametrize(("series", "rules"), [("all", 4), ("denies", 2), ("off", 0)])
def test_the_setting_bounds_the_series_of_rules_in_shadow_too(series: RuleSeries, rules: int) -> None:
    tally = Tally(series)
    for would in (Would.ALLOW, Would.DENY, Would.ERROR, Would.UNDECIDABLE):
        tally.add(allowed()._replace(shadow=(Shade(would, "next", "r", changes=True),)))
    assert len(tally.shadow_rules) == rules
    assert tally.changes["policy", "next", Outcome.DENY] == 4


def test_a_traced_check_is_the_example_of_its_bucket_until_the_next_is() -> None:
    tally = Tally()
    tally.add(allowed())
    assert tally.exemplars == [None] * len(tally.durations)
    for trace_id, time_us in (("1" * 32, 1), ("2" * 32, 2)):
        trace = Steps(trace_id, "3" * 16, "4" * 16, 0, lambda: 0)
        tally.add(allowed()._replace(trace=trace, time_us=time_us))
    bucket = tally.durations.index(3)
    assert tally.exemplars[bucket] == Exemplar("2" * 32, 25, 2)
    assert sum(one is not None for one in tally.exemplars) == 1
    assert total([Tally(), tally, Tally()]).exemplars == tally.exemplars


def test_what_became_of_sampled_checks_is_added_up() -> None:
    tallies = [Tally(), Tally()]
    for tally in tallies:
        tally.traces["traced"] += 2
    assert total(tallies).traces == {"traced": 4}
