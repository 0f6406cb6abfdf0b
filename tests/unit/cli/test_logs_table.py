"""Records as rows: as wide as the terminal, and nothing in them that it would obey."""

from __future__ import annotations

import pytest

from authz.cli.colour import coloured
from authz.cli.logs_table import UNBOUNDED, Table, gap_text
from authz.history.line import Entry, Found, read_line
from authz.record.notice import Why
from tests.support.lines import decision, decision_id, denied, event, gap

LONG = decision(5, "deny", 401, "credential_ambiguous", customer="c" * 60, path="/" + "p" * 300)


def found(*lines: bytes) -> list[Found]:
    entries = [(line, read_line(line)) for line in lines]
    return [Found(line, entry) for line, entry in entries if isinstance(entry, Entry)]


def plain(lines: list[str]) -> list[str]:
    red, yellow = coloured("|", "red").split("|"), coloured("|", "yellow").split("|")
    for code in {*red, *yellow}:
        lines = [line.replace(code, "") for line in lines]
    return lines


@pytest.mark.parametrize("columns", [40, 80, 99, 100, 120, 149, 150, 199, 200, 250])
def test_rows_are_no_wider_than_the_terminal(columns: int) -> None:
    table = Table(columns)
    lines = plain(list(table.lines(found(LONG, decision(1), gap(2, 900, 400), event(3)))))
    lines += plain(list(table.lines(found(LONG))))
    widest = max(map(len, lines))
    assert widest <= max(columns, 76)  # below that nobody has a terminal
    assert len(lines) == 6 + (columns < 200)


@pytest.mark.parametrize("columns", [80, 100, 150, 200])
def test_what_matters_is_in_every_row(columns: int) -> None:
    row = plain(list(Table(columns).lines(found(denied(7)))))[-1]
    for text in ("05:25:07", "429", "rate_limited", "acme", "GET", "/orders/7", decision_id(7)[-8:]):
        assert text in row


def test_no_reason_but_the_longest_is_cut_at_eighty_columns() -> None:
    rows = plain(list(Table(80).lines(found(LONG, denied(1, "no_matching_policy"), denied(2)))))
    assert "no_matching_policy" in rows[3]
    assert "GET /orders/2" in rows[4]


def test_in_a_pipe_nothing_is_cut() -> None:
    row = plain(list(Table(UNBOUNDED).lines(found(LONG))))[-1]
    assert row.startswith("2026-11-23 05:25:05.000")
    assert "p" * 300 in row
    assert "c" * 60 in row
    assert decision_id(5) in row


def test_a_day_is_named_where_the_clock_alone_is_shown() -> None:
    table = Table(80)
    other = decision(3).replace(b"2026-11-23", b"2026-11-24")
    lines = plain(list(table.lines(found(decision(1), decision(2), other))))
    assert [line for line in lines if line.startswith("--")] == [
        "-- 2026-11-23, UTC --",
        "-- 2026-11-24, UTC --",
    ]
    assert not [line for line in table.lines(found(other)) if line.startswith("--")]


def test_refusals_and_gaps_stand_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    rows = list(Table(200).lines(found(decision(1), denied(2), gap(3, 3, 1))))
    assert [row.startswith("\x1b") for row in rows] == [False, False, True, True]


def test_terminal_codes_are_escapes() -> None:
    hostile = decision(1, reason="\x9b31m", customer="\\u001b[2J", path="/\u202e\x7f")
    gone = gap(2, 3, 2).replace(b"orders-7f", b"\\u001b[1m")
    happened = event(3).replace(b"policies_loaded", b"\\u0007")
    for columns in (80, 120, 160, 200):
        for row in plain(list(Table(columns).lines(found(hostile, gone, happened)))):
            assert row.isprintable(), row


def test_who_asked_is_said_as_well_as_it_is_known() -> None:
    def who(part: bytes, columns: int = 80) -> str:
        line = b'{"v":1,"time":"2026-11-23T05:25:00.000000Z","outcome":"deny","status":401%s}' % part
        return plain(list(Table(columns).lines(found(line))))[-1].split()[3 if columns == 80 else 5]

    assert who(b',"reason":"r","identity":{"kind":"jwt","subject":"sub"}') == "sub"
    assert who(b',"reason":"r","identity":{"kind":"anonymous"}') == "anonymous"
    assert who(b',"reason":"r","identity":{"kind":"api_key","key_id":"k1"}') == "k1"
    assert who(b',"reason":"r","request":{"client_address":"192.0.2.1"}') == "192.0.2.1"
    assert who(b',"reason":"r"') == "-"


def test_many_checks_that_were_refused_as_one_are_told() -> None:
    line = denied(1).replace(b'"duration_us":120', b'"duration_us":120,"count":40')
    assert "(and 39 more, refused unread)" in next(iter(plain(list(Table(200).lines(found(line)))[1:])))


def test_an_event_says_what_is_known_of_it() -> None:
    line = event(3).replace(b'"revision"', b'"about":{"policies":"3","by":"acme"},"revision"')
    row = next(Table(200).lines(found(line)))
    assert row.endswith("-- policies_loaded at orders-7f: policies=3, by=acme --")


def test_a_gap_says_what_is_known() -> None:
    (one,) = found(gap(7, 7, 1, Why.KILLED))
    assert gap_text(one.entry) == (
        "-- at most 1 record of orders-7f is missing here: killed (stream 1a206ddce3eb2ca0, 7) --"
    )
