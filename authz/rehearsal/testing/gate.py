"""The gate: a changed set comes into force only if its tests pass in it.

Asked by the thread that loads, beside the one that judges: so it breathes after every few cases, asks only
those that the change can affect, and ends when it has worked for too long.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from authz.model.errors import PolicyError
from authz.policy.loaded import Loaded
from authz.rehearsal.testing.affected import Affected
from authz.rehearsal.testing.report import title
from authz.rehearsal.testing.run import Result, Stage, Test, Ticks
from authz.snapshot.build import Built

# What a set's tests may take of the processor. 10,000 cases take 0.7 s; a slow machine several times that.
WORK_MAX_S = 60.0

# Faults of one run: more tell nobody more, and each is looked up in its file.
FAULTS_MAX = 50

Chosen = Callable[[Built, frozenset[str]], Sequence[Test]]  # the tests that a change of some parts is held to


def every_test(built: Built, _: frozenset[str]) -> Sequence[Test]:
    """Hold a change to all tests of the set."""
    return built.loaded.tests


@dataclass(frozen=True, slots=True)
class Pacing:
    """How a run behaves beside whoever serves.

    Args:
        breathe: called before each case.
        worked_s: processor time of the calling thread, seconds.
        ticks_us: microseconds of a clock that never goes back.
    """

    breathe: Callable[[], None] = lambda: None
    worked_s: Callable[[], float] = time.thread_time
    ticks_us: Ticks = lambda: time.monotonic_ns() // 1000


class Gate:
    """Runs the tests of one set after the other; remembers the last one in which all of them passed."""

    def __init__(self, chosen: Chosen = every_test, pacing: Pacing | None = None) -> None:
        self._chosen = chosen
        self._pacing = pacing or Pacing()
        self._passed: Loaded | None = None
        self.asked = 0  # cases that the last run asked

    def __call__(self, built: Built, changed: frozenset[str]) -> Sequence[PolicyError]:
        """Return why a set must not come into force; () where nothing speaks against it.

        Args:
            changed: names of the parts that changed.
        """
        self.asked = 0
        tests = self._chosen(built, changed)
        faults = list(self._faults(built, tests))
        if not faults and len(tests) == len(built.loaded.tests):
            self._passed = built.loaded
        return faults

    def _faults(self, built: Built, tests: Sequence[Test]) -> Iterator[PolicyError]:
        affected = Affected(self._passed, built.loaded)
        stage = Stage(_open(built), self._pacing.ticks_us)
        until_s = self._pacing.worked_s() + WORK_MAX_S
        failed = 0
        for test in tests:
            every = affected.test(test.name)
            for position, case in enumerate(test.spec.cases):
                self._pacing.breathe()
                if not (every or affected.case(case)):
                    continue
                if self._pacing.worked_s() > until_s:
                    yield _unfinished(test, position)
                    return
                result = stage.ask(test, position)
                self.asked += 1
                if not result.passed:
                    yield fault_of(result)
                    failed += 1
                if failed == FAULTS_MAX:
                    return


def _open(built: Built) -> Built:
    """Return a set as it will be once nothing is out of order.

    A scope that was never good closes its hosts, and an override refuses what it is there to refuse: neither
    must keep others from changing what they write.
    """
    return replace(built, snapshot=replace(built.snapshot, closed=None, overrides=None))


def fault_of(result: Result) -> PolicyError:
    """Say what a failing case means for the set."""
    told = "; ".join(map(str, result.differences))
    return PolicyError(result.place, f"the test `{title(result)}` fails: {told}: mend the rule or the test")


def _unfinished(test: Test, position: int) -> PolicyError:
    what = (
        f"the tests have taken {WORK_MAX_S:.0f} s of the processor, and this one and others are not run:"
        " write fewer cases, or cheaper conditions"
    )
    return PolicyError(test.place("spec", "cases", position), what)
