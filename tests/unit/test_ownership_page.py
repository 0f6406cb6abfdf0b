"""The page about scopes and overrides: its documents are laid out as it says, and do what it says."""

from __future__ import annotations

import re
from pathlib import Path

from authz.cli.policyset import read_set
from authz.snapshot.scan import SCOPE_MAX_BYTES, SCOPE_MAX_FILES
from authz.snapshot.sources import Directories
from tests.support.parts import decided

PAGE = (Path(__file__).parents[2] / "docs/ownership.md").read_text()
BLOCK = re.compile(r"^`([a-z/-]+\.yaml)`\n\n```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def lay_out(below: Path) -> Directories:
    blocks = BLOCK.findall(PAGE)
    assert len(blocks) == PAGE.count("```yaml") == 4
    for name, text in blocks:
        (below / name).parent.mkdir(parents=True, exist_ok=True)
        (below / name).write_text(text)
    return Directories([below / "policies"], [below / "scopes"], [below / "overrides"])


def test_the_documents_of_the_page_are_a_set_that_does_what_it_says(tmp_path: Path) -> None:
    found = read_set(lay_out(tmp_path))
    assert found.faults == []
    assert found.built is not None
    snapshot = found.built.snapshot
    assert decided(snapshot, "items.example.com", "/api/items") == "credential_missing"
    assert decided(snapshot, "items.example.com", "/api/items/export") == "denied_by_rule stop-export/export"
    assert decided(snapshot, "other.example.com", "/export/all") == "denied_by_rule stop-export/export"
    assert decided(snapshot, "other.example.com", "/health") == "allow health/probe"


def test_what_the_page_calls_a_default_is_one(tmp_path: Path) -> None:
    named = lay_out(tmp_path)
    (scope,) = read_set(named).loaded.scopes
    written = tmp_path / "scopes/items.yaml"
    kept = [line for line in written.read_text().splitlines() if "default, from" not in line]
    written.write_text("\n".join(line for line in kept if "these are the default" not in line))
    (bare,) = read_set(named).loaded.scopes
    assert bare.spec.kinds == scope.spec.kinds
    assert bare.spec.names is None
    assert read_set(named).faults == []
    assert scope.spec.names == ("items", "items-*")


def test_the_bounds_on_the_page_are_those_of_the_code() -> None:
    assert f"{SCOPE_MAX_FILES:,} files and {SCOPE_MAX_BYTES // 2**20} MiB" in PAGE
