"""What the supervisor says of workers that do not agree: nothing, while they are about to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from authz.config.settings import load
from authz.wiring.crew import Crew
from authz.wiring.link import Report


@dataclass
class Worker:
    """A member that takes calls, as the crew sees one."""

    index: int
    said: Report
    up: bool = True
    seen: bool = True

    @property
    def state(self) -> str:
        return self.said.revision

    def look(self, _now_s: float, _elapsed_s: float) -> None:
        pass


def serving(revision: str) -> Report:
    return Report(listening=True, ready=True, revision=revision)


@pytest.fixture
def crew(tmp_path: Path) -> Crew:
    made = Crew(load({"policies": [tmp_path], "workers": 2}, {}), lambda: None)
    made.members = [Worker(0, serving("a")), Worker(1, serving("a"))]  # type: ignore[list-item] # as seen
    return made


def test_workers_that_agree_are_ready_with_their_revision(crew: Crew) -> None:
    crew.look(0.0, 100.0)
    assert crew.readiness()[:3] == (True, "a", "")


def test_workers_that_differ_for_a_moment_are_ready(crew: Crew) -> None:
    crew.members[0] = Worker(0, serving("b"))  # type: ignore[call-overload] # as seen
    crew.look(0.0, 9.0)
    assert crew.readiness()[:3] == (True, "", "")
    crew.members[1] = Worker(1, serving("b"))  # type: ignore[call-overload] # as seen
    crew.look(0.0, 9.0)
    crew.members[1] = Worker(1, serving("c"))  # type: ignore[call-overload] # as seen
    crew.look(0.0, 9.0)
    assert crew.readiness().ready


def test_workers_that_differ_for_longer_are_not_ready_and_say_what_each_has(crew: Crew) -> None:
    crew.members[0] = Worker(0, serving("b"))  # type: ignore[call-overload] # as seen
    crew.look(0.0, 9.0)
    crew.look(0.0, 1.0)
    ready, revision, why, _, workers, _ = crew.readiness()
    assert (ready, revision) == (False, "")
    assert why == "workers have different policy sets: a, b"
    assert workers == {"0": "b", "1": "a"}
