"""Trying a suite: every case over every wire that is there, within a budget of time.

A few at a time, since the point is what a target answers and not how much it bears. Cases that may hurt it
come last and one by one, each followed by an honest request: a target that does not answer it is dead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from authz.attack.aim import Aim
from authz.attack.case import (
    CHECKS,
    HTTP,
    Answer,
    Ask,
    Broken,
    Case,
    Expect,
    Frames,
    Held,
    Need,
    Outcome,
    Result,
    Severity,
    Skipped,
    Verdict,
    Wire,
)
from authz.attack.doors import Door
from authz.attack.verdict import judge
from authz.model.errors import NotStarted

_AT_ONCE = 64  # tasks handed to the threads at a time


@dataclass(frozen=True, slots=True)
class Pace:
    """How much may be asked of a target, and of our patience.

    Args:
        budget_s: the whole run; what is left then is skipped, and the report says so.
        jobs: cases under way at once.
    """

    budget_s: float = 120.0
    jobs: int = 8


Doors = Mapping[Wire, Door]


def preflight(doors: Doors, aim: Aim, *, echo: bool) -> None:
    """Look whether the target is what we were told: else every result would mean something else.

    Raises:
        NotStarted: it cannot be reached, or a plain request is not answered as it must be.
    """
    for wire, door in doors.items():
        if wire is not Wire.FRAMES:
            _reached(wire, door.send(Ask(aim.protected)), aim)
    if aim.open:
        what, advice = f"the open path `{_text(aim.open)}`", "name one that needs no credential"
        _must_pass(doors, Ask(aim.open), what, advice, echo=echo)
    if aim.token:
        what = f"`{_text(aim.protected)}` with the good credential"
        advice = "look at --key, --key-in, --host and --protected"
        _must_pass(doors, aim.presenting(aim.token), what, advice, echo=echo)


def _reached(wire: Wire, answer: Answer, aim: Aim) -> None:
    if answer.verdict is Verdict.ALLOWED:
        raise NotStarted(
            f"{wire.value}: `{_text(aim.protected)}` is allowed without a credential ({answer.note}):"
            " nothing guards it, or another path or --host needs one; mend the target, or name those"
        )
    if answer.verdict is not Verdict.REFUSED:
        raise NotStarted(
            f"{wire.value}: the target gives no plain answer ({answer.note or answer.verdict.value});"
            " look whether it runs and whether the address is right"
        )


def _must_pass(doors: Doors, ask: Ask, what: str, advice: str, *, echo: bool) -> None:
    """Of the two forms of a check one is enough: that the other is judged otherwise is for a case to find."""
    answers = {wire: door.send(ask) for wire, door in doors.items() if wire is not Wire.FRAMES}
    checked = any(answer.verdict is Verdict.ALLOWED for wire, answer in answers.items() if wire in CHECKS)
    for wire, answer in answers.items():
        if answer.verdict is not Verdict.ALLOWED and not (checked and wire in CHECKS):
            told = answer.status or answer.note or answer.verdict.value
            raise NotStarted(f"{wire.value}: {what} is not allowed ({told}); {advice}")
        _must_echo(wire, answer, echo=echo)


def _must_echo(wire: Wire, answer: Answer, *, echo: bool) -> None:
    if echo and wire in HTTP and not answer.seen:
        raise NotStarted(
            f"{wire.value}: the upstream does not answer with JSON that has `method`, `path` and `headers`;"
            " leave --echo out"
        )


def run(
    cases: Iterable[Case],
    doors: Doors,
    aim: Aim,
    pace: Pace,
    *,
    echo: bool,
    tell: Callable[[Result], None] = lambda _result: None,
) -> list[Result]:
    """Try cases and return what came of each on each wire."""
    tried = _Trial(doors, aim, pace, echo=echo)
    results: list[Result] = []
    gentle, rough = _sorted(cases)
    with ThreadPoolExecutor(pace.jobs, thread_name_prefix="attack") as pool:
        for batch in _batches(_tasks(gentle, tried)):
            for found in pool.map(lambda task: tried.attempt(*task), batch):
                results.append(found)
                tell(found)
    for case, wire in _tasks(rough, tried):
        found = tried.attempt(case, wire)
        results.append(found)
        tell(found)
    return results


def _sorted(cases: Iterable[Case]) -> tuple[list[Case], list[Case]]:
    """Part the cases from those that may leave a target hurt, or that count what others spend."""
    gentle: list[Case] = []
    rough: list[Case] = []
    for case in cases:
        hurts = case.expect is Expect.AT_MOST or any(isinstance(each, Frames) for each in case.inputs)
        (rough if hurts else gentle).append(case)
    return gentle, rough


def _tasks(cases: Iterable[Case], tried: _Trial) -> Iterator[tuple[Case, Wire | None]]:
    for case in cases:
        wires = tried.wires(case)
        yield from ((case, wire) for wire in wires or (None,))


def _batches(tasks: Iterator[tuple[Case, Wire | None]]) -> Iterator[list[tuple[Case, Wire | None]]]:
    while batch := list(islice(tasks, _AT_ONCE)):
        yield batch


class _Trial:
    """What a run knows: the doors, the time that is left."""

    def __init__(self, doors: Doors, aim: Aim, pace: Pace, *, echo: bool) -> None:
        self._doors = doors
        self._aim = aim
        self._echo = echo
        self._jobs = pace.jobs
        self._budget_s = pace.budget_s
        self._end = time.monotonic() + pace.budget_s

    def wires(self, case: Case) -> Sequence[Wire]:
        """Return the wires that are there and that a case fits."""
        return [wire for wire in self._doors if case.fits(wire)]

    def attempt(self, case: Case, wire: Wire | None) -> Result:
        """Try a case on one wire; `None` stands for a wire that is not there."""
        reason = self._missing(case, wire)
        if reason or wire is None:
            return Result(case, wire, Skipped(reason))
        door = self._doors[wire]
        if case.expect is Expect.AT_MOST:
            with ThreadPoolExecutor(self._jobs) as pool:
                answers = tuple(pool.map(door.send, case.inputs))
        else:
            answers = tuple(door.send(given) for given in case.inputs)
        outcome = judge(case, answers, self._aim)
        return Result(case, wire, self._alive(case, outcome), answers)

    def _missing(self, case: Case, wire: Wire | None) -> str:
        if wire is None:
            envoy = any(case.fits(each) for each in HTTP)
            frames = Wire.RAW in self._doors and case.fits(Wire.FRAMES)
            check = "needs the library `h2` (`pip install h2`)" if frames else "needs --check"
            return "needs Envoy, over that version of HTTP (--envoy)" if envoy else check
        if time.monotonic() > self._end:
            return f"the budget of {self._budget_s:g} s ran out"
        there = {
            Need.KEY: bool(self._aim.token),
            Need.OPEN: bool(self._aim.open),
            Need.ECHO: self._echo or wire in CHECKS,
        }
        return "; ".join(sorted(f"needs {need.value}" for need in case.needs if not there[need]))

    def _alive(self, case: Case, outcome: Outcome) -> Outcome:
        """After a case that may hurt, ask an honest question."""
        if case.expect is not Expect.UNPASSED or not isinstance(outcome, Held):
            return outcome
        door = self._doors.get(Wire.RAW)
        if door is None:
            return outcome
        answer = door.send(Ask(self._aim.protected))
        if answer.verdict is not Verdict.REFUSED:  # a moment to reconnect, then it counts
            answer = door.send(Ask(self._aim.protected))
        if answer.verdict is Verdict.REFUSED:
            return outcome
        told = answer.note or answer.verdict.value
        return Broken(Severity.HIGH, f"afterwards an honest call is not answered as before: {told}")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")
