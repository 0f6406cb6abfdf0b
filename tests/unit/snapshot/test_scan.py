"""What a look depended on: every directory that holds what was seen, every name that leads there."""

from __future__ import annotations

from pathlib import Path

import pytest

from authz.snapshot.scan import look


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path.resolve()


def holding(*directories: Path) -> set[str]:
    return set(look(directories).watched.holding)


def test_a_directory_and_those_below_hold_what_is_seen(root: Path) -> None:
    (root / "set" / "below").mkdir(parents=True)
    (root / "set" / ".git").mkdir()
    seen = look([root / "set"]).watched
    assert seen.holding == {f"{root}/set", f"{root}/set/below"}
    assert seen.names == {f"{root}/set"}
    assert set(seen.directories) == {*seen.holding, str(root)}
    found = (root / "set").stat()
    assert seen.directories[f"{root}/set"] == (found.st_dev, found.st_ino)


def test_of_a_work_tree_behind_a_link_the_link_is_a_name(root: Path) -> None:
    (root / "one" / "policies").mkdir(parents=True)
    (root / "current").symlink_to("one")
    seen = look([root / "current" / "policies"]).watched
    assert seen.names == {f"{root}/current", f"{root}/one/policies"}
    assert set(seen.directories) == {str(root), f"{root}/one", f"{root}/one/policies"}


def test_of_a_config_map_the_version_is_watched_too(root: Path) -> None:
    (root / "..v1").mkdir()
    (root / "..v1" / "a.yaml").touch()
    (root / "..data").symlink_to("..v1")
    (root / "a.yaml").symlink_to("..data/a.yaml")
    seen = look([root]).watched
    assert {f"{root}/..data", f"{root}/a.yaml", str(root)} == seen.names
    assert seen.holding == {str(root), f"{root}/..v1"}


@pytest.mark.parametrize("missing", ["set", "deep/er/set"])
def test_of_what_is_not_there_the_first_missing_name_is_watched(root: Path, missing: str) -> None:
    seen = look([root / missing]).watched
    assert seen.names == {f"{root}/{missing.partition('/')[0]}"}
    assert set(seen.directories) == {str(root)}
    assert seen.holding == frozenset()


def test_a_broken_link_inside_is_watched_where_it_points(root: Path) -> None:
    (root / "a.yaml").symlink_to("gone/a.yaml")
    assert f"{root}/gone" in look([root]).watched.names


def test_two_looks_are_equal_unless_something_was_touched(root: Path) -> None:
    (root / "a.yaml").write_bytes(b"a")
    before = look([root])
    assert look([root]).entries == before.entries
    (root / "a.yaml").chmod(0o600)
    assert look([root]).entries != before.entries
