"""What must hold for every file of the tree, whoever wrote it and wherever."""

from __future__ import annotations

import ast
import configparser
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from authz.config.settings import KEYS

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "authz").rglob("*.py"))
LOCKS = sorted(ROOT.glob("*.lock"))

# In brackets, so that this file does not find itself.
_MACHINE = re.compile(r"(?<![\w.-])/(?:wor[k]|roo[t]|tm[p]/exp)(?![\w-])")
_TOOLS = re.compile(
    r"\b(?:anthropi[c]|claud[e]|copilo[t]|chatgp[t]|subagen[t]|before-sto[p])\b", re.IGNORECASE
)


def _tracked() -> list[Path]:
    """Return every file under version control; without git (an unpacked archive) every file that is there."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
        paths = [ROOT / name for name in listed.decode().split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        paths = list(_found())
    return [path for path in paths if path.is_file()]


def _found() -> Iterator[Path]:
    for folder, below, names in os.walk(ROOT):
        below[:] = [name for name in below if not name.startswith(".") and name != "__pycache__"]
        yield from (Path(folder, name) for name in names)


def _texts() -> Iterator[tuple[str, str]]:
    for path in _tracked():
        # Inputs of fuzzing may be any bytes.
        yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8", errors="replace")


def test_the_patterns_find_what_they_are_for() -> None:
    assert _MACHINE.search("see /wor" + "k/main/authz")
    assert _MACHINE.search('"/roo' + 't/.cache"')
    assert not _MACHINE.search("spiffe://prod/workers, net/work, /rooted")
    assert _TOOLS.search("written with Clau" + "de")


def test_no_file_names_the_machine_it_was_written_on() -> None:
    files = dict(_texts())
    assert len(files) > 150
    assert [name for name, text in files.items() if _MACHINE.search(text) or _TOOLS.search(text)] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_file_names_no_index_and_hashes_everything(lock: Path) -> None:
    text = lock.read_text()
    assert not re.search(r"https?://|^\s*--(?:extra-)?index-url|^\s*--find-links", text, re.MULTILINE)
    pinned = re.findall(r"^[a-z0-9][^\s=]*==.*?(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    assert len(pinned) > 5
    assert [entry.split()[0] for entry in pinned if "--hash=sha256:" not in entry] == []


def test_the_lock_files_are_those_that_make_lock_renews() -> None:
    recipe = (ROOT / "Makefile").read_text().partition("\nlock:")[2].partition("\n\n")[0]
    renewed = re.findall(r"-o (\S+\.lock)", recipe)
    assert [path.name for path in LOCKS] == sorted(renewed)
    assert len(renewed) == 4


def test_the_import_contract_names_every_room() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / ".importlinter")
    rooms = config["importlinter:contract:rooms"]
    assert rooms.getboolean("exhaustive")
    assert "exhaustive_ignores" not in rooms
    named = set(re.findall(r"[a-z]+", rooms["layers"]))
    there = {path.stem for path in (ROOT / "authz").iterdir() if path.is_dir() or path.suffix == ".py"}
    assert named == there - {"__init__", "__pycache__"}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_says_what_it_is(module: Path) -> None:
    assert ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))


def test_public_names_must_have_docstrings() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert "D1" in lint["select"]
    assert not {"D100", "D101", "D102", "D103", "D104", "D106"} & set(lint["ignore"])
    excused = [
        where for where, codes in lint["per-file-ignores"].items() if any(c.startswith("D") for c in codes)
    ]
    assert excused == ["tests/**"]


def test_the_example_environment_lists_every_name() -> None:
    listed = set(re.findall(r"^# ?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert listed == {key.env for key in KEYS.values()}


def test_every_unit_test_file_of_a_room_has_its_source() -> None:
    orphans = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tests" / "unit").glob("*/test_*.py")
        if not (ROOT / "authz" / path.parent.name / f"{path.stem.removeprefix('test_')}.py").is_file()
    ]
    assert orphans == []


def test_ci_runs_what_people_run() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    lines = script.read_text().splitlines()
    assert "set -euo pipefail" in lines
    assert {"make check", "make test"} <= set(lines)


def test_every_folder_of_tests_is_run() -> None:
    """One that `testpaths` forgets would never be: `kube` has a command of its own, `support` no tests."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"][
        "testpaths"
    ]
    found = {path.parent.relative_to(ROOT).parts[:2] for path in (ROOT / "tests").rglob("test_*.py")}
    assert {"/".join(parts) for parts in found} - set(listed) == {"tests/kube"}
    assert "tests/kube" in (ROOT / "Makefile").read_text()
    assert "make test-kube" in (ROOT / ".ci" / "run").read_text()
