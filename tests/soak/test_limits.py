"""The bound of the limits soak, by hand; and the soak itself, for some seconds.

That it fails where nothing is shared shows `python -m tests.soak --limits-only --limits-apart`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.bounds import Forgot, Grant, excess, unseen
from tests.soak.limits import Chaos, Fault, Seen, limit_soak


def granted(*times_s: float, took_s: float = 0.0, process: str = "a") -> list[Grant]:
    return [Grant(at_s, at_s + took_s, process) for at_s in times_s]


@pytest.mark.e2e
def test_whatever_happens_to_redis_no_more_passes_than_stated(tmp_path: Path) -> None:
    plan = Chaos(seconds=6, calm_s=(0.1, 0.4))
    seen = limit_soak(plan, tmp_path)
    assert seen.faults(plan) == [], "\n".join(seen.lines())
    assert len({fault.what for fault in seen.faults_done}) >= 4


def test_a_burst_and_what_refills_is_no_excess_beyond_the_burst() -> None:
    assert excess([], 10.0) == 0.0
    assert excess(granted(1.0), 10.0) == 1.0
    assert excess(granted(*[1.0] * 5), 10.0) == 5.0
    assert excess(granted(*[1.0] * 5, *[1.0 + n / 10 for n in range(1, 20)]), 10.0) == pytest.approx(5.0)
    assert excess(granted(*[1.0] * 5, *[2.0] * 5), 1.0) == 9.0


def test_a_check_that_took_long_may_have_been_drawn_for_at_any_time_of_it() -> None:
    assert excess([*granted(1.0, 1.0), *granted(1.0, 1.0, took_s=2.0)], 1.0) == 2.0
    assert excess(granted(0.0, 0.5, took_s=2.0), 0.1) == pytest.approx(1.75)
    assert excess(granted(0.0, 2.0, took_s=2.0), 1.0) == 0.0


def test_what_a_store_forgot_may_be_granted_again_once_and_only_across_that_moment() -> None:
    twice = granted(*[1.0] * 5, *[2.0] * 5)
    assert excess(twice, 0.0, [Forgot(1.4, 1.6, 5.0)]) == 5.0
    assert excess(twice, 0.0, [Forgot(0.4, 0.6, 5.0)]) == 10.0
    assert excess(twice, 0.0, [Forgot(2.4, 2.6, 5.0)]) == 10.0
    assert excess(twice, 0.0, [Forgot(1.4, 1.6, 3.0)]) == 7.0


def test_what_nobody_could_tell_anew_is_what_the_one_who_knew_least_had_not_heard_of() -> None:
    known = [*granted(1.0, 5.0, process="a"), *granted(2.0, 3.0, 4.0, process="b")]
    assert unseen(known, ["a", "b"], 10.0, 100.0) == 2  # b has not heard of a's last, and counts its own
    assert unseen(known, ["a", "b"], 4.5, 100.0) == 4  # a heard nothing since its first
    assert unseen(known, ["a", "b"], 4.5, 3.0) == 3.0
    assert unseen(known, ["a", "b", "c"], 10.0, 100.0) == 5  # c never heard anything


def record(path: str, store: str, at: str, outcome: str = "allow", **more: object) -> dict[str, object]:
    rule = path.split("/")[1]
    names = {"nested": ["fast", "deep"]}.get(rule, [rule])
    limits = [{"name": name, "store": store} for name in names]
    reason = "allowed" if outcome == "allow" else "rate_limited"
    status = 200 if outcome == "allow" else 429
    return {
        "request": {"path": path}, "outcome": outcome, "reason": reason, "status": status, "limits": limits,
        "time": at, "duration_us": 1000, "sidecar": "a", **more,
    }  # fmt: skip


def seen(*records: dict[str, object]) -> Seen:
    made = Seen(asked=1000, records=[*records], faults_done=[Fault("pause", 2.0, 3.0, 3.1)])
    made.faults_done.append(Fault("fill", 20.0, 20.0, 20.0))
    made.answers.update((str(r["request"]["path"]), r["status"]) for r in records)  # type: ignore[index, misc] # JSON
    made.last_stores["redis"] = 1
    return made


def at(second: float) -> str:
    return f"1970-01-01T00:00:{second:09.6f}Z"


def test_each_thing_that_must_not_be_is_a_fault() -> None:
    plan = Chaos(settle_s=1.0)
    good = record("/nested/one", "redis", at(1.0))
    assert seen(good).faults(plan) == []
    for wrong, told in (
        (record("/deep/one", "redis", at(2.5)), "while it was away"),
        (record("/fast/one", "outage", at(10.0)), "nothing was wrong"),
        (record("/strict/one", "outage", at(2.5)), "above its share alone"),
        (
            record("/fast/one", "redis", at(1.0), reason="overloaded", outcome="deny", status=503),
            "must not be",
        ),
        (record("/nested/one", "redis", at(1.0), limits=[{"name": "fast", "store": "redis"}]), "must not be"),
        (record("/fast/one", "off", at(1.0)), "must not be"),
    ):
        assert told in "".join(seen(good, wrong).faults(plan)), wrong
    over = seen(*[record("/strict/two", "redis", at(1.0))] * 41)
    assert "above its rate in Redis" in "".join(over.faults(plan))
    lost = seen(good)
    lost.unanswered.append("/fast/one: UNAVAILABLE")
    lost.answers["/fast/one", 200] += 1
    lost.last_stores["outage"] = 1
    assert len(lost.faults(plan)) == 3
