"""A set in parts as commands read it: every fault, and whose it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from authz.cli.policyset import PolicySet, read_set
from authz.snapshot.sources import Directories
from tests.support.documents import join
from tests.support.parts import Contents, opening, scope


@pytest.fixture
def directories(tmp_path: Path) -> Directories:
    contents: Contents = {
        "policies/base.yaml": opening("base"),
        "policies/teams/a/p.yaml": opening("a"),
        "policies/teams/b/p.yaml": opening("b"),
        "scopes/scopes.yaml": join(scope("a"), scope("b")),
        "overrides/stop.yaml": opening("stop", rule="effect: deny"),
    }
    for name, text in contents.items():
        write(tmp_path, name, text)
    return Directories([tmp_path / "policies"], [tmp_path / "scopes"], [tmp_path / "overrides"])


def write(below: Path, name: str, text: str) -> None:
    (below / name).parent.mkdir(parents=True, exist_ok=True)
    (below / name).write_text(text)


def parts(found: PolicySet) -> list[str]:
    return sorted({fault.part for fault in found.faults})


def test_a_good_set_is_built_with_its_overrides(directories: Directories) -> None:
    found = read_set(directories)
    assert found.faults == []
    assert found.built is not None
    assert found.built.snapshot.overrides is not None
    assert found.built.snapshot.revision == found.loaded.revision
    assert [policy.name for policy in found.overrides.policies] == ["stop"]
    assert [bound.name for bound in found.loaded.scopes] == ["a", "b"]


def test_every_part_tells_its_own_faults_at_once(directories: Directories, tmp_path: Path) -> None:
    write(tmp_path, "policies/teams/a/p.yaml", opening("a", "b.example.com"))
    write(tmp_path, "policies/teams/b/p.yaml", "kind: [")
    write(tmp_path, "overrides/stop.yaml", opening("stop"))
    write(tmp_path, "scopes/odd.yaml", opening("odd"))
    found = read_set(directories)
    assert found.built is None
    assert parts(found) == ["overrides", "scope:a", "scope:b", "scopes"]
    write(tmp_path, "policies/base.yaml", opening("base", rule="effect: permit"))
    assert "platform" in parts(read_set(directories))


def test_a_scope_without_documents_is_a_fault(directories: Directories, tmp_path: Path) -> None:
    (tmp_path / "policies/teams/a/p.yaml").unlink()
    (fault,) = read_set(directories).faults
    assert fault.part == "scope:a"
    assert "its hosts would answer 503" in fault.fault.what


def test_without_scopes_and_overrides_there_is_the_platform_alone(tmp_path: Path) -> None:
    write(tmp_path, "set/p.yaml", opening("p"))
    assert read_set(Directories([tmp_path / "set"])).built is not None
    write(tmp_path, "set/s.yaml", scope("a"))
    assert parts(read_set(Directories([tmp_path / "set"]))) == ["platform"]
    assert parts(read_set(Directories([tmp_path / "nowhere"]))) == ["platform"]
