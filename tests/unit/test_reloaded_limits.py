"""Buckets survive a reload: what was spent stays spent, by the rate and burst that are in force now."""

from __future__ import annotations

from fractions import Fraction

from authz.check import Call, Check, answer
from authz.limits.guard import Guard
from authz.limits.memory import MemoryLimiter
from authz.model.decision import Allow
from authz.snapshot.build import Builder, Surroundings
from authz.snapshot.snapshot import Snapshot
from tests.support.checks import check_request
from tests.support.policies import documents

SET = """
kind: Limit
metadata: {name: per-host}
spec: {per: [request.host], rate: RATE/s, burst: BURST}
---
kind: Policy
metadata: {name: open}
spec:
  hosts: [a.example.com]
  rules: [{name: all, effect: allow, identity: [anyone], limits: [per-host]}]
"""
PAYLOAD = check_request(host="a.example.com", path="/")


class Served:
    """One limiter, and the sets that come into force one after the other."""

    def __init__(self) -> None:
        self.now_us = 1_000_000
        self.limiter = MemoryLimiter(lambda: self.now_us)
        self._guard = Guard(lambda: self.now_us, 10)
        self._builder = Builder(Surroundings())
        self.snapshot = Snapshot(ready=False)

    def reload(self, rate: int, burst: int) -> None:
        text = SET.replace("RATE", str(rate)).replace("BURST", str(burst))
        self.snapshot = self._builder.build(documents(text), self.now_us).snapshot

    def passes(self) -> bool:
        found: list[Check] = []
        answer([Call(1, PAYLOAD)], self.snapshot, self.limiter, self._guard, found.extend, self.now_us)
        (check,) = found
        return isinstance(check.decision, Allow)

    def admitted(self) -> int:
        """Spend until nothing is left."""
        return next(count for count in range(1000) if not self.passes())


def test_what_was_spent_stays_spent_and_the_new_rate_and_burst_are_in_effect_at_once() -> None:
    served = Served()
    served.reload(rate=10, burst=20)
    assert served.admitted() == 20
    served.reload(rate=4, burst=30)
    assert served.admitted() == 10, "20 are owed, of a burst of 30 now"
    served.now_us += 2_500_000
    exact = Fraction(30) - Fraction(4) * Fraction(25, 10)
    assert served.admitted() == 30 - exact == 10
    served.reload(rate=100, burst=5)
    assert served.admitted() == 0, "30 are owed, more than the burst holds now"
    served.now_us += 250_000
    assert served.admitted() == 0, "5 are owed: nothing is left of 5"
    served.now_us += 30_000
    assert served.admitted() == 3
    served.reload(rate=100, burst=5)
    assert served.admitted() == 0, "a reload that changes nothing refills nothing"


def test_a_limit_that_comes_back_finds_its_buckets() -> None:
    served = Served()
    served.reload(rate=1, burst=3)
    assert served.admitted() == 3
    other = SET.replace("per-host", "other").replace("RATE", "1").replace("BURST", "3")
    served.snapshot = Builder(Surroundings()).build(documents(other), 0).snapshot
    assert served.admitted() == 3, "another limit has buckets of its own"
    served.reload(rate=1, burst=3)
    assert served.admitted() == 0
