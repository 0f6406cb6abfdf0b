"""Counts, findings, and how to repeat them, without a secret in any of it."""

from __future__ import annotations

import json

import pytest

from authz.attack.aim import Aim
from authz.attack.case import (
    Ask,
    Broken,
    Case,
    Expect,
    Fields,
    Frames,
    Held,
    Input,
    Message,
    Outcome,
    Raw,
    Result,
    Severity,
    Skipped,
    Wire,
)
from authz.attack.report import Report, report

AIM = Aim(b"a.test", b"/admin", token=b"good-secret")
ASK = Ask(b"/x/../admin")
BROKEN = Broken(Severity.HIGH, "it was allowed with good-secret")


def _result(outcome: Outcome, given: Input = ASK, wire: Wire = Wire.HTTP1, group: str = "dots") -> Result:
    return Result(Case("n", group, (given,), Expect.REFUSED, "why", "CVE-2019-9901"), wire, outcome)


def _report(*results: Result) -> Report:
    return report(results, AIM, "http://127.0.0.1:1", 7, 1.5)


def test_each_class_is_counted() -> None:
    told = _report(
        _result(Held()), _result(BROKEN), _result(Skipped("needs --check")), _result(Held(), group="hosts")
    )
    assert [tuple(row) for row in told.rows] == [("dots", 1, 1, 1), ("hosts", 1, 0, 0)]
    assert (told.held, len(told.findings), dict(told.unasked)) == (2, 1, {"needs --check": 1})
    assert told.whole


def test_a_run_is_whole_only_if_something_was_tried_and_the_time_was_enough() -> None:
    assert not _report().whole
    assert not _report(_result(Skipped("needs --check"))).whole
    assert not _report(_result(Held()), _result(Skipped("the budget of 1 s ran out"))).whole


@pytest.mark.parametrize(
    ("given", "wire", "repeat"),
    [
        (Ask(b"/x/../a"), Wire.HTTP1, "curl -i --globoff --path-as-is -H 'host: a.test' http://127.0.0.1:1/x/../a"),
        (
            Ask(b"/a?b", b"POST", b"h", ((b"x", b"good-secret"), (b"y", b""))),
            Wire.HTTP2,
            "curl -i --globoff --path-as-is --http2-prior-knowledge -X POST -H 'host: h' -H 'x: <credential>'"
            " -H 'y;' 'http://127.0.0.1:1/a?b'",
        ),
        (Ask(b"/a b\xff", headers=((b"x", b"\0"),)), Wire.HTTP1, "GET /a b\\xff host: a.test, x: \\x00"),
        (Ask(b"/a"), Wire.RAW, "GET /a host: a.test"),
        (Raw(b"GET /\r\n"), Wire.HTTP1, "bytes: GET /\\r\\n"),
        (Fields(((b":path", b"/\n"),)), Wire.HTTP2, ":path: /\\n"),
        (Message(b"\x0a\xff"), Wire.RAW, "CheckRequest: \\n\\xff"),
        (Frames(b"\0", streams=3), Wire.FRAMES, "3 stream(s) of: \\x00"),
    ],
)  # fmt: skip
def test_a_finding_says_how_to_repeat_it(given: Input, wire: Wire, repeat: str) -> None:
    (finding,) = _report(_result(BROKEN, given, wire)).findings
    assert finding.repeat == repeat


def test_a_run_in_which_nothing_could_pass_says_so() -> None:
    assert _report(_result(Held())).grounded
    assert not report([_result(Held())], Aim(b"a.test", b"/admin"), "", 1, 0.0).grounded


def test_no_secret_is_in_a_report_and_long_inputs_are_cut() -> None:
    told = _report(_result(BROKEN, Ask(b"/" + b"a" * 5000, headers=((b"x", b"good-secret"),))))
    text = json.dumps(told.as_json())
    assert "good-secret" not in text
    assert len(text) < 4000
    assert json.loads(text)["findings"][0]["what"] == "it was allowed with <credential>"


def test_the_worst_comes_first() -> None:
    low = Broken(Severity.LOW, "slow")
    told = _report(_result(low), _result(BROKEN, group="hosts"), _result(BROKEN))
    assert [(each.severity, each.group) for each in told.findings] == [
        ("high", "dots"),
        ("high", "hosts"),
        ("low", "dots"),
    ]
