"""What was last good is there for the next start, and nothing that it could be mistaken for."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from authz.model.errors import StateUnusable
from authz.snapshot import state as module
from authz.snapshot.kept import REVISIONS
from authz.snapshot.parts import PLATFORM, Files, Parts
from authz.snapshot.state import Former, State, identity_of

IDENTITY = identity_of([Path("policies")])
ONE, TWO = "000000000001", "000000000002"
S = 1_000_000  # microseconds
NOW = 1_800_000_000 * S


def parts(content: bytes = b"a: b\n") -> Parts:
    return {PLATFORM: Files({"policies/a.yaml": content})}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "state"


def state(home: Path | None) -> State:
    return State(home, IDENTITY)


def only_file(home: Path) -> Path:
    (found,) = home.iterdir()
    return found


def refused(home: Path) -> str:
    with pytest.raises(StateUnusable) as caught:
        state(home).load(NOW)
    return str(caught.value)


def test_the_next_life_finds_what_this_one_kept(home: Path) -> None:
    assert state(home).load(NOW) is None
    assert state(home).keep(ONE, parts(), NOW)
    assert state(home).load(NOW) == Former(ONE, parts(), NOW)
    assert only_file(home).name == f"{IDENTITY}.set"


def test_what_is_kept_already_is_not_written_again(home: Path) -> None:
    made, kept = state(home), parts()
    assert made.keep(ONE, kept, NOW)
    assert not made.keep(ONE, kept, NOW)
    assert not state(home).keep(ONE, parts(), NOW)
    assert made.keep(ONE, parts(b"a: c\n"), NOW), "tests do not count for the revision, and are kept"
    assert made.keep(TWO, kept, NOW)


def test_when_the_set_was_last_known_is_noted_once_a_minute(home: Path) -> None:
    made, kept = state(home), parts()
    made.keep(ONE, kept, NOW)
    for later_s, noted_s in ((59, 0), (60, 60), (61, 60), (200, 200), (100, 100)):
        assert not made.keep(ONE, kept, NOW + later_s * S)
        former = state(home).load(NOW + 1000 * S)
        assert former is not None
        assert former.known_us == NOW + noted_s * S


def test_what_somebody_removed_is_written_anew(home: Path) -> None:
    made, kept = state(home), parts()
    made.keep(ONE, kept, NOW)
    only_file(home).unlink()
    assert made.keep(ONE, kept, NOW + 60 * S)
    shutil.rmtree(home)
    assert made.keep(ONE, kept, NOW + 120 * S)
    assert state(home).load(NOW) is not None


def test_what_another_process_kept_in_between_is_replaced(home: Path) -> None:
    made, other = state(home), state(home)
    made.keep(ONE, parts(), NOW)
    other.keep(TWO, parts(b""), NOW)
    assert made.keep(ONE, parts(), NOW)


def test_two_sets_are_kept_beside_each_other(home: Path) -> None:
    others = identity_of([Path("policies")], [], [Path("brake")])
    state(home).keep(ONE, parts(), NOW)
    State(home, others).keep(TWO, {}, NOW)
    assert state(home).load(NOW) == Former(ONE, parts(), NOW)
    assert State(home, others).load(NOW) == Former(TWO, {}, NOW)


def test_a_set_is_known_by_the_names_of_its_directories_in_their_roles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.mkdir()
    (tmp_path / "link").symlink_to(a)
    monkeypatch.chdir(tmp_path)
    assert identity_of([Path("a")]) == identity_of([a]) == identity_of([tmp_path / "x" / ".." / "a"])
    names = {
        identity_of(*groups)
        for groups in ([[a]], [[b]], [[a, b]], [[b, a]], [[a], [b]], [[], [a]], [[tmp_path / "link"]])
    }
    assert len(names) == 7


def test_what_was_in_force_before_is_remembered_over_lives(home: Path) -> None:
    made = state(home)
    assert not made.was_active(ONE)
    made.keep(ONE, parts(), NOW)
    made.keep(TWO, parts(b""), NOW)
    assert made.was_active(ONE)
    assert made.was_active(TWO)
    later = state(home)
    assert not later.was_active(ONE), "nothing is believed before it was verified"
    later.load(NOW)
    assert later.was_active(ONE)
    assert not later.was_active("000000000003")


def test_only_the_last_revisions_are_remembered(home: Path) -> None:
    made = state(home)
    for number in range(REVISIONS + 1):
        made.keep(f"{number:012x}", parts(), NOW)
    assert not made.was_active(f"{0:012x}")
    assert made.was_active(f"{1:012x}")
    made.keep(f"{1:012x}", parts(), NOW)
    made.keep("ffffffffffff", parts(), NOW)
    assert made.was_active(f"{1:012x}"), "it came back lately"


def test_without_a_directory_only_this_life_is_remembered() -> None:
    made = state(None)
    assert made.load(NOW) is None
    assert not made.keep(ONE, parts(), NOW)
    assert made.was_active(ONE)


def test_what_was_damaged_is_refused_with_what_to_do(home: Path) -> None:
    state(home).keep(ONE, parts(), NOW)
    path = only_file(home)
    content = path.read_bytes()
    for damaged in (content[:-1], content + b"x", content.replace(b"a: b", b"a: c"), b"", b"{}"):
        path.write_bytes(damaged)
        found = refused(home)
        assert found.startswith(f"{path}: ")
        assert found.endswith(": remove it, or let it be overwritten")
    path.write_bytes(content.replace(b"authz-state 1", b"authz-state 0"))
    assert "written by another version of authz" in refused(home)
    made = state(home)
    assert made.keep(ONE, parts(), NOW)
    assert made.load(NOW) is not None


def test_what_was_kept_for_other_directories_is_refused(home: Path) -> None:
    State(home, "f" * 16).keep(ONE, parts(), NOW)
    only_file(home).rename(home / f"{IDENTITY}.set")
    assert "kept for other directories" in refused(home)


def test_what_others_could_have_written_is_refused_and_not_overwritten(home: Path) -> None:
    made = state(home)
    made.keep(ONE, parts(), NOW)
    home.chmod(0o777)
    assert refused(home) == f"{home}: open to others (mode 0777): run `chmod 0700` on it"
    with pytest.raises(StateUnusable, match="open to others"):
        made.keep(TWO, parts(b""), NOW)
    home.chmod(0o700)
    only_file(home).chmod(0o666)
    assert "open to others (mode 0666)" in refused(home)


def test_a_link_to_nowhere_is_no_missing_directory(home: Path) -> None:
    home.symlink_to("nowhere")
    assert refused(home) == f"{home}: a link: name the directory that it leads to"
    with pytest.raises(StateUnusable, match="a link: name the directory that it leads to"):
        state(home).keep(ONE, parts(), NOW)


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StateUnusable, match="name a directory that can be made and written"):
        state(tmp_path / "file" / "state").keep(ONE, parts(), NOW)


def test_a_set_that_is_too_large_is_neither_kept_nor_read(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = state(home)
    made.keep(ONE, parts(b"x" * 1000), NOW)
    monkeypatch.setattr(module, "MAX_BYTES", 1000)
    with pytest.raises(StateUnusable, match="a set of more than 1000 bytes is not kept"):
        made.keep(TWO, parts(b"x" * 900), NOW)
    assert refused(home).endswith("more than 1000 bytes: remove it")


def test_one_that_could_not_be_kept_is_tried_again(home: Path) -> None:
    home.write_bytes(b"")
    made, kept = state(home), parts()
    with pytest.raises(StateUnusable):
        made.keep(ONE, kept, NOW)
    home.unlink()
    assert made.keep(ONE, kept, NOW)


def test_what_a_killed_writer_left_goes_away_at_the_next_start(home: Path) -> None:
    state(home).keep(ONE, parts(), NOW)
    left, fresh = home / f"{IDENTITY}.set.aa.tmp", home / f"{IDENTITY}.set.bb.tmp"
    for path, age_s in ((left, 3601), (fresh, 10)):
        path.write_bytes(b"half")
        os.utime(path, (NOW // S - age_s,) * 2)
    state(home).load(NOW)
    assert not left.exists()
    assert fresh.exists()


def test_a_time_that_has_not_come_yet_counts_as_now(home: Path) -> None:
    state(home).keep(ONE, parts(), NOW)
    assert state(home).load(NOW - 5 * S) == Former(ONE, parts(), NOW - 5 * S)
