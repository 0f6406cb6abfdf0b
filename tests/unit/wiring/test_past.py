"""A start with a broken set begins with what an earlier life kept, part by part."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from authz.config.rooms import SnapshotSettings
from authz.snapshot import scan, sources
from authz.snapshot.assembly import Assembly
from authz.snapshot.build import Surroundings
from authz.snapshot.snapshot import Snapshot
from authz.snapshot.sources import Directories
from authz.wiring.clock import SystemClock
from authz.wiring.inforce import InForce
from authz.wiring.loader import Loader
from authz.wiring.past import past
from tests.support.documents import document, policy
from tests.support.sets import events

S = 1_000_000
NOW = 1_800_000_000 * S
USED, UNUSED = "started from the last good policy set", "the kept policy set is not used"


class Clock(SystemClock):
    """Two clocks that are set by hand."""

    def __init__(self, wall_us: int = NOW, ticks_us: int = 50 * S) -> None:
        self.wall, self.ticks = wall_us, ticks_us

    def wall_us(self) -> int:
        return self.wall

    def ticks_us(self) -> int:
        return self.ticks


class World:
    """Directories of policies, scopes and overrides, and lives of a loader over them."""

    def __init__(self, home: Path) -> None:
        self.home, self.state = home, home / "state"
        self.clock = Clock()
        self.named = Directories([home / "policies"], [home / "scopes"], [home / "overrides"])
        self.write("policies/base.yaml", policy("effect: allow, identity: [anyone]", "base", '["*"]'))
        for team in ("items", "users"):
            self.write(f"policies/{team}/p.yaml", policy("effect: deny", team, f"[{team}.test]"))
            spec = f"{{directory: {team}, hosts: [{team}.test]}}"
            self.write(f"scopes/{team}.yaml", document("Scope", team, spec))
        self.write("overrides/none.yaml", "# nothing\n")

    def write(self, name: str, text: str) -> None:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def life(self, **settings: Any) -> Loader:
        """A process that loads once, and keeps what it has."""
        chosen = SnapshotSettings(state=self.state, **settings)
        made = Loader(
            self.named, Surroundings(), self.clock, settings=chosen, past=past(chosen, self.named, self.clock)
        )
        made.past.start()
        made.load()
        made.past.close()
        return made


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    assert made.life().current().ready
    return made


def test_only_the_parts_that_are_broken_are_as_they_were_kept(world: World) -> None:
    world.write("policies/items/p.yaml", "kind: [")
    world.write("policies/users/p.yaml", policy("effect: deny", "users-new", "[users.test]"))
    with capture_logs() as logs:
        made = world.life()
    assert made.current().ready
    assert made.about()["from_state"] == "scope:items"
    assert events(logs, USED)[0]["parts"] == ["scope:items"]
    world.write("policies/items/p.yaml", policy("effect: deny", "items", "[items.test]"))
    made.load()
    assert not made.about()


@pytest.mark.parametrize("part", ["scopes", "overrides", "platform"])
def test_what_everything_depends_on_is_as_it_was_kept(world: World, part: str) -> None:
    broken = {
        "scopes": "scopes/items.yaml",
        "overrides": "overrides/none.yaml",
        "platform": "policies/base.yaml",
    }
    world.write(broken[part], "kind: [")
    made = world.life()
    assert made.current().ready
    assert part in made.about()["from_state"]


def test_with_every_directory_gone_all_is_as_it_was_kept(world: World) -> None:
    revision = world.life().current().revision
    for name in ("policies", "scopes", "overrides"):
        shutil.rmtree(world.home / name)
    made = world.life()
    assert (made.current().ready, made.current().revision) == (True, revision)


def test_what_was_kept_is_not_used_where_what_stands_there_is_good(world: World) -> None:
    world.write("policies/base.yaml", policy("effect: allow, identity: [anyone]", "new", '["*"]'))
    with capture_logs() as logs:
        made = world.life()
    assert not made.about()
    assert not events(logs, USED) + events(logs, UNUSED)


def test_what_was_kept_is_for_the_first_look_alone(world: World) -> None:
    made = world.life()
    world.write("policies/base.yaml", "kind: [")
    with capture_logs() as logs:
        made.load()
    assert not events(logs, USED)
    assert "from_state" not in made.about()
    assert made.past.take() is None


def test_a_kept_set_of_which_this_version_makes_another_revision_is_not_used(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.write("policies/base.yaml", "kind: [")
    real = Assembly.resume
    monkeypatch.setattr(Assembly, "resume", lambda self, parts, _, now: real(self, parts, "0" * 12, now))
    with capture_logs() as logs:
        made = world.life()
    assert not made.current().ready
    (line,) = events(logs, UNUSED)
    assert "gives the revision" in line["why"]


def test_a_kept_set_that_crashes_stops_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise RecursionError("deep")

    world.write("policies/base.yaml", "kind: [")
    monkeypatch.setattr(Assembly, "resume", crash)
    with capture_logs() as logs:
        made = world.life()
    assert not made.current().ready
    assert events(logs, "policy set rejected") or events(logs, UNUSED)
    monkeypatch.undo()
    world.write("policies/base.yaml", policy("effect: allow, identity: [anyone]", "base", '["*"]'))
    made.load()
    assert made.current().ready


def test_where_even_reading_crashes_what_was_kept_is_used(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise RecursionError("deep")

    monkeypatch.setattr(Assembly, "offer", crash)
    made = world.life()
    assert made.current().ready
    assert made.about()["from_state"]
    assert "RecursionError" in made.about()["rejected"]


def test_how_old_what_was_kept_is_goes_on_over_a_restart_whatever_the_clocks(world: World) -> None:
    world.write("policies/base.yaml", "kind: [")
    for jump_s, age_s in ((0, 0), (100, 100), (10**9, 10**9), (-500, 0)):
        world.clock = Clock(NOW + jump_s * S, ticks_us=jump_s % 7 * S)
        made = world.life()
        assert made.facts().age_s == age_s, jump_s
        world.clock.wall += 10**9 * S
        assert made.facts().age_s == age_s, "a clock that is set in between counts for nothing"
        world.clock.ticks += 5 * S
        assert made.facts().age_s == age_s + 5


def test_a_kept_set_that_is_too_old_is_not_ready_at_once_where_that_is_asked(world: World) -> None:
    world.write("policies/base.yaml", "kind: [")
    world.clock = Clock(NOW + 61 * S)
    made = world.life(max_staleness_s=60, when_stale="deny")
    assert not made.current().ready
    assert made.facts().stale
    assert "max_staleness_s (60)" in made.in_force.ailment
    assert world.life(max_staleness_s=62, when_stale="deny").current().ready


def test_one_scope_that_is_broken_makes_nobodys_set_stale(world: World) -> None:
    world.write("policies/items/p.yaml", "kind: [")
    made = world.life(max_staleness_s=60, when_stale="deny")
    world.clock.ticks += 10**6 * S
    made.load()
    made.in_force.tick()
    assert made.current().ready
    assert made.about()["rejected"]


def test_without_a_directory_nothing_is_kept(world: World) -> None:
    shutil.rmtree(world.state)
    world.state = None  # type: ignore[assignment]  # `--state off`
    world.life()
    world.write("policies/base.yaml", "kind: [")
    assert not world.life().current().ready


def test_a_kept_file_that_is_no_file_of_ours_is_told_in_one_line(world: World) -> None:
    (file,) = world.state.iterdir()
    os.truncate(file, 100)
    world.write("policies/base.yaml", "kind: [")
    with capture_logs() as logs:
        made = world.life()
    assert not made.current().ready
    (line,) = events(logs, UNUSED)
    assert line["why"].startswith(str(file))
    assert line["why"].endswith("remove it, or let it be overwritten")


def test_where_the_second_look_crashes_it_is_told_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Assembly.offer, []

    def crash(self: Assembly, *words: Any) -> Any:
        calls.append(words)
        if len(calls) == 2:
            raise RecursionError("deep")
        return real(self, *words)

    world.write("policies/base.yaml", "kind: [")
    world.clock = Clock(NOW + 30 * S)
    monkeypatch.setattr(Assembly, "offer", crash)
    with capture_logs() as logs:
        made = world.life()
    assert made.current().ready
    assert made.facts().age_s == 30
    assert len(events(logs, USED)) == 1


@pytest.mark.parametrize("part", ["overrides", "platform"])
def test_a_part_that_is_empty_now_and_was_not_is_as_it_was_kept(world: World, part: str) -> None:
    world.write("overrides/none.yaml", policy("effect: deny", "stop", '["*"]'))
    revision = world.life().current().revision
    (world.home / {"overrides": "overrides/none.yaml", "platform": "policies/base.yaml"}[part]).unlink()
    made = world.life()
    assert (made.current().ready, made.current().revision) == (True, revision)
    assert made.about()["from_state"] == part
    assert made.current().overrides is not None


def test_nothing_is_lost_where_there_was_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "overrides/none.yaml").unlink()
    for _ in range(2):
        made = world.life()
        assert made.current().ready
        assert not made.about()


def test_what_was_kept_is_in_force_only_with_what_is_good_of_the_directories(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that was revoked in the meantime must not work while the scopes' tests run once more."""
    real, ready = Assembly.offer, []

    def offer(self: Assembly, *words: Any) -> Any:
        ready.append(loader.current().ready)
        return real(self, *words)

    world.write("policies/items/p.yaml", "kind: [")
    monkeypatch.setattr(Assembly, "offer", offer)
    settings = SnapshotSettings(state=world.state)
    known = past(settings, world.named, world.clock)
    loader = Loader(world.named, Surroundings(), world.clock, settings=settings, past=known)
    loader.load()
    assert ready == [False, False]
    assert loader.current().ready


