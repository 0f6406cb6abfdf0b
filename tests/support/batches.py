"""Batches of records, as a shipper hands them to a sink."""

from __future__ import annotations

from authz.shipping.delivery import Batch

STREAM = "0019a1b2c3d40001"
TIME_US = 1_795_000_000_000_000  # 2026-11-18T11:06:40Z


def record_line(seq: int, stream: str = STREAM, outcome: str = "allow") -> bytes:
    """Return the line of a decision, which is about 220 bytes."""
    return (
        b'{"v":1,"time":"2026-11-18T11:06:40.%06dZ","decision_id":"019aaaaa-bbbb-7ccc-8ddd-%012x",'
        b'"sidecar":"pod-a","stream":"%s","seq":%d,"outcome":"%s","status":200,"reason":"allowed",'
        b'"policy":"items","rule":"read"}\n'
    ) % (seq % 1_000_000, seq, stream.encode(), seq, outcome.encode())


def batch_of(*lines: bytes, first_seq: int = 1, stream: str = STREAM) -> Batch:
    """Return a batch of these lines, each of which has a seq."""
    return Batch(stream, b"".join(lines), len(lines), first_seq, first_seq + len(lines) - 1, TIME_US)


def records(first_seq: int, last_seq: int, stream: str = STREAM) -> Batch:
    """Return a batch of decisions, these two among them."""
    lines = [record_line(seq, stream) for seq in range(first_seq, last_seq + 1)]
    return batch_of(*lines, first_seq=first_seq, stream=stream)
