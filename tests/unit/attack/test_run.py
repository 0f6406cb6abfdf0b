"""Which cases are tried, which are not and why, and what a target must be before any is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from authz.attack.aim import Aim
from authz.attack.case import (
    Answer,
    Ask,
    Broken,
    Case,
    Expect,
    Fields,
    Frames,
    Held,
    Input,
    Need,
    Result,
    Seen,
    Severity,
    Skipped,
    Verdict,
    Wire,
)
from authz.attack.run import Pace, preflight, run
from authz.model.errors import NotStarted

PACE = Pace(10, 2)
AIM = Aim(b"a.test", b"/admin", open=b"/public", token=b"good")
NO = Answer(Verdict.REFUSED, 403, "status 403")
YES = Answer(Verdict.ALLOWED, 200, "status 200", seen=(Seen(b"/public"),))


class FakeDoor:
    """Answers as a function says, and remembers what was sent."""

    def __init__(self, answer: Callable[[Input], Answer] = lambda _given: NO) -> None:
        self._answer = answer
        self.sent: list[Input] = []

    def send(self, given: Input) -> Answer:
        self.sent.append(given)
        return self._answer(given)


def _honest(given: Input) -> Answer:
    assert isinstance(given, Ask)
    return YES if given.path == b"/public" or (b"x-api-key", b"good") in given.headers else NO


def _case(*inputs: Input, expect: Expect = Expect.REFUSED, needs: frozenset[Need] = frozenset()) -> Case:
    return Case("n", "dots", inputs or (Ask(b"/admin"),), expect, "why", needs=needs)


def _run(
    case: Case,
    aim: Aim = AIM,
    pace: Pace = PACE,
    *,
    echo: bool = True,
    doors: Mapping[Wire, FakeDoor] | None = None,
    **named: FakeDoor,
) -> list[Result]:
    there = {**(doors or {}), **{Wire[name]: door for name, door in named.items()}}
    return run([case], there, aim, pace, echo=echo)


def test_a_case_is_tried_on_every_wire_that_carries_it() -> None:
    results = _run(_case(), HTTP1=FakeDoor(), RAW=FakeDoor(lambda _given: YES), FRAMES=FakeDoor())
    told = {result.wire: type(result.outcome) for result in results}
    assert told == {Wire.HTTP1: Held, Wire.RAW: Broken}


def test_a_wire_that_is_not_there_is_said() -> None:
    (result,) = _run(_case(Fields(())), RAW=FakeDoor())
    assert result.outcome == Skipped("needs Envoy, over that version of HTTP (--envoy)")
    (result,) = _run(_case(Frames()), HTTP1=FakeDoor())
    assert result.outcome == Skipped("needs --check")
    (result,) = _run(_case(Frames()), RAW=FakeDoor())
    assert result.outcome == Skipped("needs the library `h2` (`pip install h2`)")


@pytest.mark.parametrize(
    ("need", "aim", "wire", "skipped"),
    [
        (Need.KEY, replace(AIM, token=b""), "RAW", True),
        (Need.OPEN, replace(AIM, open=b""), "RAW", True),
        (Need.ECHO, AIM, "HTTP1", True),
        (Need.ECHO, AIM, "RAW", False),
        (Need.KEY, AIM, "RAW", False),
    ],
)
def test_what_a_case_needs_must_be_there(need: Need, aim: Aim, wire: str, skipped: bool) -> None:
    (result,) = _run(_case(needs=frozenset({need})), aim, echo=False, doors={Wire[wire]: FakeDoor()})
    assert isinstance(result.outcome, Skipped) is skipped


def test_when_the_time_is_up_nothing_more_is_sent() -> None:
    door = FakeDoor()
    (result,) = _run(_case(), pace=Pace(-1, 1), RAW=door)
    assert result.outcome == Skipped("the budget of -1 s ran out")
    assert door.sent == []


def test_what_may_hurt_comes_last_and_an_honest_call_after_it() -> None:
    raw, frames = FakeDoor(), FakeDoor()
    rough = _case(Frames(), expect=Expect.UNPASSED)
    told: list[Result] = []
    doors = {Wire.RAW: raw, Wire.FRAMES: frames}
    results = run([rough, _case()], doors, AIM, Pace(10, 2), echo=False, tell=told.append)
    assert results == told
    assert [result.wire for result in results] == [Wire.RAW, Wire.FRAMES]
    assert len(raw.sent) == 2
    assert isinstance(results[1].outcome, Held)


def test_a_target_that_is_dead_afterwards_is_a_finding() -> None:
    dead = FakeDoor(lambda _given: Answer(Verdict.FAILED, note="gone"))
    (result,) = _run(_case(Frames(), expect=Expect.UNPASSED), RAW=dead, FRAMES=FakeDoor())
    assert isinstance(result.outcome, Broken)
    assert result.outcome.severity is Severity.HIGH
    assert "gone" in result.outcome.what
    (result,) = _run(_case(Frames(), expect=Expect.UNPASSED), FRAMES=FakeDoor())
    assert isinstance(result.outcome, Held)


def test_a_limit_is_tried_with_all_calls_at_once() -> None:
    case = replace(_case(*(Ask(b"/limited"),) * 20, expect=Expect.AT_MOST), most=5)
    (result,) = _run(case, RAW=FakeDoor(lambda _given: YES))
    assert isinstance(result.outcome, Broken)
    assert len(result.answers) == 20


def test_a_target_that_is_what_we_were_told_may_be_attacked() -> None:
    preflight({Wire.HTTP1: FakeDoor(_honest), Wire.FRAMES: FakeDoor()}, AIM, echo=True)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda _given: YES, "`/admin` is allowed without a credential"),
        (lambda _given: Answer(Verdict.SILENT), "gives no plain answer"),
        (lambda _given: NO, "the open path `/public` is not allowed"),
        (lambda given: YES if given.path == b"/public" else NO, "with the good credential is not allowed"),
        (
            lambda given: replace(_honest(given), seen=()) if _honest(given) is YES else NO,
            "does not answer with JSON",
        ),
    ],
)
def test_a_target_that_is_not_is_named(answer: Callable[[Input], Answer], words: str) -> None:
    with pytest.raises(NotStarted, match=words):
        preflight({Wire.HTTP1: FakeDoor(answer)}, AIM, echo=True)


def test_one_form_of_a_check_that_passes_is_enough_to_begin() -> None:
    preflight({Wire.RAW: FakeDoor(), Wire.JOINED: FakeDoor(_honest)}, AIM, echo=False)
