"""Laws of swapping: whatever is swapped whenever, reply, record and headers of a decision are of one set.

A set is swapped each time that anybody looks which one is in force, and between any two steps. Each set says
its number wherever a document can say anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from authz.limits.memory import MemoryLimiter
from authz.model.decision import Allow, Answered
from authz.record.entry import FixedFields, encode
from authz.snapshot.snapshot import Snapshot
from authz.transport.front import Arrival
from tests.support.checks import check_request
from tests.support.fronts import Bench, FakeKeeper
from tests.support.policies import PROVIDER, MadeKey, snapshot

patient = settings(max_examples=150, deadline=None)  # a busy machine is no fault of ours

KEY = MadeKey("k")
SET = """
kind: Limit
metadata: {name: once-N}
spec: {per: [identity.key_id, '"N"'], rate: 1/d, burst: 2}
---
kind: Limit
metadata: {name: tried-N}
spec: {per: [client.network, '"N"'], rate: 1/d, mode: shadow}
---
kind: Policy
metadata: {name: p-N}
spec:
  hosts: [a.test]
  rules:
    - {name: open, effect: allow, paths: [/open], identity: [anyone], limits: [tried-N]}
    - {name: keyed, effect: allow, paths: [/keyed], identity: [partner-keys], limits: [once-N]}
    - {name: shut, effect: deny, paths: [/shut]}
  onAllow: {headers: {x-set: '"N"'}}
---
kind: Policy
metadata: {name: next-N}
spec:
  mode: shadow
  hosts: [a.test]
  rules: [{name: no, effect: deny}]
---
kind: Site
metadata: {name: s-N}
spec: {hosts: [a.test], onDeny: {default: {headers: {x-set: "N"}}}}
"""
SETS = [snapshot(PROVIDER, KEY.document, SET.replace("N", str(number))) for number in range(5)]
NUMBER = {each.revision: str(number) for number, each in enumerate(SETS)}
PATHS = {"open": "/open", "keyed": "/keyed", "missing": "/keyed", "shut": "/shut", "nothing": "/nothing"}


def asked(kind: str, call: int) -> bytes:
    """Return a request that is told from all others."""
    headers = [("x-request-id", f"r{call}"), *([("x-api-key", KEY.token)] if kind == "keyed" else [])]
    return check_request(host="a.test", path=PATHS.get(kind, "/open/../shut"), headers=headers)


class Force:
    """What is in force: another set each time that anybody looks."""

    def __init__(self) -> None:
        self.number = 0

    def current(self) -> Snapshot:
        self.swap()
        return SETS[self.number]

    def swap(self) -> None:
        self.number = (self.number + 1) % len(SETS)


class Limiter(MemoryLimiter):
    """Swaps the set while it spends; one that answers later waits until it is told to."""

    def __init__(self, force: Force, *, later: bool) -> None:
        super().__init__(lambda: 0, 1000)
        self.later = later
        self._force = force
        self.waiting: list[Callable[[], None]] = []

    def spend(self, waiting: Sequence[Any], then: Callable[[Sequence[Any]], None]) -> None:
        self._do(lambda: super(Limiter, self).spend(waiting, then))

    def spend_in_shadow(self, trials: Sequence[Any], then: Callable[[Sequence[Any]], None]) -> None:
        self._do(lambda: super(Limiter, self).spend_in_shadow(trials, then))

    def _do(self, work: Callable[[], None]) -> None:
        self._force.swap()
        if self.later:
            self.waiting.append(work)
        else:
            work()


class Keeper(FakeKeeper):
    """Keeps each answer with the record that is written of it."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[Answered, dict[str, Any]]] = []

    def keep(self, answered: Sequence[Answered], fixed: FixedFields) -> None:
        for number, each in enumerate(answered):
            self.kept.append((each, json.loads(encode(each, fixed, number))))


step = st.one_of(
    st.lists(st.sampled_from([*PATHS, "odd"]), min_size=1, max_size=5),
    st.sampled_from(["settle", "sweep", "swap", "late"]),
)


def said(reply: Any) -> list[str]:
    """Return which sets a reply names in its headers."""
    headers = [*reply.ok_response.headers, *reply.denied_response.headers]
    return [
        each.header.value or each.header.raw_value.decode() for each in headers if each.header.key == "x-set"
    ]


def named(record: dict[str, Any]) -> set[str]:
    """Return which sets a record names: its rules, its limits, and what was in shadow."""
    names = [record.get("policy", ""), *(entry["name"] for entry in record.get("limits", []))]
    names += [entry.get(field, "") for entry in record.get("shadow", []) for field in ("policy", "limit")]
    names += [entry if isinstance(entry, str) else entry["policy"] for entry in record.get("allowed_by", [])]
    return {name.partition("/")[0].rpartition("-")[2] for name in names if name}


@patient
@given(st.booleans(), st.lists(step, max_size=12))
def test_no_decision_mixes_sets(later: bool, steps: list[list[str] | str]) -> None:
    force, keeper = Force(), Keeper()
    limiter = Limiter(force, later=later)
    bench = Bench(force.current, limiter=limiter, keeper=keeper)
    calls = 0
    for each in steps:
        force.swap()
        if isinstance(each, list):
            batch = [Arrival(calls + at, asked(kind, calls + at), 0.2) for at, kind in enumerate(each)]
            calls += len(each)
            bench.shield.serve(batch)
        elif each == "settle":
            while limiter.waiting:
                limiter.waiting.pop()()
        elif each == "late":
            bench.shield.serve([Arrival(calls, asked("open", calls), 0.001)])
            calls += 1
        elif each == "sweep":
            bench.shield.sweep(all_held=True)
    bench.shield.sweep(all_held=True)
    while limiter.waiting:
        limiter.waiting.pop()()
    assert bench.crashes == []
    assert sorted(bench.front.replies) == list(range(calls))
    records = {record["decision_id"]: record for _, record in keeper.kept}
    assert sum(record.get("count", 1) for record in records.values()) == calls
    for answered, record in keeper.kept:
        number = NUMBER[record["revision"]]
        assert named(record) <= {number}
        if isinstance(answered.decision, Allow):
            assert answered.decision.grant.headers == (("x-set", number),)
    records |= {record["request_id"]: record for _, record in keeper.kept if "request_id" in record}
    for call in bench.front.replies:
        agrees(bench.front.reply(call), records, f"r{call}")


def agrees(reply: Any, records: dict[str, dict[str, Any]], request_id: str) -> None:
    """Fail unless what a reply says of its set is what its record says."""
    headers = {each.header.key: each.header.value for each in reply.denied_response.headers}
    record = records[headers.get("x-authz-decision-id", request_id)]
    assert record.get("request_id", request_id) == request_id
    if record.get("detail") != "deadline":  # refused unread: nobody knows for which host
        assert said(reply) == [NUMBER[record["revision"]]]
