"""The arithmetic of one token bucket. Pure; every store computes exactly this.

A bucket is a debt: tokens drawn and not yet refilled. An absent bucket has no debt, so it is full, and
idle buckets cost nothing. Debt (not an arrival time, as GCRA keeps) keeps its meaning when a rate changes.

    settled = max(0, debt - rate * dt)        passes  <=>  settled + cost <= burst
    charged = settled + cost                  retry   =   (settled + cost - burst) / rate

After each refill the debt is rounded up to a whole quantum, so rounding goes against the caller and whole
tokens stay whole (ten tokens are ten, never nine and a rest). What that costs a caller is at most one
quantum per charge. The refill itself is one product and one quotient of doubles: off by 2^-52 of itself.
Source: "State of a bucket" in the contract on limits.
"""

from __future__ import annotations

from math import ceil

# 2^-20 token. Coarser would be felt by costs of a hundredth; finer leaves fewer bits for large bursts.
QUANTA_PER_TOKEN = 1 << 20

_US_PER_S = 1_000_000


def settle(debt: float, elapsed_us: int, rate_per_s: float) -> float:
    """Return what is left of a debt (tokens) after a time. A clock that went back refills nothing."""
    if debt <= 0.0 or elapsed_us <= 0:
        return debt
    left = debt - elapsed_us * rate_per_s / _US_PER_S
    return ceil(left * QUANTA_PER_TOKEN) / QUANTA_PER_TOKEN if left > 0.0 else 0.0


def wait_us(excess_tokens: float, rate_per_s: float) -> int:
    """Return the microseconds until that many tokens have refilled, rounded up."""
    return ceil(excess_tokens * _US_PER_S / rate_per_s) if excess_tokens > 0.0 else 0
