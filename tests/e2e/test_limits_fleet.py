"""Eight sidecars on one Redis, whose clocks are up to an hour apart: totals over all of them.

Each is a process as an operator starts it. Rates of some a day refill nothing while a test runs, so what is
counted is exact.
"""

from __future__ import annotations

import shutil
import struct
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime

import pytest

from authz.proxy.stage import short_directory
from tests.support.checks import check_request
from tests.support.fleet import Fleet, Member, fleet
from tests.support.policies import PROVIDER, MadeKey
from tests.support.proxy import eventually
from tests.support.redis import RedisServer, redis_server
from tests.support.sets import write

pytestmark = pytest.mark.e2e

OFF_S = (-3600, -1800, -60, 0, 1, 60, 1800, 3600)

POLICY = """
kind: Limit
metadata: {name: once}
spec: {per: [identity.customer], rate: 1/d}
---
kind: Limit
metadata: {name: per-key}
spec: {per: [identity.key_id], rate: 40/d}
---
kind: Limit
metadata: {name: per-customer}
spec: {per: [identity.customer], rate: 100/d}
---
kind: Limit
metadata: {name: quick}
spec: {per: [identity.customer], rate: 100/s, burst: 20}
---
kind: Policy
metadata: {name: p}
spec:
  hosts: [a.example.com]
  rules:
    - {name: once, effect: allow, paths: [/once], identity: [partner-keys], limits: [once]}
    - name: nested
      effect: allow
      paths: [/nested]
      identity: [partner-keys]
      limits: [per-key, per-customer]
    - {name: quick, effect: allow, paths: [/quick], identity: [partner-keys], limits: [quick]}
"""
CROWD = [MadeKey(f"crowd-{number}", customer="crowd") for number in range(4)]
NESTED = [MadeKey(f"nested-{number}", customer="nested") for number in range(4)]
QUICK, TURNED = MadeKey("quick", customer="quick"), MadeKey("turned", customer="turned")


def check(path: str, key: MadeKey) -> bytes:
    return check_request(host="a.example.com", path=path, headers=[("x-api-key", key.token)])


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@pytest.fixture(scope="module")
def running(transport: str, server: RedisServer) -> Iterator[Fleet]:
    server.ask("FLUSHALL")
    home = short_directory()
    keys = [key.document for key in (*CROWD, *NESTED, QUICK, TURNED)]
    policies = write(home / "policies", PROVIDER, POLICY, *keys)
    with fleet(home, policies, server.unix_url, OFF_S) as started:
        yield started
        assert [each.number('authz_store_up{store="redis"}') for each in started.members] == [1.0] * len(
            OFF_S
        )
    shutil.rmtree(home, ignore_errors=True)


def debts(server: RedisServer, limit: str) -> list[float]:
    """What the buckets of a limit owe, as they stand in Redis."""
    keys = server.ask("KEYS", f"authz:default:*:{limit}:*")
    return sorted(struct.unpack("<dd", server.ask("GET", key))[0] for key in keys)


def test_of_five_hundred_calls_for_one_token_exactly_one_passes(running: Fleet) -> None:
    statuses = Counter(running.told(*[check("/once", CROWD[number % 4]) for number in range(500)]))
    assert statuses == {200: 1, 429: 499}


def test_nested_totals_hold_over_all_sidecars_and_refusals_spend_nothing(
    running: Fleet, server: RedisServer
) -> None:
    """Four keys may draw 40 each, their customer 100; what is owed in Redis is what was granted."""
    asked = [number % 4 for number in range(800)]
    statuses = running.told(*[check("/nested", NESTED[number]) for number in asked])
    granted = Counter(number for number, status in zip(asked, statuses, strict=True) if status == 200)
    assert set(statuses) == {200, 429}
    assert granted.total() == 100
    assert max(granted.values()) <= 40
    assert [round(debt) for debt in debts(server, "per-key")] == sorted(granted.values())
    assert [round(debt) for debt in debts(server, "per-customer")] == [100]


def test_what_refills_is_shared_by_all(running: Fleet) -> None:
    """Asked without a pause, all of them together grant what one bucket has."""
    began_s = time.monotonic()
    granted = running.told(*[check("/quick", QUICK)] * 20).count(200)
    first_s = last_s = time.monotonic()
    assert granted == 20
    while time.monotonic() < first_s + 1.5:
        granted += running.told(*[check("/quick", QUICK)] * 64).count(200)
        last_s = time.monotonic()
    assert granted <= 20 + 100 * (last_s - began_s)
    assert granted >= 30, "it refills, however busy the machine"


def test_clocks_that_are_an_hour_off_and_turned_by_hours_change_nothing(
    running: Fleet, server: RedisServer
) -> None:
    """The records show that these clocks are wrong; the bucket is nobody's but Redis' to refill."""
    assert running.told(*[check("/nested", TURNED)] * 24).count(200) == 24
    for member, off in zip(running.members, OFF_S, strict=True):
        member.set_clock(off + 2 * 3600 if off < 0 else off - 2 * 3600)
    assert running.told(*[check("/nested", TURNED)] * 24).count(200) == 16
    assert [round(debt) for debt in debts(server, "per-key")][-1] == 40
    for member, off in zip(running.members, OFF_S, strict=True):
        member.set_clock(off)
    assert running.told(*[check("/nested", TURNED)] * 24).count(200) == 0

    for member, off in zip(running.members, OFF_S, strict=True):
        assert eventually(lambda m=member, o=off: o - 60 < shown_off_s(m) <= o + 1)  # type: ignore[misc] # bound in the loop
        stores = {limit["store"] for line in member.recorded() for limit in line.get("limits", ())}
        assert stores == {"redis"}


def shown_off_s(member: Member) -> float:
    """How far the clock is off by which a sidecar has written its last record."""
    return datetime.fromisoformat(member.recorded()[-1]["time"]).timestamp() - time.time()
