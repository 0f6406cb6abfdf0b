"""What is good is kept beside everything else, and whoever serves never notices."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from authz.model.errors import StateUnusable
from authz.snapshot.parts import Files, Parts
from authz.snapshot.state import Former, State
from authz.wiring.keeping import Keeping
from tests.support.proxy import eventually
from tests.support.sets import events

PARTS: Parts = {"platform": Files({"a.yaml": b"a"})}
NOW = 1_800_000_000_000_000


class Fake(State):
    """A state whose writes are told, and wait and fail as asked."""

    def __init__(self) -> None:
        super().__init__(None, "x")
        self.kept: list[str] = []
        self.go = threading.Event()
        self.go.set()
        self.error: Exception | None = None

    def keep(self, revision: str, parts: Parts, known_us: int) -> bool:
        self.go.wait(20)
        if self.error:
            raise self.error
        self.kept.append(revision)
        return True


@contextmanager
def running(state: State, pause_s: float = 0.0) -> Iterator[Keeping]:
    made = Keeping(state, pause_s)
    made.start()
    try:
        yield made
    finally:
        made.close()


def note(made: Keeping, *revisions: str) -> None:
    for revision in revisions:
        made.note(revision, PARTS, NOW)


def test_what_is_noted_is_kept(tmp_path: Path) -> None:
    state = State(tmp_path / "state", "x")
    with running(state) as made:
        note(made, "000000000001")
        assert eventually(lambda: made.results["written"] == 1)
    assert State(tmp_path / "state", "x").load(NOW) == Former("000000000001", PARTS, NOW)


def test_of_sets_that_follow_fast_the_last_is_kept_and_nobody_waits_for_the_disk() -> None:
    state = Fake()
    with running(state) as made:
        state.go.clear()
        note(made, "1")
        assert eventually(lambda: made._next is None)
        note(made, "2", "3", "4")
        state.go.set()
        assert eventually(lambda: state.kept == ["1", "4"])


def test_between_two_writes_is_a_pause_and_none_at_the_end() -> None:
    state = Fake()
    with running(state, pause_s=3600) as made:
        note(made, "1")
        assert eventually(lambda: state.kept == ["1"])
        note(made, "2")
    assert state.kept == ["1", "2"]


def test_a_disk_that_hangs_holds_nobody_up_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("authz.wiring.keeping._CLOSE_S", 0.01)
    state = Fake()
    state.go.clear()
    with running(state) as made:
        note(made, "1")
    assert not state.kept
    state.go.set()


@pytest.mark.parametrize("error", [StateUnusable("/s: full: make room"), RecursionError("deep")])
def test_what_cannot_be_kept_is_counted_and_told_once_and_tried_again(error: Exception) -> None:
    state = Fake()
    with capture_logs() as logs, running(state) as made:
        state.error = error
        for count in (1, 2, 3):
            note(made, "1")
            assert eventually(lambda count=count: made.results["failed"] == count)  # type: ignore[misc]
        state.error = None
        note(made, "1")
        assert eventually(lambda: made.results["written"] == 1)
        assert eventually(lambda: len(logs) == 2)
    (line,) = events(logs, "the last good set is not kept: a restart cannot begin with it")
    assert ("full: make room" in line["why"]) or (
        "RecursionError" in line["why"] and "deep" not in line["why"]
    )
    assert events(logs, "the last good set is kept again")


def test_one_that_never_ran_is_closed() -> None:
    Keeping(Fake()).close()
