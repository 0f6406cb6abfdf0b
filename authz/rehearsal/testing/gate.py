"""The gate: a changed set comes into force only if its tests pass in it.

Asked by the thread that loads, beside the one that judges: so it breathes after every few cases, asks only
those that the change can affect, and ends when it has worked for too long.

SECURITY: what a team writes must not hold up what the platform must do. Its tests have a share of the time
of their own, and a key that was taken away is taken away, whoever's test expects it to be good.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from operator import itemgetter
from typing import NamedTuple

from authz.model.errors import PolicyError
from authz.model.reason import Detail
from authz.policy.loaded import Loaded
from authz.rehearsal.testing.affected import Affected
from authz.rehearsal.testing.report import title
from authz.rehearsal.testing.run import Result, Stage, Test, Ticks
from authz.snapshot.build import Built
from authz.snapshot.parts import part_of_scope

# What a set's tests may take of the processor. 10,000 cases take 0.7 s; a slow machine several times that.
WORK_MAX_S = 60.0
SCOPE_WORK_MAX_S = 10.0  # and those of one scope

# Faults of one run: more tell nobody more, and each is looked up in its file.
FAULTS_MAX = 50

# Why a key is no good any more: by these somebody took it away.
_WITHDRAWN = frozenset((Detail.KEY_REVOKED, Detail.KEY_EXPIRED, Detail.CUSTOMER_DISABLED))

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
    """Runs the tests of one set after the other; remembers the last one in which all of them passed.

    Args:
        tell: told what failed, or was not run, and does not count against the set.
    """

    def __init__(
        self,
        chosen: Chosen = every_test,
        pacing: Pacing | None = None,
        tell: Callable[[Sequence[PolicyError]], object] = lambda _: None,
    ) -> None:
        self._chosen = chosen
        self._pacing = pacing or Pacing()
        self._tell = tell
        self._passed: Loaded | None = None
        self.asked = 0  # cases that the last run asked

    def __call__(self, built: Built, changed: frozenset[str]) -> Sequence[PolicyError]:
        """Return why a set must not come into force; () where nothing speaks against it.

        Args:
            changed: names of the parts that changed.
        """
        self.asked = 0
        tests = self._chosen(built, changed)
        found = list(islice(self._found(built, tests), FAULTS_MAX))
        held = [one.fault for one in found if one.counts(changed)]
        let_pass = [one.fault for one in found if not one.counts(changed)]
        if let_pass:
            self._tell(let_pass)
        unfinished = any(one.unfinished for one in found)
        if not held and not unfinished and len(tests) == len(built.loaded.tests):
            self._passed = built.loaded
        return held

    def _found(self, built: Built, tests: Sequence[Test]) -> Iterator[_Found]:
        affected = Affected(self._passed, built.loaded)
        stage = Stage(_open(built), self._pacing.ticks_us)
        shares = _Shares(self._pacing.worked_s)
        # The platform's first: theirs must be finished, whatever those of others take.
        for scope, test in sorted(((built.scope_of(test.file), test) for test in tests), key=itemgetter(0)):
            every = affected.test(test.name)
            for position, case in enumerate(test.spec.cases):
                if shares.is_over(scope):
                    break
                self._pacing.breathe()
                if not (every or affected.case(case)):
                    continue
                if shares.spent(scope):
                    own = shares.is_own(scope)
                    yield _Found(_unfinished(test, position, scope, own=own), scope, unfinished=True, own=own)
                    break
                result = stage.ask(test, position)
                self.asked += 1
                if not result.passed:
                    yield _Found(fault_of(result), scope, withdrawn=_withdrawn(result))


class _Found(NamedTuple):
    """What speaks against a set, perhaps.

    Args:
        scope: whose test it is.
        unfinished: there was no time for it.
        own: the scope itself took that time.
        withdrawn: it failed because somebody took its key away.
    """

    fault: PolicyError
    scope: str
    unfinished: bool = False
    own: bool = False
    withdrawn: bool = False

    def counts(self, changed: frozenset[str]) -> bool:
        """Whether it counts against a set in which some parts changed.

        That a scope's tests take too long is a fault of the scope, when it changes, and of nobody else.
        """
        others = bool(self.scope) and not (self.own and part_of_scope(self.scope) in changed)
        return not self.withdrawn and not (self.unfinished and others)


class _Shares:
    """How long the tests of each scope may take, and how long all may."""

    def __init__(self, worked_s: Callable[[], float]) -> None:
        self._worked_s = worked_s
        self._last_s = self._began_s = worked_s()
        self._asked = ""  # whose case was asked last
        self._used_s: dict[str, float] = {}
        self._over: set[str] = set()

    def is_over(self, scope: str) -> bool:
        """Whether it was said before that there is no more time."""
        return scope in self._over

    def spent(self, scope: str) -> bool:
        """Whether there is no time for one more case."""
        now_s = self._worked_s()
        self._used_s[self._asked] = self._used_s.get(self._asked, 0.0) + now_s - self._last_s
        self._last_s, self._asked = now_s, scope
        if self.is_own(scope) or now_s - self._began_s > WORK_MAX_S:
            self._over.add(scope)
        return scope in self._over

    def is_own(self, scope: str) -> bool:
        """Whether a scope has used up what is its own."""
        return bool(scope) and self._used_s.get(scope, 0.0) > SCOPE_WORK_MAX_S


def _withdrawn(result: Result) -> bool:
    return result.got is not None and result.got.detail in _WITHDRAWN


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


def _unfinished(test: Test, position: int, scope: str, *, own: bool) -> PolicyError:
    whose, most_s = (f" of the scope `{scope}`", SCOPE_WORK_MAX_S) if own else ("", WORK_MAX_S)
    what = (
        f"the tests{whose} have taken {most_s:.0f} s of the processor, and this one and others are not run:"
        " write fewer cases, or cheaper conditions"
    )
    return PolicyError(test.place("spec", "cases", position), what)
