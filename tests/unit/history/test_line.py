"""Lines read, and those that cannot be."""

from __future__ import annotations

import pytest

from authz.history.line import LINE_MAX_BYTES, Entry, Kind, Place, kind_of, read_line, read_lines
from authz.record.fields import VERSION
from tests.support.lines import decision, denied, event, gap


def test_a_decision_is_read() -> None:
    entry = read_line(denied(7).rstrip())
    assert isinstance(entry, Entry)
    assert (entry.outcome, entry.status, entry.reason, entry.seq) == ("deny", 429, "rate_limited", 7)
    assert entry.identity is not None
    assert entry.identity.customer == "acme"
    assert entry.request is not None
    assert entry.request.path == "/orders/7"


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (decision(1), Kind.DECISION),
        (gap(1, 2, 2), Kind.GAP),
        (event(1), Kind.EVENT),
        (b'{"v":1,"kind":"checkpoint"}', Kind.OTHER),
    ],
)
def test_what_a_line_is(line: bytes, kind: Kind) -> None:
    entry = read_line(line)
    assert isinstance(entry, Entry)
    assert kind_of(entry) is kind


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"not json", "no JSON"),
        (decision(1)[:100], "no JSON"),
        (b'{"v":1,"time":"\x1b"}', "no JSON"),
        (b'{"v":1,"time":"\xff"}', "no JSON"),
        (b'{"v":1,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "no JSON"),
        (b"[1]", "no record"),
        (b'{"v":1,"time":5}', "no record"),
        (b'{"foo":1}', "no record"),
        (b'{"v":2,"time":"x"}', "version 2, and this authz reads 1"),
        (b'{"v":1,"time":"' + b"x" * LINE_MAX_BYTES + b'"}', "longer than 1 MiB"),
    ],
)
def test_what_cannot_be_read_says_why(line: bytes, why: str) -> None:
    said = read_line(line)
    assert isinstance(said, str)
    assert why in said


def test_whole_lines_are_read_at_once_or_not_at_all() -> None:
    entries = read_lines(decision(1) + gap(2, 3, 2))
    assert entries is not None
    assert [entry.seq for entry in entries] == [1, -1]
    assert read_lines(decision(1) + b"x\n") is None
    assert read_lines(decision(1) + b"\n") is None  # lines could not be told apart by their number
    assert read_lines(decision(1).rstrip() + decision(2)) is None


def test_places_are_lines_or_bytes() -> None:
    assert str(Place("f", 3)) == "f, line 3"
    assert str(Place("f", byte=0)) == "f, byte 0"
    assert str(Place("f")) == "f"


def test_it_reads_the_version_that_is_written() -> None:
    assert isinstance(read_line(b'{"v":%d}' % VERSION), Entry)
