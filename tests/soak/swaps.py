"""The soak of swaps: sets change in every style under load through the real Envoy, good ones and broken ones.

Each answer shows the set that it was made by, and so does its record: the two are compared for every request.
"""

from __future__ import annotations

import http.client
import json
import random
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple

from tests.support.proxy import Live, live
from tests.support.swaps import HOST, STYLES, Marks, Place, files, revision

_TIMEOUT_S = 20.0
_SOON_S = 20.0  # until a set must be in force; what is measured is far below
_MISSED_MS = 4000.0  # a set that took so long was not told of, but found by looking
_BURST = 3  # so many swaps without waiting, every fifth time
_BROKEN = (b": [", b"", b"kind: Policy\n", b"\xff\xfe", b"# nothing\n")


@dataclass(frozen=True, slots=True)
class Swapping:
    """What goes on."""

    seconds: float = 60.0
    styles: tuple[str, ...] = tuple(STYLES)
    callers: int = 3
    pause_s: float = 0.05  # between a set that is in force and the next swap
    seed: int = 1
    at_least: int = 0  # so many swaps of each style, however long they take


class Answer(NamedTuple):
    """One request, and what its answer showed."""

    path: str
    status: int
    mark: str
    id: str  # of the request where it was allowed, of the decision where not
    reason: str


@dataclass
class Swapped:
    """What was seen."""

    answers: list[Answer] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)  # requests without an answer
    swaps: Counter[str] = field(default_factory=Counter)
    broken: int = 0
    late: list[str] = field(default_factory=list)  # sets that did not come into force
    mixed: list[str] = field(default_factory=list)  # decisions that no set would have made
    took_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    rejected_lines: int = 0

    def faults(self) -> list[str]:
        """Return what must not be; nothing where the soak has passed."""
        odd = [f"{each}" for each in self.answers if each.status not in (_RIGHT[each.path], 503)]
        unexplained = [f"{each}" for each in self.answers if each.status == 503 and not each.reason]
        missed = [
            f"{style}: {each:.0f} ms"
            for style, took in self.took_ms.items()
            for each in took
            if each > _MISSED_MS
        ]
        named = (
            ("of which nobody told", missed),
            ("without an answer", self.lost),
            ("answered wrongly", odd),
            ("answered by Envoy alone", unexplained),
            ("not in force in time", self.late),
            ("mixing revisions", self.mixed),
        )
        found = [f"{what}: {len(which)}, such as {which[0]}" for what, which in named if which]
        return found or ([] if self.answers and self.swaps else ["nothing was asked or swapped"])

    def lines(self) -> Iterable[str]:
        """Say it to people."""
        refused = sum(each.status == 503 for each in self.answers)
        yield (
            f"sets: {sum(self.swaps.values())} good, {self.broken} broken, told {self.rejected_lines} times,"
            f" under {len(self.answers)} requests; {len(self.lost)} without answer, {refused} refused as"
            f" overloaded, {len(self.mixed)} mixed"
        )
        for style, took in sorted(self.took_ms.items()):
            yield (
                f"  {style:12} in force after {statistics.median(took):5.1f} ms (most {max(took):6.1f},"
                f" {len(took)} times)"
            )


_RIGHT = {"/open": 200, "/shut": 403}


def swap_soak(plan: Swapping, root: Path, serve: tuple[str, ...] = ()) -> Swapped:
    """Run it and return what was seen; `root` is for the sets."""
    place = Place(root / "sets", files(Marks(0, 0)))
    with live((), policies=(place.policies,), serve=serve) as app:
        return _Swaps(plan, place, app).run()


