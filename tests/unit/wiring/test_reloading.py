"""The thread that loads follows the directories; whatever goes wrong in it, what is in force stays."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from structlog.testing import capture_logs

from authz.config.rooms import SnapshotSettings
from authz.identity.keyring import Peppers
from authz.snapshot.build import Builder, Built, Surroundings
from authz.snapshot.scan import Watched
from authz.snapshot.sources import Directories
from authz.snapshot.watch import Watch
from authz.wiring import reloading as module
from authz.wiring.clock import SystemClock
from authz.wiring.loader import Loader
from authz.wiring.reloading import Reloading
from tests.support.policies import PEPPER, PROVIDER, documents
from tests.support.proxy import eventually
from tests.support.sets import KEY, POLICY, events, small_set

ROOMY = POLICY.replace("rate: 1/h", "rate: 2/h")
SOON_S = 20.0


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    return small_set(tmp_path / "policies")


def change(directory: Path, policy: str) -> None:
    """Rename over what is other: a directory without files, however short, would be a set of its own."""
    for name, content in documents(PROVIDER, policy, KEY.document).items():
        if content != (directory / name).read_bytes():
            (directory / ".new").write_bytes(content)
            (directory / ".new").replace(directory / name)


class Following:
    """A loader with its thread."""

    def __init__(self, directory: Path, poll_s: int = 3600) -> None:
        around = Surroundings(peppers=Peppers(PEPPER), sidecar="s-1")
        self.loader = Loader(Directories([directory]), around, SystemClock())
        self.loads = 0
        self.reloading = Reloading(self.loader, SnapshotSettings(poll_s=poll_s), self._count)

    def _count(self) -> None:
        self.loads += 1

    @property
    def revision(self) -> str:
        return self.loader.snapshot.revision

    def moves_on(self, before: str) -> bool:
        return eventually(lambda: self.revision not in ("", before), SOON_S)


@contextmanager
def following(directory: Path, poll_s: int = 3600) -> Iterator[Following]:
    made = Following(directory, poll_s)
    made.reloading.start()
    try:
        assert made.reloading.loaded.wait(SOON_S)
        yield made
    finally:
        made.reloading.close()
        assert not made.reloading._thread.is_alive()


def test_a_changed_set_is_in_force_by_itself(policies: Path) -> None:
    with following(policies) as made:
        before = made.revision
        assert made.loads >= 1
        change(policies, ROOMY)
        assert made.moves_on(before)
        assert made.reloading.facts().told
        assert made.reloading.facts().took_s > 0
        assert made.reloading.facts().running_s == 0


def test_a_directory_that_comes_to_be_is_loaded(tmp_path: Path) -> None:
    with capture_logs() as logs, following(tmp_path / "a" / "policies") as made:
        assert not made.loader.snapshot.ready
        (tmp_path / "a").mkdir()
        small_set(tmp_path / "a" / "policies")
        assert made.moves_on("")
    assert len(events(logs, "policy set is good again")) == 1


class Silent(Watch):
    """A system that has no watches left."""

    def arm(self, watched: Watched) -> bool:
        del watched
        return False


def test_what_nobody_tells_of_is_found_by_looking(policies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Watch", Silent)
    with following(policies, poll_s=1) as made:
        before = made.revision
        assert not made.reloading.facts().told
        change(policies, ROOMY)
        assert made.moves_on(before)


def test_now_and_then_every_file_is_read_whatever_its_marks_say(
    policies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Following(policies)
    seen: list[bool] = []
    real = made.loader.load

    def noting(seen_by: Callable[[Watched], object], *, every: bool, told: bool) -> bool:
        seen.append(every)
        return real(seen_by, every=every, told=told)

    monkeypatch.setattr(made.loader, "load", noting)
    for _ in range(2 * module._EVERY + 1):
        made.reloading._look_around()
    made.reloading._watch.close()
    assert seen.count(True) == 3
    assert made.loader.results == {"accepted": 1}


def test_files_that_were_touched_and_say_the_same_are_counted_and_no_more(policies: Path) -> None:
    with following(policies) as made:
        good = made.loader.snapshot
        (policies / "0.yaml").touch()
        assert eventually(lambda: made.loader.results["unchanged"] > 0, SOON_S)
        assert made.loader.snapshot is good
        assert made.loader.results["accepted"] == 1


class Panic(BaseException):
    """What a library of Rust raises: no Exception."""


@pytest.mark.parametrize("error", [MemoryError, RecursionError, Panic, SystemExit, KeyboardInterrupt])
def test_whatever_is_raised_while_loading_the_thread_goes_on(
    policies: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def broken(*_: object) -> Built:
        raise error

    with following(policies) as made:
        good = made.loader.snapshot
        with monkeypatch.context() as patch:
            patch.setattr(Builder, "build", broken)
            change(policies, ROOMY)
            assert eventually(lambda: made.loader.results["rejected"] > 0, SOON_S)
            assert made.loader.snapshot is good
        change(policies, ROOMY.replace("2/h", "3/h"))
        assert made.moves_on(good.revision)


def test_whatever_is_raised_while_waiting_the_thread_goes_on(
    policies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RETRY_S", 0.01)
    crashes: list[None] = []
    real = Watch.wait

    def wait(self: Watch, timeout_s: float) -> bool:
        if len(crashes) < 2:
            crashes.append(None)
            raise ValueError("embedded null byte")
        return real(self, timeout_s)

    monkeypatch.setattr(Watch, "wait", wait)
    with following(policies) as made:
        assert eventually(lambda: len(crashes) == 2, SOON_S)
        good = made.revision
        change(policies, ROOMY)
        assert made.moves_on(good)


def test_a_load_that_hangs_is_told_once_and_stops_nobody(
    policies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, released = Event(), Event()
    real = Builder.build

    def hanging(builder: Builder, *given: Any) -> Built:
        entered.set()
        released.wait(SOON_S)
        return real(builder, *given)

    monkeypatch.setattr(module, "SLOW_S", 0.0)
    with following(policies) as made:
        good = made.loader.snapshot
        with monkeypatch.context() as patch, capture_logs() as logs:
            patch.setattr(Builder, "build", hanging)
            change(policies, ROOMY)
            assert entered.wait(SOON_S)
            assert eventually(lambda: made.reloading.facts().running_s > 0)
            for _ in range(3):
                made.reloading.look()
            assert made.loader.current() is good
            released.set()
            assert made.moves_on(good.revision)
    assert len(events(logs, "loading the policy set takes long; what is in force stays")) == 1


def test_a_load_that_works_for_ever_is_given_up_at_the_end(
    policies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered = Event()

    with following(policies) as made:

        def endless(*_: object) -> Built:
            entered.set()
            while True:
                made.loader.breathe()

        good = made.loader.snapshot
        monkeypatch.setattr(Builder, "build", endless)
        change(policies, ROOMY)
        assert entered.wait(SOON_S)
    assert made.loader.snapshot is good
    assert made.loader.results == {"accepted": 1}


def test_a_thread_that_was_never_started_is_closed_at_once(policies: Path) -> None:
    Following(policies).reloading.close()


def test_a_set_that_was_replaced_is_held_by_nobody(policies: Path) -> None:
    with following(policies) as made:
        old = made.loader.snapshot
        change(policies, ROOMY)
        assert made.moves_on(old.revision)
        # Ours, and that of the question.
        assert eventually(lambda: sys.getrefcount(old) == 2)
