"""From what came back to whether a case holds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from authz.attack.aim import Aim
from authz.attack.case import (
    Answer,
    Ask,
    Broken,
    Case,
    Expect,
    Fields,
    Held,
    Input,
    Message,
    Outcome,
    Seen,
    Severity,
    Skipped,
    Verdict,
)
from authz.attack.verdict import judge, printable

AIM = Aim(b"a.test", b"/admin")
ASK = Ask(b"/x")
YES = Answer(Verdict.ALLOWED, 200)
NO = Answer(Verdict.REFUSED, 403)
ERROR = Answer(Verdict.FAILED, note="gRPC error INTERNAL")
SILENCE = Answer(Verdict.SILENT)


def _judged(expect: Expect, *answers: Answer, given: Input = ASK, **more: object) -> Outcome:
    case = Case("n", "dots", (given,) * len(answers), expect, "why", **more)  # type: ignore[arg-type] # of a test
    return judge(case, answers, AIM)


def _severity(outcome: Outcome) -> Severity | None:
    return outcome.severity if isinstance(outcome, Broken) else None


@pytest.mark.parametrize(
    ("expect", "answers", "severity"),
    [
        (Expect.REFUSED, [NO], None),
        (Expect.REFUSED, [YES], Severity.HIGH),
        (Expect.REFUSED, [ERROR], Severity.LOW),
        (Expect.REFUSED, [SILENCE], Severity.LOW),
        (Expect.ANSWERED, [YES], None),
        (Expect.ANSWERED, [NO], None),
        (Expect.ANSWERED, [SILENCE], Severity.LOW),
        (Expect.UNPASSED, [ERROR], None),
        (Expect.UNPASSED, [SILENCE], None),
        (Expect.UNPASSED, [YES], Severity.HIGH),
        (Expect.AGREED, [YES, YES], None),
        (Expect.AGREED, [NO, NO], None),
        (Expect.AGREED, [NO, YES], Severity.HIGH),
        (Expect.AGREED, [NO, Answer(Verdict.REFUSED, 401)], Severity.LOW),
        (Expect.AGREED, [ERROR, ERROR], Severity.LOW),
        (Expect.ALIKE, [NO, NO], None),
        (Expect.ALIKE, [NO, YES], Severity.HIGH),
        (Expect.ALIKE, [NO, Answer(Verdict.REFUSED, 401)], Severity.LOW),
    ],
)
def test_what_was_expected_holds_and_nothing_else(
    expect: Expect, answers: Sequence[Answer], severity: Severity | None
) -> None:
    assert _severity(_judged(expect, *answers)) is severity


def test_strictness_is_less_grave_than_a_hole() -> None:
    assert _severity(_judged(Expect.REFUSED, YES, grave=False)) is Severity.LOW


@pytest.mark.parametrize(
    ("sent", "seen", "kind"),
    [
        (b"/x/..%2fadmin", b"/x/..%2fadmin", Broken),
        (b"/x/../admin", b"/x/../admin", Broken),
        (b"/admin/../public", b"/public", Held),
        (b"/public", b"/public", Held),
        (b"/public", b"/admin", Broken),
    ],
)
def test_what_the_upstream_saw_decides(sent: bytes, seen: bytes, kind: type[Outcome]) -> None:
    answer = Answer(Verdict.ALLOWED, 200, seen=(Seen(b"/ok"), Seen(seen)))
    assert isinstance(_judged(Expect.SHIELDED, answer, given=Ask(sent)), kind)


@pytest.mark.parametrize(
    ("sent", "kind"),
    [(b"/x/%2e%2e/admin", Broken), (b"/admin/../public", Skipped), (b"/public", Held)],
)
def test_where_nobody_tells_what_it_saw_the_request_decides_as_far_as_it_can(
    sent: bytes, kind: type[Outcome]
) -> None:
    assert isinstance(_judged(Expect.SHIELDED, YES, given=Ask(sent)), kind)
    assert isinstance(_judged(Expect.SHIELDED, YES, given=Fields(((b":path", sent),))), kind)


def test_of_several_requests_the_broken_one_counts() -> None:
    case = Case("n", "dots", (Ask(b"/admin/../x"), Ask(b"//admin")), Expect.SHIELDED, "why")
    assert isinstance(judge(case, (YES, YES), AIM), Broken)
    assert isinstance(judge(case, (YES, NO), AIM), Skipped)
    assert isinstance(_judged(Expect.SHIELDED, YES, given=Message(b"")), Held)


def test_what_was_forged_must_not_arrive_and_what_was_set_must() -> None:
    clean = Answer(Verdict.ALLOWED, 200, seen=(Seen(b"/a", ((b"x-user", b"acme"),)),))
    assert isinstance(_judged(Expect.CLEAN, clean, forbidden=(b"root",), required=(b"x-user",)), Held)
    assert isinstance(_judged(Expect.CLEAN, clean, forbidden=(b"acme",)), Broken)
    missing = _judged(Expect.CLEAN, clean, required=(b"x-tenant",))
    assert missing == Broken(Severity.HIGH, "the upstream did not get `x-tenant`")
    assert isinstance(_judged(Expect.CLEAN, NO, forbidden=(b"root",)), Held)


def test_a_limit_lets_so_many_pass_and_no_more() -> None:
    assert isinstance(_judged(Expect.AT_MOST, YES, YES, NO, most=2), Held)
    assert _judged(Expect.AT_MOST, YES, YES, YES, most=2) == Broken(
        Severity.HIGH, "3 of 3 passed where 2 may"
    )


def _told(body: bytes, *headers: tuple[str, str]) -> Answer:
    return Answer(Verdict.REFUSED, 401, headers=headers, body=body)


def test_ids_and_times_do_not_make_answers_unlike() -> None:
    one = _told(b'{"id": "0190b5e0-1234-7abc-8def-0123456789ab"}', ("date", "a"), ("x-request-id", "1"))
    two = _told(b'{"id": "0190b5e0-9999-7abc-8def-ba9876543210"}', ("date", "b"), ("x-envoy-x", "2"))
    assert isinstance(_judged(Expect.ALIKE, one, two), Held)


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (_told(b"revoked"), "body"),
        (_told(b"no", ("x-why", "revoked")), "names of headers"),
        (Answer(Verdict.REFUSED, 403, body=b"no"), "status"),
    ],
)
def test_anything_else_does(other: Answer, what: str) -> None:
    outcome = _judged(Expect.ALIKE, _told(b"no"), other)
    assert isinstance(outcome, Broken)
    assert what in outcome.what


def test_nothing_that_a_terminal_would_obey_is_printed() -> None:
    assert printable(b"a\x1b[2J\nb\xff") == "a\\x1b[2J\\nb\\xff"
    assert printable("é\udcff") == "\\xc3\\xa9\\xff"
