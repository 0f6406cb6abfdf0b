"""What callers are promised of limits, through each front and with each kind of store behind it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from authz.transport.server import CheckServer
from authz.wiring.clock import SystemClock
from tests.support.checks import check_request
from tests.support.fronts import Bench
from tests.support.grpc import Ask, read
from tests.support.listeners import Listener
from tests.support.policies import PROVIDER, MadeKey, snapshot
from tests.support.stores import Place, place
from tests.support.workers import status

POLICY = """
kind: Limit
metadata: {name: per-key}
spec: {per: [identity.key_id], rate: 3/d}
---
kind: Limit
metadata: {name: per-customer}
spec: {per: [identity.customer], rate: 5/d}
---
kind: Limit
metadata: {name: weighed}
spec: {per: [identity.customer], rate: 10/d, cost: 'double(request.headers["x-cost"])'}
---
kind: Limit
metadata: {name: once}
spec: {per: [identity.customer], rate: 1/d}
---
kind: Limit
metadata: {name: tried}
spec: {per: [identity.customer], rate: 1/d, mode: shadow}
---
kind: Policy
metadata: {name: p}
spec:
  hosts: [a.example.com]
  rules:
    - name: nested
      effect: allow
      paths: [/nested]
      identity: [partner-keys]
      limits: [per-key, per-customer]
    - {name: weighed, effect: allow, paths: [/weighed], identity: [partner-keys], limits: [weighed]}
    - {name: once, effect: allow, paths: [/once], identity: [partner-keys], limits: [per-key, once]}
    - {name: tried, effect: allow, paths: [/tried], identity: [partner-keys], limits: [tried, per-customer]}
    - {name: open, effect: allow, paths: [/open], identity: [anonymous]}
"""
ONE, OTHER = MadeKey("one"), MadeKey("other")
GOLD = MadeKey("gold", customer="globex", extra="  limits: {per-key: {rate: 4/d}}\n")
SNAPSHOT = snapshot(PROVIDER, POLICY, ONE.document, OTHER.document, GOLD.document)

_numbers = itertools.count(1)


@pytest.fixture(scope="module", params=["memory", "standalone", "cluster"])
def kept(request: pytest.FixtureRequest) -> Iterator[Place]:
    with place(request.param) as made:
        yield made


class Served:
    """A front that serves, and somebody who asks it."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask

    def call(self, path: str, key: MadeKey, *headers: tuple[str, str]) -> Any:
        """Ask once; return the answer as Envoy reads it."""
        return read(self.ask(payload(path, key, *headers), timeout=20))

    def told(self, path: str, key: MadeKey, times: int = 1, *headers: tuple[str, str]) -> list[int]:
        """Ask one after the other; return the statuses."""
        return [status(self.call(path, key, *headers)) for _ in range(times)]


def payload(path: str, key: MadeKey, *headers: tuple[str, str]) -> bytes:
    return check_request(host="a.example.com", path=path, headers=[("x-api-key", key.token), *headers])


@pytest.fixture(params=["native-unix", "grpcio-unix"])
def served(request: pytest.FixtureRequest, kept: Place, tmp_path: Path) -> Iterator[Served]:
    """Everything behind a real front, with buckets that no test has drawn from."""
    listener, clock = Listener.of(request.param, tmp_path), SystemClock()
    front = listener.front()
    with kept.limiter(f"fronts-{next(_numbers)}") as limiter:
        bench = Bench(lambda: SNAPSHOT, front=front, limiter=limiter, clock=clock)
        server = CheckServer(front, bench.shield, clock.ticks_us, idle_s=0.02, max_wait_s=10.0)
        server.start()
        try:
            with listener.client() as ask:
                yield Served(ask)
        finally:
            server.stop()
            server.join()
        assert bench.crashes == []


def test_a_burst_passes_and_then_nobody_until_the_time_that_is_told(served: Served) -> None:
    assert served.told("/nested", ONE, 5) == [200, 200, 200, 429, 429]
    told = {
        pair.header.key: pair.header.value for pair in served.call("/nested", ONE).denied_response.headers
    }
    assert told["x-authz-reason"] == "limited"
    assert 8 * 3600 - 60 <= int(told["retry-after"]) <= 9 * 3600


def test_keys_of_one_customer_share_its_bucket_and_a_refusal_takes_nothing_of_it(served: Served) -> None:
    assert served.told("/nested", ONE, 20).count(200) == 3
    assert served.told("/nested", OTHER, 3) == [200, 200, 429]


def test_a_rate_of_a_keys_own_counts(served: Served) -> None:
    assert served.told("/nested", GOLD, 6) == [200] * 4 + [429] * 2


def test_a_cost_is_what_the_request_says_and_nothing_else_is_spent(served: Served) -> None:
    for odd in ("NaN", "-1", "Infinity", "-Infinity", "a lot", ""):
        assert served.told("/weighed", ONE, 1, ("x-cost", odd)) == [403]
    too_much = served.call("/weighed", ONE, ("x-cost", "10.5"))
    assert status(too_much) == 429
    assert "retry-after" not in {pair.header.key for pair in too_much.denied_response.headers}
    assert served.told("/weighed", ONE, 5, ("x-cost", "2.5")) == [200] * 4 + [429]
    assert served.told("/weighed", ONE, 1, ("x-cost", "0")) == [200]


def test_a_limit_in_shadow_refuses_nobody_and_draws_from_nobody_elses_bucket(served: Served) -> None:
    assert served.told("/tried", ONE, 6) == [200] * 5 + [429]


def test_what_has_no_limit_passes_between_others(served: Served) -> None:
    open_ = check_request(host="a.example.com", path="/open")
    mixed = [served.ask.future(each, timeout=20) for each in [payload("/nested", ONE), open_] * 20]  # type: ignore[attr-defined] # grpc has no types
    statuses = [status(read(call.result())) for call in mixed]
    assert statuses[1::2] == [200] * 20
    assert statuses[::2].count(200) == 3


def test_five_hundred_calls_at_once_for_one_token_pass_once(served: Served) -> None:
    """Of the token of the key's own bucket, the others take nothing either."""
    calls = [served.ask.future(payload("/once", ONE), timeout=30) for _ in range(500)]  # type: ignore[attr-defined] # grpc has no types
    statuses = [status(read(call.result())) for call in calls]
    assert (statuses.count(200), statuses.count(429)) == (1, 499)
    assert served.told("/nested", ONE, 3) == [200, 200, 429]
