"""Which files are whose: by names alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from authz.model.errors import Place, PolicyError
from authz.policy.load import load_lenient
from authz.policy.placement import Home
from authz.policy.scopes import Bounds
from authz.snapshot.ownership import Ownership, real_path, split
from authz.snapshot.parts import PLATFORM, Files, part_of_scope, scope_of_part
from authz.snapshot.sources import Directories, Sources, read_files
from tests.support.documents import join
from tests.support.parts import opening, scope


def scopes(*texts: str) -> list[Bounds]:
    loaded, faults = load_lenient({"s.yaml": join(*texts).encode()}, home=Home.SCOPES)
    assert faults == []
    return list(map(Bounds, loaded.scopes))


A_AND_B = scopes(scope("a"), scope("b"))


@pytest.mark.parametrize(
    ("file", "owner"),
    [
        ("p/teams/a/x.yaml", "a"),
        ("p/teams/a/deep/er/x.yaml", "a"),
        ("other/teams/b/x.yaml", "b"),
        ("p/teams/ab/x.yaml", ""),
        ("p/teams/a.yaml", ""),
        ("p/x/teams/a/x.yaml", ""),
        ("q/teams/a/x.yaml", ""),
        ("p", ""),
    ],
)
def test_a_file_is_whose_directory_it_is_in(file: str, owner: str) -> None:
    ownership = Ownership(["p", "other/"], A_AND_B)
    assert ownership.scope_of(file) == owner
    assert ownership.part_of(file) == (f"scope:{owner}" if owner else PLATFORM)


def test_names_of_parts_and_of_scopes_lead_to_each_other() -> None:
    assert part_of_scope("") == PLATFORM
    for name in ("a", "platform", "overrides"):
        assert scope_of_part(part_of_scope(name)) == name
    assert scope_of_part("overrides") == ""


def test_files_and_faults_are_divided() -> None:
    fault = PolicyError(Place("p/teams/b/y.yaml"), "permission denied")
    files = Files({"p/teams/a/x.yaml": b"a", "p/x.yaml": b"p"}, (fault,), ("p",), {"p": "/p"})
    parts = split(files, Ownership(files.roots, A_AND_B))
    assert {part: list(own.contents) for part, own in parts.items()} == {
        PLATFORM: ["p/x.yaml"],
        "scope:a": ["p/teams/a/x.yaml"],
        "scope:b": [],
    }
    assert [part for part, own in parts.items() if own.faults] == ["scope:b"]


def test_a_name_leads_where_the_nearest_link_above_it_does() -> None:
    links = {"p": "/data/p", "p/teams": "/data/p/..1/teams"}
    assert real_path("p/teams/a", links) == "/data/p/..1/teams/a"
    assert real_path("p/teams", links) == "/data/p/..1/teams"
    assert real_path("p/x", links) == "/data/p/x"
    assert real_path("q/x", links) == "q/x"


def strange(below: Path) -> dict[str, list[str]]:
    files = read_files([below])
    parts = split(files, Ownership(files.roots, A_AND_B))
    return {part: [fault.what for fault in own.faults] for part, own in parts.items() if own.faults}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / "p/teams" / name).mkdir(parents=True)
        (tmp_path / "p/teams" / name / "x.yaml").write_text(opening(name))
    (tmp_path / "p/base.yaml").write_text(opening("base"))
    return tmp_path / "p"


def test_a_tree_without_links_has_no_strange_ones(root: Path) -> None:
    assert strange(root) == {}


@pytest.mark.parametrize("target", ["../b", "../b/x.yaml", "../../base.yaml", "../..", ".."])
def test_a_link_of_a_team_takes_nothing_and_is_its_own_fault(root: Path, target: str) -> None:
    name = "aaa.yaml" if target.endswith(".yaml") else "aaa"
    (root / "teams/a" / name).symlink_to(target)
    assert set(strange(root)) == {"scope:a"}
    contents = set(read_files([root]).contents)
    assert {f"{root}/teams/b/x.yaml", f"{root}/base.yaml"} <= contents


def test_a_link_within_a_teams_directory_is_fine(root: Path) -> None:
    (root / "teams/a/..data").mkdir()
    (root / "teams/a/..data/y.yaml").write_text(opening("a-y"))
    (root / "teams/a/y.yaml").symlink_to("..data/y.yaml")
    assert strange(root) == {}


@pytest.mark.parametrize("target", ["teams", "teams/a", "teams/a/x.yaml"])
def test_a_link_of_the_platform_gives_no_second_name_to_a_teams_documents(root: Path, target: str) -> None:
    (root / ("aaa.yaml" if target.endswith(".yaml") else "aaa")).symlink_to(target)
    assert set(strange(root)) == {PLATFORM}


def test_a_hard_link_is_told_as_a_link(root: Path) -> None:
    (root / "teams/a/aaa.yaml").hardlink_to(root / "teams/b/x.yaml")
    assert set(strange(root)) == {"scope:b"}  # it comes first, so the victim's part stays as it was


def test_a_config_map_that_is_swapped_is_divided_like_any_tree(root: Path, tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    (mount / "..1").mkdir(parents=True)
    for entry in root.iterdir():
        entry.rename(mount / "..1" / entry.name)
    (mount / "..data").symlink_to("..1")
    for name in ("teams", "base.yaml"):
        (mount / name).symlink_to(f"..data/{name}")
    assert strange(mount) == {}
    reading = Sources(Directories([mount])).read()
    assert set(split(reading.policies, Ownership(reading.policies.roots, A_AND_B))["scope:a"].contents) == {
        f"{mount}/teams/a/x.yaml"
    }
