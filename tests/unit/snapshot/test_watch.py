"""Changes are told once they are complete: by a system that is played, and by the real one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Literal

import pytest
from watchfiles import Change

from authz.snapshot import watch as module
from authz.snapshot.scan import Watched, look
from authz.snapshot.watch import QUIET_MAX_S, Stopping, Told, Watch
from tests.support.documents import policy
from tests.support.swaps import STYLES, Marks, Place, files

ADDED, MODIFIED, DELETED = int(Change.added), int(Change.modified), int(Change.deleted)
Found = Told | Literal["signal", "stop", "timeout"] | Exception


class System:
    """Tells what it is given, step by step, then nothing; its clock passes as long as it is asked to wait."""

    def __init__(self, *steps: Found) -> None:
        self.steps = list(steps)
        self.now_s = 100.0
        self.made: list[list[str]] = []
        self.closed = 0
        self.refusal: OSError | None = None  # why nothing can be watched

    def __call__(self, directories: list[str]) -> System:
        if self.refusal is not None:
            raise self.refusal
        self.made.append(directories)
        return self

    def clock(self) -> float:
        return self.now_s

    def watch(
        self, debounce_ms: int, step_ms: int, timeout_ms: int, stop_event: Stopping | None
    ) -> Told | Literal["signal", "stop", "timeout"]:
        found = self.steps.pop(0) if self.steps else "timeout"
        if isinstance(found, Exception):
            raise found
        self.now_s += timeout_ms / 1000 if found == "timeout" else debounce_ms / 1000
        return found

    def close(self) -> None:
        self.closed += 1


WATCHED = Watched(
    {"/git": (1, 1), "/git/one/p": (1, 2)},
    frozenset({"/git/current", "/git/one/p"}),
    frozenset({"/git/one/p"}),
)
WRITTEN: Told = {(MODIFIED, "/git/one/p/a.yaml")}
SWAPPED: Told = {(ADDED, "/git/current")}


def watching(system: System, quiet_ms: int = 25) -> Watch:
    made = Watch(quiet_ms, Event(), system, system.clock)
    assert made.arm(WATCHED)
    return made


@pytest.fixture
def links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_link", lambda path: path == "/git/current")


def test_what_is_written_is_told_after_a_quiet(links: None) -> None:
    system = System(WRITTEN, WRITTEN, WRITTEN)
    assert watching(system).wait(10)
    assert system.steps == []
    assert system.now_s == pytest.approx(100.0 + 0.010 + 2 * 0.005 + 0.025)


def test_who_never_stops_writing_is_read_in_between(links: None) -> None:
    system = System(*[WRITTEN] * 10_000)
    assert watching(system).wait(10)
    assert system.steps
    assert system.now_s == pytest.approx(100.0 + QUIET_MAX_S, abs=0.1)


@pytest.mark.parametrize(
    "more", [set(), {(DELETED, "/git/one/p/a.yaml")}, {(ADDED, "/git/one/p/b.yaml")}, {(ADDED, "/git/two")}]
)
def test_a_link_that_was_swapped_is_told_at_once(links: None, more: Told) -> None:
    system = System(SWAPPED | more, WRITTEN)
    assert watching(system).wait(10)
    assert system.steps == [WRITTEN]


def test_a_swap_while_somebody_writes_is_told_after_a_quiet(links: None) -> None:
    system = System(SWAPPED | WRITTEN, WRITTEN)
    assert watching(system).wait(10)
    assert system.steps == []


@pytest.mark.parametrize(
    "path",
    ["/git/two", "/git/.git", "/git/one/p/.a.yaml.swp", "/git/one/p/..2026_11", "/git/one/q", "/elsewhere"],
)
def test_what_matters_to_nobody_is_not_told(links: None, path: str) -> None:
    system = System(*[{(ADDED, path)}] * 3)
    assert not watching(system).wait(10)
    assert system.now_s >= 110.0


@pytest.mark.parametrize(
    "path", ["/git/one/p", "/git/one/p/a.yaml", "/git/one/p/below", "/git", "/git/current"]
)
def test_what_matters_is_told(path: str) -> None:
    assert watching(System({(DELETED, path)})).wait(10)


def test_a_library_that_fails_is_begun_anew_and_what_it_missed_is_looked_for() -> None:
    system = System(RuntimeError("inotify"))
    made = watching(system)
    assert made.wait(10)
    assert system.closed == 1
    assert made.arm(WATCHED)
    assert made.told
    assert len(system.made) == 2


@pytest.mark.parametrize("ended", [False, True])
def test_a_wait_that_was_stopped_is_a_change_unless_we_end(ended: bool) -> None:
    event, system = Event(), System("stop")
    made = Watch(25, event, system, system.clock)
    made.arm(WATCHED)
    if ended:
        event.set()
    assert made.wait(10) is not ended


def test_the_librarys_patience_ends_by_a_clock_that_nobody_sets() -> None:
    system = System()
    patience = module._Patience(Event(), system.clock, 101.0)
    assert not patience.is_set()
    system.now_s = 101.5
    assert patience.is_set()


def test_without_watches_there_is_waiting_only_and_each_arming_tries_again() -> None:
    system = System()
    system.refusal = OSError(28, "No space left on device")
    made = Watch(5, Event(), system)
    assert not made.arm(WATCHED)
    assert not made.told
    assert not made.wait(0.001)
    system.refusal = None
    assert made.arm(WATCHED)
    assert made.told


def test_a_directory_that_went_away_while_it_was_armed_is_looked_for_again() -> None:
    system = System()
    system.refusal = FileNotFoundError(2, "No such file or directory")
    made = Watch(5, Event(), system)
    assert made.arm(WATCHED)
    assert not made.told
    system.refusal = None
    assert made.arm(WATCHED)
    assert made.told


def test_a_directory_that_is_not_there_stops_nobody_from_being_watched(tmp_path: Path) -> None:
    made = Watch(5, Event())
    directories = {str(tmp_path): (1, 1), f"{tmp_path}/gone": (1, 2)}
    assert made.arm(Watched(directories, frozenset(), frozenset(directories)))
    (tmp_path / "file.yaml").touch()
    assert made.wait(20)
    made.close()


def test_a_directory_whose_name_is_no_text_stops_nobody_from_being_watched(tmp_path: Path) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff")
    os.mkdir(odd)  # noqa: PTH102 - as a team may
    (tmp_path / "é").mkdir()
    watch = Watch(25, Event())
    assert watch.arm(look([tmp_path]).watched)
    assert watch.told
    (tmp_path / "a.yaml").write_text("x")
    assert watch.wait(20)
    (tmp_path / "é" / "a.yaml").write_text("x")
    assert watch.wait(20)
    watch.close()


def test_only_other_directories_need_new_watches() -> None:
    system = System()
    made = watching(system)
    assert not made.arm(WATCHED)
    assert not made.arm(WATCHED._replace(names=frozenset({"/git/other"})))
    assert made.wait(0.1) is False
    # The same path, but another directory than before.
    assert made.arm(WATCHED._replace(directories={"/git": (1, 1), "/git/one/p": (1, 3)}))
    assert system.made == [["/git", "/git/one/p"]] * 2
    assert system.closed == 1
    made.close()
    made.close()
    assert system.closed == 2


@pytest.mark.parametrize(
    ("told", "renewed"),
    [
        ((DELETED, "/git/one/p"), True),
        ((ADDED, "/git/one/p"), True),
        ((DELETED, "/git"), True),
        ((MODIFIED, "/git/one/p"), False),
        ((DELETED, "/git/one/p/a.yaml"), False),
    ],
)
def test_a_directory_that_was_made_anew_is_watched_anew_even_where_it_got_the_same_inode(
    told: tuple[int, str], renewed: bool
) -> None:
    made = watching(System({told}))
    assert made.wait(10)
    assert made.arm(WATCHED) is renewed
    assert not made.arm(WATCHED)


def test_where_something_changed_and_nobody_told_everything_is_watched_anew() -> None:
    made = watching(System())
    made.doubt()
    assert made.arm(WATCHED)
    assert not made.arm(WATCHED)


@pytest.mark.parametrize("style", STYLES)
def test_the_real_system_tells_of_every_style(tmp_path: Path, style: str) -> None:
    place = Place(tmp_path / "sets", files(Marks(0, 0)))
    if style == "ConfigMap":
        place.config_map(files(Marks(0, 0)))
    made = Watch(5, Event())
    assert made.arm(look([place.policies]).watched)
    for number in (1, 2):
        STYLES[style][0](place, files(Marks(number, number)))
        assert made.wait(20)
        while made.arm(look([place.policies]).watched):
            pass
    assert look([place.policies]).faults == []
    made.close()


def test_the_real_system_tells_of_a_directory_that_comes_to_be(tmp_path: Path) -> None:
    policies = tmp_path / "a" / "b" / "policies"
    made = Watch(5, Event())
    steps: list[Callable[[], object]] = [
        policies.parent.parent.mkdir,
        policies.parent.mkdir,
        policies.mkdir,
        lambda: (policies / "a.yaml").write_text(policy("effect: deny")),
    ]
    for step in steps:
        assert made.arm(look([policies]).watched)
        step()
        assert made.wait(20)
    assert len(look([policies]).entries) == 1
    made.close()


def test_whoever_ends_does_not_wait_for_long(tmp_path: Path) -> None:
    ended = Event()
    made = Watch(25, ended)
    made.arm(look([tmp_path]).watched)
    ended.set()
    began_s = time.monotonic()
    assert not made.wait(600)
    made.settle()
    assert time.monotonic() - began_s < 60
    made.close()
