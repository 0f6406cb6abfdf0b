"""Run PolicyTests: each case goes the way of a served check, and what comes of it is compared.

The way is the served one: a CheckRequest is read, judged and answered. Nothing is spent, no network is
guarded, and a test speaks of the client's own address and of any host, whatever the listener is bound to: a
set is tested alike wherever it is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from authz.check import reply
from authz.model.errors import Place
from authz.model.moment import microseconds
from authz.policy.kind_test import PolicyTestSpec, TestCase
from authz.policy.loaded import Document
from authz.rehearsal.scene import message_of, of_case, play, stage, unbound
from authz.rehearsal.testing.expect import Difference, Got, differences, got_of
from authz.rehearsal.troupe import Troupe
from authz.response.message import ID_PLACEHOLDER
from authz.response.refusal import Refuser
from authz.snapshot.build import Built

Test = Document[PolicyTestSpec]
Ticks = Callable[[], int]  # microseconds of a clock that never goes back
Wanted = Callable[[str, str], bool]  # names of a test and of a case -> whether to run it


def every_case(_: str, __: str) -> bool:
    """Want all."""
    return True


class Result(NamedTuple):
    """What came of one case.

    Args:
        position: of the case in its document, from 0.
        got: None where we crashed.
        differences: empty where it passed.
    """

    test: Test
    position: int
    got: Got | None
    differences: tuple[Difference, ...]
    took_us: int

    @property
    def case(self) -> TestCase:
        """The case as it is written."""
        return self.test.spec.cases[self.position]

    @property
    def passed(self) -> bool:
        """Whether everything came out as expected."""
        return not self.differences

    @property
    def crashed(self) -> bool:
        """Whether we could not run it."""
        return self.got is None

    @property
    def place(self) -> Place:
        """Where the case stands."""
        return self.test.place("spec", "cases", self.position)


class Stage:
    """One policy set, ready to be asked by tests."""

    def __init__(self, built: Built, ticks: Ticks) -> None:
        self._built = unbound(built)
        self._troupe = Troupe(built)
        self._refuser = Refuser("rehearsal")
        self._ticks = ticks

    def run(self, tests: Iterable[Test], wanted: Wanted = every_case) -> Iterator[Result]:
        """Yield the result of every case that is wanted, in order."""
        for test in tests:
            for position, case in enumerate(test.spec.cases):
                if wanted(test.name, case.name):
                    yield self.ask(test, position)

    def ask(self, test: Test, position: int) -> Result:
        """Return the result of one case of a test."""
        began_us = self._ticks()
        case = test.spec.cases[position]
        try:
            got = self._got(case, microseconds(test.spec.now))
        except Exception as error:  # noqa: BLE001 - one case that we cannot run must not hide the others
            crash = (Difference("run", "an answer", f"a crash ({type(error).__name__}): please report it"),)
            return Result(test, position, None, crash, self._ticks() - began_us)
        found = tuple(differences(case.expect, got))
        return Result(test, position, got, found, self._ticks() - began_us)

    def _got(self, case: TestCase, now_us: int) -> Got:
        scene, cast = of_case(case)
        staged = stage(self._built, message_of(scene, now_us), cast, now_us, self._troupe)
        check = play(staged, now_us)
        return got_of(check, reply(check, staged.snapshot, self._refuser, ID_PLACEHOLDER).status)
