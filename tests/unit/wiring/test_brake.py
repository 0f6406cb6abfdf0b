"""An override comes into force while a load, or a team's tests, take their time."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from authz.identity.keyring import Peppers
from authz.model.errors import PolicyError
from authz.snapshot.build import Built, Surroundings
from authz.snapshot.parts import Files
from authz.snapshot.sources import Directories, Source
from authz.wiring.brake import EVERY_US, Brake
from authz.wiring.clock import SystemClock
from authz.wiring.loader import Loader
from tests.support.parts import decided, opening
from tests.support.policies import PEPPER


class Clock:
    now_us = 0

    def __call__(self) -> int:
        return self.now_us


def test_it_looks_now_and_then_and_applies_what_is_new(tmp_path: Path) -> None:
    clock, applied = Clock(), list[Files]()
    brake = Brake([tmp_path], clock, applied.append)
    (tmp_path / "o.yaml").write_text("# one\n")
    brake.look()
    assert len(applied) == 1
    (tmp_path / "p.yaml").write_text("# two\n")
    brake.look()
    assert len(applied) == 1
    clock.now_us += EVERY_US
    brake.look()
    assert [len(files.contents) for files in applied] == [1, 2]
    clock.now_us += EVERY_US
    brake.look()
    assert len(applied) == 2


def test_what_cannot_be_read_is_left_to_the_next_load(tmp_path: Path) -> None:
    applied: list[Files] = []
    Brake([tmp_path / "gone"], Clock(), applied.append).look()
    Brake([], Clock(), applied.append).look()
    assert applied == []


def test_an_override_does_not_wait_for_the_tests_of_a_changed_set(tmp_path: Path) -> None:
    policies, overrides = tmp_path / "policies", tmp_path / "overrides"
    policies.mkdir()
    overrides.mkdir()
    (policies / "a.yaml").write_text(opening("a"))
    seen: list[str] = []

    def slow(_: Built, __: frozenset[str]) -> list[PolicyError]:
        if not loader.snapshot.ready:
            return []
        (overrides / "stop.yaml").write_text(opening("stop", "a.example.com", "effect: deny"))
        end = time.monotonic() + 10
        while decided(loader.snapshot, "a.example.com") == "allow a/r" and time.monotonic() < end:
            loader.breathe()
        seen.append(decided(loader.snapshot, "a.example.com"))
        return []

    around = Surroundings(Peppers(PEPPER))
    loader = Loader(Directories([policies], overrides=[overrides]), around, SystemClock(), slow)
    loader.load()
    (policies / "b.yaml").write_text(opening("b"))
    loader.load()
    assert seen == ["denied_by_rule stop/r"]
    assert decided(loader.snapshot, "a.example.com") == "denied_by_rule stop/r"
    assert decided(loader.snapshot, "b.example.com") == "allow b/r"
    revision = loader.snapshot.revision
    loader.load()  # finds what the brake has applied already
    assert loader.snapshot.revision == revision


def test_what_the_brake_applied_and_was_taken_back_is_taken_back(tmp_path: Path) -> None:
    policies, overrides = tmp_path / "policies", tmp_path / "overrides"
    policies.mkdir()
    overrides.mkdir()
    stop = overrides / "stop.yaml"
    denying = opening("stop", "a.example.com", "effect: deny")
    (policies / "a.yaml").write_text(opening("a"))
    stop.write_text(denying)

    def slow(_: Built, __: frozenset[str]) -> list[PolicyError]:
        if loader.snapshot.ready:
            stop.write_text("# released")
            end = time.monotonic() + 10
            while decided(loader.snapshot, "a.example.com") != "allow a/r" and time.monotonic() < end:
                loader.breathe()
        return []

    around = Surroundings(Peppers(PEPPER))
    loader = Loader(Directories([policies], overrides=[overrides]), around, SystemClock(), slow)
    loader.load()
    assert decided(loader.snapshot, "a.example.com") == "denied_by_rule stop/r"
    (policies / "b.yaml").write_text(opening("b"))
    loader.load()
    stop.write_text(denying)  # as it stood when that load began
    loader.load()
    assert decided(loader.snapshot, "a.example.com") == "denied_by_rule stop/r"


def test_while_overrides_are_read_the_brake_applies_none_that_are_newer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policies, overrides = tmp_path / "policies", tmp_path / "overrides"
    policies.mkdir()
    overrides.mkdir()
    (policies / "a.yaml").write_text(opening("a"))
    (overrides / "stop.yaml").write_text("# none")
    named = Directories([policies], overrides=[overrides])
    loader = Loader(named, Surroundings(Peppers(PEPPER)), SystemClock())
    loader.load()
    reading, looks = [False], []
    real = Source.read

    def read(self: Source, *, every: bool = False) -> Files:
        reading[0] = self.directories == (overrides,)
        try:
            return real(self, every=every)
        finally:
            reading[0] = False

    monkeypatch.setattr(Source, "read", read)
    monkeypatch.setattr(Brake, "look", lambda _: looks.append(reading[0]))
    loader.load(every=True)
    assert looks
    assert not any(looks)