class _Swaps:
    def __init__(self, plan: Swapping, place: Place, app: Live) -> None:
        self._plan, self._place, self._app = plan, place, app
        self._dice = random.Random(plan.seed)
        self._marks = Marks(0, 0)
        self._known = {revision(files(self._marks)): self._marks}
        self._complete: list[tuple[str, str, int]] = []  # style, revision, when
        self._seen = ("", "")  # the marks that were seen last
        self._end = Event()
        self._found = Swapped()

    def run(self) -> Swapped:
        threads = [Thread(target=self._call, args=(path,)) for path in self._paths()]
        for thread in threads:
            thread.start()
        try:
            self._swap_all()
        finally:
            self._end.set()
            for thread in threads:
                thread.join(_TIMEOUT_S * 2)
        self._judge(self._records())
        log = (self._app.stage.scene.directory / "sidecar.log").read_text()
        self._found.rejected_lines = log.count('"policy set rejected"')
        return self._found

    def _paths(self) -> list[str]:
        return [list(_RIGHT)[at % 2] for at in range(max(2, self._plan.callers))]

    def _swap_all(self) -> None:
        end_s = time.monotonic() + self._plan.seconds
        while time.monotonic() < end_s or self._wanting():
            styles = list(self._plan.styles)
            self._dice.shuffle(styles)
            for style in styles:
                burst = _BURST if self._dice.random() < 0.2 else 1
                for _ in range(burst):
                    self._swap(style)
                self._await(style)
                if self._dice.random() < 0.3:
                    self._break(self._dice.choice(self._plan.styles))
                self._end.wait(self._plan.pause_s * self._dice.random())

    def _wanting(self) -> bool:
        return any(self._found.swaps[style] < self._plan.at_least for style in self._plan.styles)

    def _swap(self, style: str) -> None:
        put, whole = STYLES[style]
        policy = self._marks.policy + 1
        whole = whole or style == "recreate"
        self._marks = Marks(policy, policy if whole else self._marks.site)
        contents = files(self._marks)
        name = revision(contents)
        self._known[name] = self._marks
        put(self._place, contents if whole else {"policy.yaml": contents["policy.yaml"]})
        self._complete.append((style, name, self._place.complete_us))
        self._found.swaps[style] += 1

    def _break(self, style: str) -> None:
        """Put a set that nobody can use where the good one stood, which stays in force."""
        put, whole = STYLES[style]
        broken = {"policy.yaml": self._dice.choice(_BROKEN)}
        whole = whole or style == "recreate"
        put(self._place, {**files(self._marks), **broken} if whole else broken)
        self._found.broken += 1
        self._end.wait(self._plan.pause_s + 0.1)

    def _await(self, style: str) -> None:
        """Wait until both kinds of answers show the last set."""
        wanted = (str(self._marks.policy), str(self._marks.site))
        end_s = time.monotonic() + _SOON_S
        while self._seen != wanted:
            if time.monotonic() > end_s:
                self._found.late.append(f"{style}: {wanted}, but {self._seen}")
                return
            time.sleep(0.002)

    def _call(self, path: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._app.stage.port, timeout=_TIMEOUT_S)
        while not self._end.is_set():
            try:
                connection.request("GET", path, headers={"host": HOST})
                reply = connection.getresponse()
                self._take(path, reply, reply.read())
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                self._found.lost.append(f"{path}: {error!r}")
        connection.close()

    def _take(self, path: str, reply: http.client.HTTPResponse, body: bytes) -> None:
        reason = reply.headers.get("x-authz-reason", "")
        if reply.status == 200:
            sent = dict(json.loads(body)["headers"])
            mark, own = sent.get("x-set", ""), sent.get("x-request-id", "")
            self._seen = (mark, self._seen[1])
        else:
            mark = reply.headers.get("x-site", "")
            own = reply.headers.get("x-authz-decision-id", "")
            if reply.status == 403:
                self._seen = (self._seen[0], mark)
        self._found.answers.append(Answer(path, reply.status, mark, own, reason))

    def _records(self) -> list[Mapping[str, str]]:
        """Return the records, once every answer has one."""
        wanted = len(self._found.answers)
        end_s = time.monotonic() + _SOON_S
        while (text := self._app.stage.records.read_text()).count("\n") < wanted and time.monotonic() < end_s:
            time.sleep(0.05)
        return [json.loads(line) for line in text.splitlines()]

    def _judge(self, records: list[Mapping[str, str]]) -> None:
        by_id: dict[str, Mapping[str, str]] = {}
        first_us: dict[str, int] = {}
        for record in records:
            by_id[record.get("request_id", "")] = by_id[record["decision_id"]] = record
            if record["revision"] not in first_us:
                first_us[record["revision"]] = _us(record["time"])
        for answer in self._found.answers:
            if (what := self._disagreement(answer, by_id.get(answer.id))) and answer.status != 503:
                self._found.mixed.append(f"{answer}: {what}")
        for style, name, complete_us in self._complete:
            if name in first_us:
                self._found.took_ms[style].append((first_us[name] - complete_us) / 1000)

    def _disagreement(self, answer: Answer, record: Mapping[str, str] | None) -> str:
        """Say in what answer, record and the sets that ever stood there differ; "" where they agree."""
        if record is None:
            return "no record"
        marks = self._known.get(record["revision"])
        if marks is None:
            return f"a revision that never stood there: {record}"
        rule, mark = (
            (f"r{marks.policy}", str(marks.policy))
            if answer.status == 200
            else (f"d{marks.policy}", str(marks.site))
        )
        return "" if (record["rule"], answer.mark) == (rule, mark) else f"{marks} but {record}"


def _us(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1e6)