def test_a_kept_set_that_is_too_old_is_not_in_force_for_a_moment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, ready = InForce.put, []

    def put(self: InForce, snapshot: Snapshot) -> None:
        real(self, snapshot)
        ready.append(self.current().ready)

    monkeypatch.setattr(InForce, "put", put)
    world.write("policies/base.yaml", "kind: [")
    world.clock = Clock(NOW + 61 * S)
    world.life(max_staleness_s=60, when_stale="deny")
    world.life(max_staleness_s=62, when_stale="deny")
    assert ready == [False, True]


def test_what_a_team_writes_beyond_its_bounds_is_not_read_and_holds_up_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = world.life()
    monkeypatch.setattr(scan, "SCOPE_MAX_FILES", 3)
    for number in range(5):
        world.write(f"policies/items/{number}.yaml", "kind: [")
    world.write("policies/base.yaml", policy("effect: allow, identity: [anyone]", "new", '["*"]'))
    world.write("policies/users/p.yaml", policy("effect: deny", "users-new", "[users.test]"))
    before = made.current().revision
    read: list[str] = []
    real = sources._read_one

    def noting(path: Path) -> bytes:
        read.append(path.parent.name)
        return real(path)

    monkeypatch.setattr(sources, "_read_one", noting)
    made.load()
    assert made.current().revision != before
    assert made.facts().parts == {**dict.fromkeys(made.facts().parts, False), "scope:items": True}
    assert "in one scope: split it" in made.about()["rejected"]
    assert "items" not in read
