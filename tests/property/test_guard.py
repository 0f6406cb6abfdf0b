"""Laws of the guard, over any order of good and bad requests."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from itertools import count
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from authz.check import Call, Check, answer, reply
from authz.identity.apikey import Token
from authz.limits.guard import Guard
from authz.limits.memory import MemoryLimiter
from authz.response.refusal import Refuser
from tests.support.checks import check_request
from tests.support.decisions import DECISION_ID, NOW_US, Judge
from tests.support.policies import PROVIDER, MadeKey, snapshot

patient = settings(max_examples=100, deadline=None)  # a busy machine is no fault of ours

KEY = MadeKey("k")
POLICY = """
kind: Policy
metadata: {name: p}
spec:
  hosts: [items.example.com, other.example.com]
  rules:
    - {name: items, effect: allow, paths: [/items], identity: [partner-keys]}
    - {name: open, effect: allow, paths: [/open], identity: [anyone]}
    - {name: strangers, effect: allow, paths: [/strangers], identity: [anonymous]}
"""
BURST, RATE_PER_S = 3, 2
SITE = f"""
kind: Site
metadata: {{name: items}}
spec: {{hosts: [items.example.com], guard: {{rate: {RATE_PER_S}/s, burst: {BURST}}}}}
"""
OPEN, GUARDED = (snapshot(PROVIDER, POLICY, *sites, KEY.document) for sites in ((), (SITE,)))

addresses = st.sampled_from(
    ["10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2", "fe80::1", ""]
)
asked = st.fixed_dictionaries(
    {
        "path": st.sampled_from(["/items", "/open", "/strangers", "/a/../b", "/nowhere"]),
        "key": st.sampled_from(["", "rubbish", KEY.token]),
        "peer": addresses,
        "host": st.sampled_from(["items.example.com", "ITEMS.example.com:80", "other.example.com", "a b"]),
    }
)
steps = st.lists(st.tuples(asked, st.integers(0, 400_000)), max_size=60)
FAULTS = {"bad_request", "credential_missing", "credential_invalid", "credential_ambiguous"}


@patient
@given(steps, st.integers(1, 4))
def test_adding_a_guard_never_allows_more_and_changes_nothing_else(
    steps: list[tuple[dict[str, str], int]], networks: int
) -> None:
    """(Of a set without limits: a request that is guarded leaves tokens to the next.)"""
    plain, guarded = Judge(OPEN), Judge(GUARDED)
    guarded.guard = Guard(lambda: guarded.ticks_us, networks)
    for request, after_us in steps:
        guarded.ticks_us += after_us
        without, with_ = plain.ask(**request), guarded.ask(**request)
        if with_.reason == "guarded":
            assert (with_.status, with_.allowed) == (429, False)
            assert without.status != 400
            assert request["host"].lower().startswith("items")
            assert request["peer"]
        else:
            assert (with_.reason, with_.detail, with_.status) == (
                without.reason,
                without.detail,
                without.status,
            )
            assert with_.payload == without.payload


@patient
@given(steps, st.integers(1, 4))
def test_a_network_that_sends_no_fault_is_never_refused(
    steps: list[tuple[dict[str, str], int]], networks: int
) -> None:
    """However little memory there is: strangers share no bucket."""
    judge = Judge(GUARDED)
    judge.guard = Guard(lambda: judge.ticks_us, networks)
    for request, after_us in steps:
        judge.ticks_us += after_us
        judge.ask(**request)
        assert judge.ask("/items", key=KEY.token, peer="192.0.2.1").allowed
        assert len(judge.guard) <= networks


@patient
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 1_000_000)), max_size=80))
def test_no_more_credentials_are_looked_at_than_burst_and_rate_say(steps: list[tuple[bool, int]]) -> None:
    judge = Judge(GUARDED)
    tried: dict[str, list[int]] = defaultdict(list)
    for first, after_us in steps:
        judge.ticks_us += after_us
        peer = "10.0.0.1" if first else "10.0.0.2"
        if judge.ask("/items", key="rubbish", peer=peer).reason != "guarded":
            tried[peer].append(judge.ticks_us)
    for times in tried.values():
        for begin, from_us in enumerate(times):
            for end, until_us in enumerate(times[begin:], begin + 1):
                assert end - begin <= BURST + Fraction(RATE_PER_S * (until_us - from_us), 1_000_000)


def _bad_calls() -> Iterator[Call]:
    """Different keys with the right checksum that nobody has, each from another network."""
    pattern = Token("ak", "live", "0" * 12, "A" * 43).render()
    mould = check_request(
        path="/items", host="items.example.com", peer="100.100.100.100", headers=[("x-api-key", pattern)]
    )
    for number in count():
        token = Token("ak", "live", f"{number:012d}", "A" * 43).render()
        address = ".".join(
            f"{100 + part}"
            for part in (number // 1_000_000, number // 10_000 % 100, number // 100 % 100, number % 100)
        )
        yield Call(
            number,
            mould.replace(pattern.encode(), token.encode()).replace(b"100.100.100.100", address.encode()),
        )


def _resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def flood(calls: Iterator[Call], judge: Judge, number: int) -> dict[str, int]:
    """Answer so many bad calls in batches, a good one after each; return how often each status came."""
    good = check_request(
        path="/items", host="items.example.com", peer="192.0.2.1", headers=[("x-api-key", KEY.token)]
    )
    limiter, refuser = MemoryLimiter(lambda: 0), Refuser("sidecar-1")
    seen: dict[str, int] = defaultdict(int)

    def finish(checks: list[Check]) -> None:
        for check in checks:
            seen[str(reply(check, judge.snapshot, refuser, DECISION_ID).status)] += 1

    for _ in range(number // 50):
        batch = [next(calls) for _ in range(50)]
        answer([*batch, Call(-1, good)], judge.snapshot, limiter, judge.guard, finish, NOW_US)  # type: ignore[arg-type]  # a list is what comes
        judge.ticks_us += 3000  # a million a minute
    return seen


def test_forty_thousand_bad_keys_from_as_many_networks_take_no_memory_and_refuse_nobody_good() -> None:
    judge = Judge(GUARDED)
    judge.guard = Guard(lambda: judge.ticks_us, 2000)
    calls = _bad_calls()
    flood(calls, judge, 8000)  # what is bounded fills: caches, the guard
    before = _resident_bytes()
    assert flood(calls, judge, 32_000) == {"401": 32_000, "200": 640}
    assert len(judge.guard) <= 2000
    assert _resident_bytes() - before < 4 << 20  # 32,000 buckets would be 11 MB
