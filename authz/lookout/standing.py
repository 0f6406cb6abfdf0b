"""How buckets stand: what a store holds, and what the documents say of it, put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from authz.limits.bucket import settle, wait_us
from authz.limits.outcome import refused
from authz.lookout.selection import Bucket, Target
from authz.model.limit import Rate, Spend, Store

NEVER = -1.0


class Found(NamedTuple):
    """One bucket as a store holds it.

    Args:
        name: as Spend.bucket, None for a value that is not told; of Redis the limit alone is told. Of a store
            in memory the limit alone is what callers share who came when memory was full.
        digest: see Keys.digest.
        tag: see Keys.tag; "" where the store has none.
        debt: tokens, when it was last drawn from; None: what stands there is no bucket.
        elapsed_us: since then.
        worker: whose memory it is in; -1: of a sidecar that is one process, or of Redis.
        processes: so many share its rate.
        key: its name in the store, where it has one.
    """

    name: Bucket
    digest: str
    debt: float | None
    elapsed_us: int
    store: Store
    worker: int = -1
    processes: int = 1
    tag: str = ""
    key: bytes = b""


@dataclass(frozen=True, slots=True)
class Standing:
    """One bucket, and for how long it refuses.

    Args:
        bucket: its name, as far as it is known.
        whose: for people.
        rate: of the store that it is in: a share where several processes keep buckets of their own.
        debt: tokens now; None: what stands there is no bucket, and every check that needs it fails.
        remaining: whole tokens.
        full_s: seconds until it is full.
        wait_s: seconds until one request passes; 0: now; NEVER.
        found: where it is held; None: nowhere, so it is full.
        shared: others draw from it, too, whoever is asked about.
    """

    bucket: Bucket
    whose: str
    rate: Rate
    debt: float | None
    remaining: int
    full_s: float
    wait_s: float
    found: Found | None
    shared: bool = False

    @property
    def refuses(self) -> bool:
        """Whether it refuses one request now."""
        return self.debt is None or self.wait_s != 0.0

    @property
    def fullness(self) -> float:
        """Which part of the burst is drawn."""
        return 2.0 if self.debt is None else self.debt / self.rate.burst_tokens


def standing(found: Found, rate: Rate, cost: float, whose: str, *, shared: bool = False) -> Standing:
    """Return how a bucket stands that a store holds.

    Args:
        rate: whole.
        cost: tokens of one request.
    """
    rate = rate.share(max(1, found.processes))  # 0: nobody knows how many, and the limit refuses
    if found.debt is None:
        return Standing(found.name, whose, rate, None, 0, 0.0, NEVER, found, shared)
    debt = settle(found.debt, found.elapsed_us, rate.rate_per_s)
    spent = refused(Spend("", (), rate, cost), debt, found.store)
    full_s = wait_us(debt, rate.rate_per_s) / 1e6
    wait_s = NEVER if spent.retry_ms < 0 else spent.retry_ms / 1000
    return Standing(found.name, whose, rate, debt, spent.remaining, full_s, wait_s, found, shared)


def full(target: Target, whose: str) -> Standing:
    """Return how a bucket stands that no store holds."""
    rate = target.rate
    wait_s = NEVER if target.cost > rate.burst_tokens else 0.0
    return Standing(target.bucket, whose, rate, 0.0, int(rate.burst_tokens), 0.0, wait_s, None, target.shared)


class Match(NamedTuple):
    """A bucket that a store holds, and the target that it fits.

    Args:
        theirs: it is surely a bucket of whom is asked about.
    """

    found: Found
    target: Target
    theirs: bool
