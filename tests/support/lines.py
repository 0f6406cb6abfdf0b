"""Lines of records, as sidecars write them, and as nobody should."""

from __future__ import annotations

from pathlib import Path

from authz.record.notice import Why, event_line, gap_line

STREAM = "1a206ddce3eb2ca0"
_TIME_US = 1_795_411_530_000_000  # 2026-11-23T05:25:30Z
_LINE = (
    b'{"v":1,"time":"2026-11-23T05:25:%02d.%06dZ","decision_id":"%s","sidecar":"orders-7f","stream":"%s",'
    b'"seq":%d,"revision":"ee39c41b3f42","outcome":"%s","status":%d,"reason":"%s","policy":"orders",'
    b'"rule":"read","identity":{"kind":"api_key","provider":"partner-keys","subject":"9F09CEP7R6LT",'
    b'"key_id":"9F09CEP7R6LT","customer":"%s"},"request":{"method":"GET","host":"a.example.com","path":"%s",'
    b'"protocol":"HTTP/2","client_address":"203.0.113.7"},"duration_us":120}\n'
)


def decision_id(number: int) -> str:
    """The id of one of these decisions, of the millisecond in which they were made."""
    return f"01a206dd-d305-7cd3-bec7-{number:012x}"


def decision(
    number: int,
    outcome: str = "allow",
    status: int = 200,
    reason: str = "allowed",
    customer: str = "acme",
    path: str = "",
) -> bytes:
    """The line of a decision; each is a second and a microsecond after the one before it."""
    words = (
        outcome.encode(),
        status,
        reason.encode(),
        customer.encode(),
        (path or f"/orders/{number}").encode(),
    )
    second, us = divmod(number, 60)[1], number
    return _LINE % (second, us, decision_id(number).encode(), STREAM.encode(), number, *words)


def denied(number: int, reason: str = "rate_limited", status: int = 429) -> bytes:
    """The line of a refusal."""
    return decision(number, "deny", status, reason)


def gap(first: int, last: int, count: int, why: Why = Why.QUEUE_FULL, after_s: int = 0) -> bytes:
    """The line of a gap, noticed so long after the first decision."""
    return gap_line("orders-7f", STREAM, first, last, count, why, _TIME_US + after_s * 1_000_000)


def event(number: int) -> bytes:
    """The line of an event."""
    return event_line("policies_loaded", "orders-7f", STREAM, number, "ee39c41b3f42", {}, _TIME_US)


def written(path: Path, *lines: bytes) -> Path:
    """Write lines to a file."""
    path.write_bytes(b"".join(lines))
    return path
