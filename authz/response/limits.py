"""What clients are told of limits: in which headers, in which order, and which of them refused.

The order is the same everywhere: first what refuses, the longest wait first (a cost that never fits waits
longest); then the rest, the least share of its burst left first; then by name. Where a form has room for one
limit only, it is the first.

    form          headers                                              of
    draft         ratelimit-policy, ratelimit                          every limit, by name
    triple        ratelimit-limit, ratelimit-remaining, ...-reset      the first
    x-ratelimit   x-ratelimit-limit, x-ratelimit-remaining, ...-reset  the first
    off           none, and no limit is named anywhere
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, inf
from typing import Literal

from authz.model.limit import Rate, Spent
from authz.response import message

Form = Literal["draft", "triple", "x-ratelimit", "off"]

# A policy author may bind dozens; the first of them say what there is to know, in about 1 KiB.
LIMITS_TOLD = 16

_PREFIXES: dict[Form, str] = {"triple": "ratelimit", "x-ratelimit": "x-ratelimit"}


def ordered(spent: Sequence[Spent]) -> Sequence[Spent]:
    """Return the limits of one check in the order in which clients are told of them."""
    return spent if len(spent) < 2 else sorted(spent, key=_rank)


def _rank(bucket: Spent) -> tuple[bool, float, str]:
    if bucket.passed:
        return True, bucket.remaining / bucket.rate.burst_tokens, bucket.limit
    return False, -(bucket.retry_ms if bucket.retry_ms >= 0 else inf), bucket.limit


def refusing(spent: Sequence[Spent]) -> tuple[str, ...]:
    """Name the limits that refused.

    Args:
        spent: in the order of `ordered`.
    """
    return tuple([bucket.limit for bucket in spent if not bucket.passed][:LIMITS_TOLD])


def headers_in(form: Form, spent: Sequence[Spent]) -> message.Headers:
    """Return the limit headers of one answer.

    Args:
        spent: in the order of `ordered`, not empty.
    """
    if form == "draft":
        return _draft(spent[:LIMITS_TOLD])
    prefix = _PREFIXES.get(form)
    return _single(prefix, spent[0]) if prefix is not None else ()


def _draft(spent: Sequence[Spent]) -> message.Headers:
    """Source: draft-ietf-httpapi-ratelimit-headers, versions 08 and later."""
    policies = ", ".join([f'"{b.limit}";q={_quota(b)};w={b.rate.window_s}' for b in spent])
    states = ", ".join([f'"{b.limit}";r={b.remaining};t={_reset_s(b)}' for b in spent])
    return (("ratelimit-policy", policies), ("ratelimit", states))


def _single(prefix: str, bucket: Spent) -> message.Headers:
    """Three numbers; the limit is the whole burst, so that never more remains.

    Reset is in seconds from now, as versions 00 to 06 of the draft and Envoy's own filter have it; no
    moment: clocks differ. Source: draft-ietf-httpapi-ratelimit-headers-06.
    """
    burst = int(_whole(bucket).burst_tokens)
    return (
        (f"{prefix}-limit", str(burst)),
        (f"{prefix}-remaining", str(min(bucket.remaining, burst))),
        (f"{prefix}-reset", str(_reset_s(bucket))),
    )


def _quota(bucket: Spent) -> int:
    """Whole tokens per window, at least one, as the operator wrote the rate."""
    rate = _whole(bucket)
    return max(1, round(rate.rate_per_s * rate.window_s))


def _whole(bucket: Spent) -> Rate:
    return bucket.rate.whole or bucket.rate


def _reset_s(bucket: Spent) -> int:
    """Seconds until there is room for what was refused, else until the bucket is full; rounded up."""
    return ceil(bucket.retry_ms / 1000) if bucket.retry_ms > 0 else bucket.full_s
