"""What the supervisor says of workers that do not agree: nothing, while they are about to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from authz.config.settings import load
from authz.limits.inquiry import Answer, Inquiry, encode
from authz.model.latency import Exemplar
from authz.record.ledger import Change
from authz.record.samples import BOUNDS
from authz.wiring.crew import Crew
from authz.wiring.link import Question, Report


@dataclass
class Worker:
    """A member that takes calls, as the crew sees one."""

    index: int
    said: Report
    up: bool = True
    seen: bool = True
    line: str | None = None
    heard: Callable[[Worker, Report], None] | None = None
    asked: list[Question] = field(default_factory=list)

    @property
    def state(self) -> str:
        return self.said.revision

    def ask(self, question: Question) -> bool:
        """Answer at once, if there is something to say."""
        self.asked.append(question)
        if self.heard is not None and self.line is not None:
            self.heard(self, Report(answers=question.number, line=self.line))
        return self.line is not None

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


def test_every_worker_is_asked_about_buckets_and_who_says_nothing_is_told(crew: Crew) -> None:
    told = [Answer("a", index, []) for index in range(2)]
    lines = [encode(told[0]).decode(), encode(told[1]).decode(), None, ""]
    workers = [
        Worker(index, serving("a"), line=line, heard=crew._heard)  # type: ignore[arg-type]  # as seen
        for index, line in enumerate(lines)
    ]
    crew.members = workers  # type: ignore[assignment]  # as seen
    answers = crew.buckets(Inquiry(limit="per-key"))
    assert answers.workers == told
    assert answers.silent == [2, 3]
    assert workers[1].asked[0].buckets == encode(Inquiry(limit="per-key")).decode()


def test_of_each_bucket_the_page_shows_the_last_example_of_all_workers(tmp_path: Path) -> None:
    crew = Crew(load({"policies": [tmp_path], "workers": 2}, {}), lambda: None)
    numbers: list[Change] = [("authz_check_duration_seconds", (bound,), 1.0) for bound in BOUNDS]
    for at_us, (worker, trace) in enumerate(zip(crew.members, ("a", "b"), strict=True)):
        examples = [None, Exemplar(trace * 32, 20 + at_us, 1_700_000_000_000_000 + at_us)]
        report = Report(changes=numbers, examples=[*examples, *[None] * (len(BOUNDS) - 2)])
        crew._heard(worker, report)
        crew._heard(worker, Report(changes=numbers))
    page = crew.page(openmetrics=True)
    assert b'le="2.5e-05"} 4.0 # {trace_id="' + b"b" * 32 + b'"} 2.1e-05 1700000000.000001' in page
    assert b"a" * 32 not in page
    assert b"trace_id" not in crew.page()


def test_a_record_that_one_worker_has_is_not_waited_for_from_the_others(crew: Crew) -> None:
    found = Worker(0, serving("a"), line='{"id":"known"}', heard=crew._heard)  # type: ignore[arg-type]  # as seen
    crew.members = [found, Worker(1, serving("a"), line="")]  # type: ignore[list-item]  # as seen
    assert crew.find("known") == b'{"id":"known"}'
