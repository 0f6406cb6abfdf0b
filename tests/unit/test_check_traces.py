"""The steps of a traced check, from Envoy's bytes to what is kept, however the check ends."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from authz.check import Check
from authz.model.limit import Rate, Spent, Store
from authz.model.reason import Reason
from authz.policy.evaluate import evaluate
from authz.record.entry import encode
from authz.record.tracing import Tracing
from authz.transport.front import Arrival
from tests.support.checks import check_request
from tests.support.fronts import Bench, FakeClock
from tests.support.policies import PROVIDER, MadeKey, snapshot

KEY = MadeKey("reader")
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"
POLICY = """
kind: Policy
metadata: {name: items}
spec:
  hosts: ["*"]
  rules:
    - {name: open, effect: allow, paths: [/open], identity: [anyone]}
    - {name: limited, effect: allow, paths: [/limited], identity: [anyone], limits: [one]}
---
kind: Limit
metadata: {name: one}
spec: {per: [client.network], rate: 1/h}
"""
SITE = """
kind: Site
metadata: {name: items}
spec: {hosts: [guarded.example.com], guard: {rate: 1/s, burst: 2}}
---
kind: Site
metadata: {name: matrix}
spec: {hosts: [matrix.example.com], path: {matrixParameters: keep}}
"""
PLAIN = snapshot(PROVIDER, POLICY, KEY.document)
SITES = snapshot(PROVIDER, POLICY, SITE, KEY.document)


class Ticking(FakeClock):
    """A clock that goes on by 1 us with each look."""

    def ticks_us(self) -> int:
        self.ticks += 1
        return self.ticks


class Traced(Bench):
    """A shield that traces, on a clock that ticks."""

    def __init__(self, current: Any = PLAIN, **parts: Any) -> None:
        clock = Ticking()
        self.counts: dict[str, int] = defaultdict(int)
        tracing = Tracing(clock.ticks_us, 1000, self.counts, seed=1)
        super().__init__(lambda: current, **{"clock": clock, "tracing": tracing, **parts})
        self.clock = clock

    def ask(
        self, path: str = "/open", traceparent: str = SAMPLED, host: str = "a.example.com", call: str = ""
    ) -> dict[str, Any]:
        """Ask once; return the record."""
        headers = [("traceparent", traceparent)] if traceparent else []
        self.shield.serve([Arrival(1, check_request(host=host, path=path, headers=headers), 9.0, call)])
        return self.record()

    def record(self, at: int = -1) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(encode(self.keeper.answered[at], PLAIN.fixed, 1))
        return found


def names(record: dict[str, Any]) -> list[str]:
    return [name for name, _ in record["steps"]]


def test_a_sampled_check_is_traced_step_by_step() -> None:
    record = Traced().ask()
    assert record["trace_id"] == TRACE
    assert record["parent_span_id"] == PARENT
    assert len(record["span_id"]) == 16
    assert names(record) == [
        *("received", "read", "candidates", "resolved", "judged", "decided", "replied"),
    ]
    times = [at_us for _, at_us in record["steps"]]
    assert times == sorted(times)
    assert times[0] == 0
    assert times[-1] == record["duration_us"]


@pytest.mark.parametrize("traceparent", ["", UNSAMPLED, "garbage", "00-" + "0" * 10_000, SAMPLED.upper()])
def test_a_check_that_is_not_sampled_has_no_span(traceparent: str) -> None:
    bench = Traced()
    record = bench.ask(traceparent=traceparent)
    assert not {"span_id", "parent_span_id", "steps"} & record.keys()
    assert record.get("trace_id", "") == (TRACE if traceparent == UNSAMPLED else "")
    assert dict(bench.counts) == {}


def test_without_a_place_for_spans_nothing_is_traced() -> None:
    record = Traced(tracing=None).ask()
    assert record["trace_id"] == TRACE
    assert "span_id" not in record


def test_beyond_the_bound_a_check_is_answered_and_recorded_without_a_span() -> None:
    clock = FakeClock()
    bench = Traced(tracing=Tracing(clock.ticks_us, 1, defaultdict(int)))
    assert "span_id" in bench.ask()
    record = bench.ask()
    assert (record["outcome"], record["trace_id"], "span_id" in record) == ("allow", TRACE, False)


def test_the_span_of_our_envoy_is_the_parent_whatever_the_client_sent() -> None:
    envoys = f"00-{'5' * 32}-{'6' * 16}"
    record = Traced().ask(call=f"{envoys}-01")
    assert (record["trace_id"], record["parent_span_id"]) == ("5" * 32, "6" * 16)
    # Envoy does not keep this trace, whatever the client says.
    record = Traced().ask(call=f"{envoys}-00")
    assert (record["trace_id"], "span_id" in record) == ("5" * 32, False)


def test_the_steps_name_the_guard_and_what_is_spent_in_memory() -> None:
    record = Traced(SITES).ask("/limited", host="guarded.example.com")
    assert names(record)[1:] == [
        *("read", "guard", "candidates", "resolved", "judged", "spent", "decided", "replied"),
    ]


ENDS = ("decided", "replied")


def test_a_check_that_the_guard_refuses_got_no_further() -> None:
    bench = Traced(SITES)
    bench.ask("/a//b", host="guarded.example.com")
    record = bench.ask("/a//b", host="guarded.example.com")
    assert (record["reason"], names(record)) == ("bad_request", ["received", "read", "guard", *ENDS])
    record = bench.ask(host="guarded.example.com")
    assert (record["reason"], names(record)) == ("guarded", ["received", "read", "guard", *ENDS])


def test_a_request_that_cannot_be_read_is_traced_if_its_trace_can() -> None:
    record = Traced().ask("/a//b")
    assert (record["status"], names(record)) == (400, ["received", "read", *ENDS])


def test_the_steps_of_two_readings_are_told_apart() -> None:
    record = Traced(SITES).ask("/open;x=1", host="matrix.example.com")
    assert names(record) == [
        *("received", "read", "guard"),
        *("structural_candidates", "structural_resolved", "structural_judged"),
        *("candidates", "resolved", "judged", *ENDS),
    ]


class Later:
    """A limiter that answers when the test says so."""

    later = True

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.given: Sequence[Any] = ()
        self.then: Callable[[Sequence[Any]], None]

    def spend(self, waiting: Sequence[Any], then: Callable[[Sequence[Any]], None]) -> None:
        self.given, self.then = waiting, then
        if self.error is not None:
            raise self.error

    def answer(self) -> None:
        for check in self.given:
            check.settle((Spent("one", True, 1, 0, 1, Rate(1.0, 1.0), Store.REDIS),))
        self.then(self.given)


LIMITED = check_request(host="a.example.com", path="/limited", headers=[("traceparent", SAMPLED)])


def test_a_check_that_waits_for_redis_goes_on_when_the_answer_is_there() -> None:
    limiter = Later()
    bench = Traced(limiter=limiter)
    bench.serve(LIMITED, remaining_s=0.2)
    assert bench.keeper.answered == []
    bench.clock.ticks += 700
    limiter.answer()
    record = bench.record()
    steps = dict(record["steps"])
    assert names(record)[-4:] == ["judged", "spent", *ENDS]
    assert steps["judged"] < 100 < 700 < steps["spent"] <= steps["decided"] < steps["replied"]


def test_what_comes_back_too_late_changes_no_span() -> None:
    limiter = Later()
    bench = Traced(limiter=limiter)
    bench.serve(LIMITED, remaining_s=0.2)
    bench.shield.sweep(all_held=True)
    record = bench.record()
    limiter.answer()
    assert bench.record() == record
    assert (record["detail"], names(record)[-3:]) == ("deadline", ["judged", *ENDS])
    assert len(bench.keeper.answered) == 1


def test_a_limiter_that_breaks_leaves_the_steps_before_it() -> None:
    bench = Traced(limiter=Later(RuntimeError("broken")))
    bench.serve(LIMITED, remaining_s=0.2)
    record = bench.record()
    assert (record["reason"], record["trace_id"]) == ("internal_error", TRACE)
    assert names(record)[-3:] == ["judged", *ENDS]


def test_a_room_that_breaks_leaves_a_span_of_the_steps_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("authz.check.evaluate", broken)
    bench = Traced()
    record = bench.ask()
    assert (record["status"], record["reason"]) == (503, "internal_error")
    assert (record["trace_id"], record["parent_span_id"]) == (TRACE, PARENT)
    assert names(record) == ["received", "read", "candidates", "resolved", *ENDS]


def test_a_neighbour_that_breaks_costs_a_check_no_step_and_no_second_span(
    monkeypatch: pytest.MonkeyPatch,
) -> None:

    def picky(candidates: Any, request: Any, *rest: Any) -> Any:
        if request.path == "/limited":
            raise RuntimeError("broken")
        return evaluate(candidates, request, *rest)

    monkeypatch.setattr("authz.check.evaluate", picky)
    fine = check_request(host="a.example.com", path="/open", headers=[("traceparent", SAMPLED)])
    bench = Traced()
    bench.serve(fine, LIMITED, fine)
    records = [bench.record(at) for at in range(3)]
    assert sorted(record["reason"] for record in records) == ["allowed", "allowed", "internal_error"]
    assert len({record["span_id"] for record in records}) == 3
    assert bench.counts["traced"] == 3
    for record in records:
        assert len(names(record)) == len(set(names(record)))
        assert names(record)[-2:] == list(ENDS)


def test_a_reply_that_cannot_be_built_leaves_a_span(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("authz.check._allow", broken)
    record = Traced().ask()
    assert (record["reason"], names(record)[-3:]) == ("internal_error", ["judged", *ENDS])


def test_what_is_refused_unread_has_no_span() -> None:
    bench = Traced()
    payload = check_request(host="a.example.com", path="/open", headers=[("traceparent", SAMPLED)])
    bench.shield.shed([Arrival(1, payload, 9.0, SAMPLED)])
    bench.shield.serve([Arrival(2, payload, 0.001, SAMPLED)])
    assert [each.decision.reason for each in bench.keeper.answered] == [Reason.OVERLOADED] * 2  # type: ignore[union-attr] # they are refused
    assert [each.trace for each in bench.keeper.answered] == [None, None]


def test_a_check_begins_without_a_span() -> None:
    assert Check(Arrival(1, b"", None)).trace is None  # type: ignore[arg-type] # what is used of it
