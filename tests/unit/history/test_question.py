"""What fits a question."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from authz.history.line import Asked, Entry, Kind, Who, read_line
from authz.history.question import Question, chosen, fits_path, moment_of, statuses
from authz.model.errors import ConfigError
from authz.model.reason import Reason
from authz.record.notice import Why
from authz.record.pseudonym import pseudonym
from tests.support.lines import decision, denied, event, gap

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def read(line: bytes) -> Entry:
    entry = read_line(line)
    assert isinstance(entry, Entry)
    return entry


@pytest.mark.parametrize(
    ("asked", "other"),
    [
        ({"outcome": "deny"}, {"outcome": "allow"}),
        ({"reasons": frozenset({"rate_limited", "guarded"})}, {"reasons": frozenset({"guarded"})}),
        ({"statuses": frozenset({"429"})}, {"statuses": frozenset({"403"})}),
        ({"statuses": frozenset({"4xx"})}, {"statuses": frozenset({"5xx"})}),
        ({"policy": "orders"}, {"policy": "order"}),
        ({"rule": "read"}, {"rule": "write"}),
        ({"rule": "orders/read"}, {"rule": "other/read"}),
        ({"key": "9F09CEP7R6LT"}, {"key": "9f09cep7r6lt"}),
        ({"customer": "acme"}, {"customer": "acm"}),
        ({"address": "203.0.113.7"}, {"address": "203.0.113.70"}),
        ({"method": "GET"}, {"method": "PUT"}),
        ({"host": "a.example.com"}, {"host": "b.example.com"}),
        ({"path": "/orders/7"}, {"path": "/orders"}),
        ({"path": "/orders/**"}, {"path": "/order/**"}),
        ({"sidecar": "orders-7f"}, {"sidecar": "orders"}),
        ({"since": "2026-11-23T05:25:07"}, {"since": "2026-11-23T05:25:08"}),
        ({"until": "2026-11-23T05:25:08"}, {"until": "2026-11-23T05:25:07"}),
        ({"kinds": frozenset({Kind.DECISION})}, {"kinds": frozenset({Kind.EVENT, Kind.GAP})}),
        ({}, {"request_id": "r"}),
        ({}, {"trace_id": "t"}),
        ({}, {"details": frozenset({"key_expired"})}),
    ],
)
def test_what_is_asked_must_hold(asked: dict[str, Any], other: dict[str, Any]) -> None:
    line = read(denied(7))
    assert Question(**asked).fits(line)
    assert not Question(**other).fits(line)
    assert not Question(**{**asked, **other}).fits(line)


def test_of_who_was_not_proven_and_what_was_not_read_nothing_fits() -> None:
    bare = read(b'{"v":1,"outcome":"deny"}')
    assert Question(outcome="deny").fits(bare)
    assert not Question(customer="acme").fits(bare)
    assert not Question(path="/").fits(bare)


def test_gaps_are_shown_whatever_is_asked_of_decisions() -> None:
    line = read(gap(1, 9, 5))
    assert Question(customer="nobody", statuses=frozenset({"429"})).fits(line)
    assert not Question(kinds=frozenset({Kind.DECISION})).fits(line)
    assert not Question(sidecar="another").fits(line)


def test_a_gap_of_another_time_is_not_shown() -> None:
    line = read(gap(1, 9, 5, Why.KILLED))  # noticed at 05:25:30 in a stream that began a second before
    assert not Question(since="2026-11-23T05:25:31").fits(line)
    assert Question(until="2026-11-23T05:25:29.5").fits(line)  # they may have been made before that
    assert not Question(until="2026-11-23T05:20:00").fits(line)  # their process had not begun


def test_a_gap_of_a_strange_stream_is_shown() -> None:
    line = read(gap(1, 9, 5).replace(b'"stream":"1a206ddce3eb2ca0"', b'"stream":"zz"'))
    assert Question(until="2026-11-23T05:20:00").fits(line)


def test_events_are_shown_where_nothing_of_decisions_is_asked() -> None:
    assert Question().fits(read(event(1)))
    assert not Question(customer="acme").fits(read(event(1)))


def test_what_belongs_to_chains_is_not_shown() -> None:
    assert not Question().fits(read(b'{"v":1,"kind":"checkpoint"}'))


@pytest.mark.parametrize(
    ("path", "wanted", "fits"),
    [
        ("/a", "/a", True),
        ("/a/b", "/a", False),
        ("/a", "/a/**", True),
        ("/a/b", "/a/**", True),
        ("/ab", "/a/**", False),
        ("/ab", "/a*", True),
        ("/a/b/c", "/a/*", True),
        ("/", "/**", True),
        ("/x", "/**", True),
        ("/x", "*", True),
        ("/a*", "/a*", True),
    ],
)
def test_paths(path: str, wanted: str, fits: bool) -> None:
    assert fits_path(path, wanted) is fits


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("", ""),
        ("15m", "2026-11-23T11:45:00.000000Z"),
        ("2h", "2026-11-23T10:00:00.000000Z"),
        ("90s", "2026-11-23T11:58:30.000000Z"),
        ("1w", "2026-11-16T12:00:00.000000Z"),
        ("999999999w", "1970-01-01T00:00:00.000000Z"),
        ("2026-06-01T12:00:00Z", "2026-06-01T12:00:00.000000Z"),
        ("2026-06-01T12:00:00.5+02:00", "2026-06-01T10:00:00.500000Z"),
    ],
)
def test_times(text: str, moment: str) -> None:
    assert moment_of("--since", text, NOW) == moment


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("yesterday", "is no time"),
        ("2026-06-01T12:00:00", "says no zone"),
        ("5y", "is no time"),
        ("-5m", "is no"),
    ],
)
def test_what_is_no_time_is_refused(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        moment_of("--since", text, NOW)


def test_words_of_a_closed_list() -> None:
    assert chosen("--reason", ["guarded", "guarded"], list(Reason)) == {"guarded"}
    with pytest.raises(ConfigError, match="did you mean `rate_limited`") as caught:
        chosen("--reason", ["rate_limted"], list(Reason))
    assert "credential_missing" in str(caught.value)
    with pytest.raises(ConfigError, match=r"no `\\x1b\[1m`; there are"):
        chosen("--reason", ["\x1b[1m"], list(Reason))


def test_statuses() -> None:
    assert statuses("--status", ["429", "5xx"]) == {"429", "5xx"}
    for wrong in ("42", "4x", "600", "abc"):
        with pytest.raises(ConfigError, match="is no status"):
            statuses("--status", [wrong])


def test_a_question_is_a_value() -> None:
    assert replace(Question(), outcome="deny").of_decisions
    assert not Question(since="x", sidecar="y").of_decisions
    assert Question(reasons=frozenset({"allowed"})).fits(read(decision(1)))


def test_a_name_is_found_where_it_stands_as_a_pseudonym() -> None:
    key = b"0123456789abcdef0123456789abcdef"
    asked: dict[str, Any] = {"key": "k7", "customer": "acme", "address": "10.0.0.1"}
    names = {"key": "key_id", "customer": "customer", "address": "client_address"}
    shown: dict[str, Any] = {name: pseudonym(key, field, asked[name]) for name, field in names.items()}
    line = Entry(
        v=1,
        identity=Who(key_id=shown["key"], customer=shown["customer"]),
        request=Asked(client_address=shown["address"]),
    )
    for name, text in asked.items():
        assert Question(pseudonym_key=key, **{name: text}).fits(line), name
        assert Question(**{name: shown[name]}).fits(line), name
        assert not Question(**{name: text}).fits(line), name
        assert not Question(pseudonym_key=key, **{name: text + "x"}).fits(line), name
    nobody = Entry(v=1, identity=Who(), request=Asked())
    assert not Question(pseudonym_key=key, customer="acme").fits(nobody)
    assert not Question(pseudonym_key=key).of_decisions
    assert "0123" not in repr(Question(pseudonym_key=key))
