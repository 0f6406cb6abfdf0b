"""All workers together: what operators ask, answered by as many as can answer in time."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from threading import Condition

from authz.config.settings import Settings
from authz.limits.inquiry import Answers, Inquiry, answer_of, encode
from authz.model.latency import BUCKETS_US, Exemplar, later
from authz.record.cgroup import memory
from authz.record.fetched import of_process
from authz.record.ledger import Ledger
from authz.record.metrics import Page, Sample, Samples, joined
from authz.record.recent import Recent, Wanted, recent_from
from authz.transport.routes import Readiness
from authz.wiring.link import Question, Report
from authz.wiring.member import CAUSES, START_S, Member
from authz.wiring.shipping import Shipping

LOOK_S = 5.0  # for all workers to look at their buckets: they have better things to do
ANSWER_S = 0.5  # for all workers together: one that is stuck must not block a scrape
_ALONE_S = 10.0  # without any worker, before the whole is unhealthy
_APART_S = 10.0  # each loads by itself, within a second of the others; who takes longer has missed something


class Crew:
    """The workers, and what is known of them.

    Args:
        wake: called when there may be something to look at.
        shipping: what ships their records; None: each writes them itself.
    """

    def __init__(
        self, settings: Settings, wake: Callable[[], None], shipping: Shipping | None = None
    ) -> None:
        self._settings = settings
        self._ledger = Ledger()
        self._news = Condition()  # guards the ledger and the answers
        self._answers: dict[int, dict[int, str]] = {}  # question -> worker -> line
        self._numbers = itertools.count(1)
        self._examples: Sequence[Exemplar | None] = [None] * (len(BUCKETS_US) + 1)
        self._page = Page(self._samples, lambda: self._examples)
        self._turn_fd = _turn_file()
        self._without_s = 0.0
        self._apart_s = 0.0  # for how long workers have had different revisions
        self.draining = False
        self._shipping = shipping
        spool = shipping.spool if shipping is not None else None
        self.members = [
            Member(index, settings, self._turn_fd, spool, self._heard, self._ended, wake)
            for index in range(settings.serve.workers)
        ]

    def look(self, now_s: float, elapsed_s: float) -> None:
        """See how every worker is, and do what must be done."""
        for member in self.members:
            member.look(now_s, elapsed_s)
        self._without_s = 0.0 if any(member.up for member in self.members) else self._without_s + elapsed_s
        revisions = {said.revision for _, said in self._up() if said.ready}
        self._apart_s = self._apart_s + elapsed_s if len(revisions) > 1 else 0.0

    def ailment(self) -> str:
        """See `Answers.ailment`."""
        seen = any(member.seen for member in self.members)
        if self.draining or self._without_s < (_ALONE_S if seen else START_S):
            return ""
        return "no worker answers checks: restart this sidecar and read its log"

    def readiness(self) -> Readiness:
        """See `Answers.readiness`. A worker that is away is not missed: Envoy asks the others."""
        limits = self._settings.limits.rate_limit_enabled
        states = {str(member.index): member.state for member in self.members}
        revisions, why = self._standing()
        revision = next(iter(revisions)) if len(revisions) == 1 else ""
        about = {name: text for _, said in reversed(self._up()) for name, text in said.about.items()}
        if self._shipping is not None:
            about |= self._shipping.about()
        return Readiness(not why, revision, why, limits, states, about)

    def page(self, *, openmetrics: bool = False) -> bytes:
        """See `Answers.page`."""
        self._ask()
        return self._page.render(openmetrics=openmetrics)

    def find(self, decision_id: str) -> bytes | None:
        """See `Answers.find`."""
        return next((line.encode() for line in self._ask(decision_id).values() if line), None)

    def recent(self, wanted: Wanted) -> tuple[Mapping[int, Recent], Sequence[int]]:
        """See `Answers.recent`."""
        lines = self._ask(recent=encode(wanted).decode(), answer_s=LOOK_S)
        silent = [member.index for member in self.members if not lines.get(member.index)]
        return {index: recent_from(line) for index, line in sorted(lines.items()) if line}, silent

    def buckets(self, inquiry: Inquiry) -> Answers:
        """See `Answers.buckets` of operations."""
        lines = self._ask(buckets=encode(inquiry).decode(), answer_s=LOOK_S)
        silent = [member.index for member in self.members if not lines.get(member.index)]
        return Answers([answer_of(line) for _, line in sorted(lines.items()) if line], silent)

    def _standing(self) -> tuple[set[str], str]:
        """Return the revisions that are served, and why checks cannot be answered as they should."""
        up = self._up()
        revisions = {said.revision for _, said in up if said.ready}
        unready = next((f"worker {index}: {said.why}" for index, said in up if not said.ready), "")
        if self.draining:
            return revisions, "draining"
        if not up or not all(member.seen for member in self.members):
            return revisions, "not every worker has started"
        if len(revisions) > 1 and self._apart_s >= _APART_S:
            return revisions, f"workers have different policy sets: {', '.join(sorted(revisions))}"
        return revisions, unready

    def _up(self) -> list[tuple[int, Report]]:
        """Return the workers that take calls, and what they last said."""
        return [(member.index, said) for member in self.members if member.up and (said := member.said)]

    def _ask(
        self, find: str = "", buckets: str = "", recent: str = "", answer_s: float = ANSWER_S
    ) -> Mapping[int, str]:
        """Ask every worker, and wait for those that answer in time; of a record the first one will do."""
        number = next(self._numbers)
        with self._news:
            answers = self._answers[number] = {}
        question = Question(number, find, buckets, recent)
        asked = [member for member in self.members if member.up and member.ask(question)]
        with self._news:
            self._news.wait_for(
                lambda: len(answers) == len(asked) or (find and any(answers.values())), answer_s
            )
            del self._answers[number]
            return dict(answers)

    def _heard(self, member: Member, report: Report) -> None:
        with self._news:
            self._ledger.take(str(member.index), report.changes)
            if report.examples:
                self._examples = later(self._examples, report.examples)
            if report.answers in self._answers:
                self._answers[report.answers][member.index] = report.line
                self._news.notify_all()

    def _ended(self, member: Member) -> None:
        with self._news:
            self._ledger.ended(str(member.index))

    def _samples(self) -> Samples:
        with self._news:
            samples = self._ledger.samples()
        ours: Samples = {
            **samples,
            **self._of_workers(),
            **of_process(memory(), ready=self.readiness().ready),
        }
        return joined(ours, self._shipping.samples()) if self._shipping is not None else ours

    def _of_workers(self) -> dict[str, Sequence[Sample]]:
        named = [((str(member.index),), member) for member in self.members]
        return {
            "authz_worker_up": [(name, float(member.up)) for name, member in named],
            "authz_worker_restarts_total": [
                ((*name, cause), member.restarts[cause]) for name, member in named for cause in CAUSES
            ],
            "authz_worker_cpu_seconds_total": [
                (name, spent) for name, member in named if (spent := member.cpu_s) is not None
            ],
            "authz_worker_backoff_seconds": [(name, member.backoff_s) for name, member in named],
            "authz_worker_revision_info": [
                ((*name, said.revision), 1.0)
                for name, member in named
                if member.up and (said := member.said) and said.ready
            ],
            "authz_worker_resident_bytes": [
                (name, size) for name, member in named if (size := member.resident_bytes) is not None
            ],
        }


def _turn_file() -> int:
    """Return a file for workers to take turns by, of one byte; it stands in no directory."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("authz-turns")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.truncate(fd, 1)
    return fd
