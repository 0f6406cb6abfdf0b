"""Moments as documents and people write them, and as everything here counts them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """Return a moment as microseconds since 1970, exactly: a float would round."""
    return (moment - EPOCH) // _MICROSECOND
