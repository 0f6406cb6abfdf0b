"""What is sent is gzip, the same each time."""

from __future__ import annotations

import gzip

from authz.shipping.packing import packed
from tests.support.batches import records


def test_what_was_packed_unpacks_to_the_same() -> None:
    for data in (b"", b"x", records(1, 500).lines):
        assert gzip.decompress(packed(data)) == data


def test_the_same_bytes_are_packed_alike_whenever() -> None:
    data = packed(records(1, 5).lines)
    assert data == packed(records(1, 5).lines)
    assert data[4:8] == b"\0\0\0\0"  # no time in it


def test_records_become_a_fifth_or_less() -> None:
    lines = records(1, 500).lines
    assert len(packed(lines)) * 5 < len(lines)
