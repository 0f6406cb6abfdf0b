"""How often: rates, what a check would spend, and what came of spending it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Store(StrEnum):
    """Where a bucket was kept when it was spent from."""

    MEMORY = "memory"
    REDIS = "redis"
    OUTAGE = "outage"
    OFF = "off"


class OnStoreError(StrEnum):
    """What a limit does while the store of its buckets does not answer."""

    LOCAL = "local"  # a bucket in this process, with this process's share of the rate
    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast a bucket refills and how much it holds.

    Args:
        rate_per_s: tokens per second, > 0.
        burst_tokens: capacity in tokens, >= 1.
        window_s: the unit in which the operator wrote the rate (1, 60, 3600, 86400), for headers.
        whole: the rate that the operator wrote, where this one is a worker's share of it.
    """

    rate_per_s: float
    burst_tokens: float
    window_s: int = 1
    whole: Rate | None = None

    def share(self, processes: int) -> Rate:
        """Return the part of one of so many processes that keep buckets of their own; at least one token."""
        if processes == 1:
            return self
        burst_tokens = max(1.0, self.burst_tokens / processes)
        return Rate(self.rate_per_s / processes, burst_tokens, self.window_s, self)


# Before the limit in the name of a bucket in shadow. No document's name has a slash, so it is never that of
# the same limit when it is enforced.
SHADOW = "shadow/"


def in_shadow(bucket: Sequence[str | None]) -> bool:
    """Whether documents in shadow draw from a bucket of this name."""
    return (bucket[0] or "").startswith(SHADOW)


def document_of(name: str) -> str:
    """Return the limit that a bucket's first part names, in shadow or not."""
    return name.rpartition("/")[2]


class Spend(NamedTuple):
    """One bucket that a check wants to draw from."""

    limit: str  # name of the Limit document
    bucket: tuple[str, ...]  # (limit, customer name space, values of `per`...): names the bucket
    rate: Rate
    cost: float  # tokens, finite, >= 0
    # What every bucket of one caller shares, where the limit is the caller's: on a Cluster they then lie
    # together. A kind, a name space and a value; empty where anybody may draw from the bucket.
    caller: tuple[str, ...] = ()
    on_store_error: OnStoreError = OnStoreError.LOCAL


class Spent(NamedTuple):
    """What came of one Spend. All of a check's spends pass, or none is charged."""

    limit: str
    passed: bool  # this bucket alone had room
    remaining: int  # whole tokens left after the charge, or now where nothing was charged
    retry_ms: int  # until this bucket has room for the cost, rounded up; 0 where it passed; -1: never
    full_s: int  # until the bucket is full again, rounded up
    rate: Rate
    store: Store
    failed: bool = False  # its store did not answer, and the limit refuses then; it never passed
