"""What a check is told of one bucket. Every store computes exactly this from the debt that it found."""

from __future__ import annotations

from math import ceil

from authz.limits.bucket import wait_us
from authz.model.limit import Rate, Spend, Spent, Store

_new = tuple.__new__  # what a NamedTuple's own constructor does, without its 0.3 us of arguments


def charged(spend: Spend, debt: float, store: Store) -> Spent:
    """Say how a bucket stands that was drawn from.

    Args:
        debt: tokens, with this check's cost.
    """
    rate = spend.rate
    full_s = int(debt / rate.rate_per_s) + 1 if debt > 0.0 else 0
    remaining = int(rate.burst_tokens - debt)
    if remaining < 0:  # a share let the cost of a whole burst pass
        remaining = 0
    return _new(Spent, (spend.limit, True, remaining, 0, full_s, rate, store, False))


def refused(spend: Spend, debt: float, store: Store) -> Spent:
    """Say how one bucket stands of which nothing was taken, since it or another had no room.

    Args:
        debt: tokens, without this check's cost.
    """
    rate = spend.rate
    excess = debt + spend.cost - room(rate, spend.cost)
    passed = excess <= 0.0
    return Spent(
        spend.limit,
        passed,
        max(0, int(rate.burst_tokens - debt)),
        0 if passed else _retry_ms(excess, spend),
        int(debt / rate.rate_per_s) + 1 if debt > 0.0 else 0,
        rate,
        store,
    )


def room(rate: Rate, cost: float) -> float:
    """Return the burst for a cost: a check that fits the whole burst passes a full bucket of any share."""
    fits = rate.whole is not None and cost <= rate.whole.burst_tokens
    return max(rate.burst_tokens, cost) if fits else rate.burst_tokens


def _retry_ms(excess: float, spend: Spend) -> int:
    if spend.cost > room(spend.rate, spend.cost):
        return -1
    return ceil(wait_us(excess, spend.rate.rate_per_s) / 1000)
