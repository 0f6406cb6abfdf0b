"""What people build around policy files runs as it is written: hooks, pipelines, schema."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from authz.policy.layout.layout import formatted
from authz.policy.yaml import parse
from tests.support.schema import complaints

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "policies/examples/partner-api"
AUTHZ = Path(sys.executable).parent  # where the command stands
HOOKS: list[dict[str, Any]] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((ROOT / "policies/schema/policy.schema.json").read_text())
FILES = sorted(ROOT.glob("policies/examples/**/*.yaml"))

# Source: pre-commit.com, "Creating new hooks".
HOOK_FIELDS = {
    *("id", "name", "entry", "language", "files", "exclude", "types", "types_or", "exclude_types"),
    *("always_run", "fail_fast", "verbose", "pass_filenames", "require_serial", "description"),
    *("language_version", "minimum_pre_commit_version", "args", "stages"),
}


def git(repository: Path, *words: str) -> str:
    settings = ["-c", "user.name=n", "-c", "user.email=n@example.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *settings, *words], cwd=repository, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose policies have changed since its first commit."""
    shutil.copytree(EXAMPLE, tmp_path / "policies")
    git(tmp_path, "init", "-q", "-b", "main")
    subprocess.run(
        [AUTHZ / "authz", "policy", "fmt", "policies"], cwd=tmp_path, check=True, capture_output=True
    )
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "one")
    limits = tmp_path / "policies/limits.yaml"
    limits.write_text(re.sub(r"rate: [0-9]+/", "rate: 7/", limits.read_text(), count=1))
    git(tmp_path, "commit", "-q", "-a", "-m", "two")
    return tmp_path


def run(script: str, where: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": f"{AUTHZ}:{os.environ['PATH']}",
        "HOME": str(where),
        "POLICIES": "policies",
        **more,
    }
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=where, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_hook_is_one_that_pre_commit_takes_and_its_entry_runs(
    hook: dict[str, Any], repository: Path
) -> None:
    assert {"id", "name", "entry", "language", "files"} <= set(hook) <= HOOK_FIELDS
    assert hook["language"] == "python"
    assert re.search(hook["files"], "policies/below/items.yaml")
    assert not re.search(hook["files"], "charts/values.yaml")
    named = "" if hook.get("pass_filenames") is False else " policies/api.yaml policies/limits.yaml"
    done = run(f"{hook['entry']} {' '.join(hook.get('args', []))}{named}", repository)
    assert done.returncode == 0, done.stderr
    assert git(repository, "status", "--short") == ""


def test_a_hook_says_no_where_something_is_wrong(repository: Path) -> None:
    path = repository / "policies/limits.yaml"
    path.write_text(path.read_text().replace("kind: Limit", "kind: Limt", 1))
    for hook in HOOKS:
        if hook["id"] != "authz-policy-fmt":
            assert run(f"{hook['entry']} {' '.join(hook['args'])}", repository).returncode == 1


def _steps() -> Iterator[Any]:
    workflow = yaml.safe_load((ROOT / "docs/ci/policy.yml").read_text())
    for step in workflow["jobs"]["policy"]["steps"]:
        if "authz " in step.get("run", ""):
            yield pytest.param(step["run"], id=step["name"])


def test_the_workflow_is_one_that_github_takes() -> None:
    workflow = yaml.load((ROOT / "docs/ci/policy.yml").read_text(), Loader=yaml.BaseLoader)
    assert set(workflow) <= {"name", "on", "permissions", "concurrency", "env", "jobs"}
    for step in workflow["jobs"]["policy"]["steps"]:
        assert ("run" in step) != ("uses" in step)
        assert set(step) <= {"name", "run", "uses", "with", "env", "if"}
        # What others write (titles, branch names) must not be pasted into a shell.
        assert "${{" not in step.get("run", "")
    assert len(list(_steps())) == 4


@pytest.mark.parametrize("script", list(_steps()))
def test_every_step_of_the_workflow_runs(script: str, repository: Path) -> None:
    summary = repository / ".git/summary"
    base = git(repository, "rev-parse", "HEAD^")
    done = run(script, repository, BASE=base, GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == 0, done.stderr
    if "diff" in script:
        assert "**Limit `" in summary.read_text()
        assert "revision" in (repository / "policy-diff.md").read_text()
    if "junit" in script:
        assert "<testsuite" in (repository / "policy-tests.xml").read_text()


def test_every_command_of_the_gitlab_job_runs(repository: Path) -> None:
    job = yaml.safe_load((ROOT / "docs/ci/gitlab.yml").read_text())["policy"]
    assert all(command.startswith("authz policy ") for command in job["script"])
    for command in job["script"]:
        done = run(command, repository)
        assert done.returncode == 0, done.stderr
    assert (repository / job["artifacts"]["reports"]["junit"]).is_file()
    assert (repository / job["artifacts"]["paths"][0]).read_text().startswith("### Policies: ")


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_example_stands_in_the_written_form(file: Path) -> None:
    assert formatted(file.read_bytes(), file.name) == file.read_bytes(), (
        "run `authz policy fmt policies/examples`"
    )


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_published_schema_takes_every_example(file: Path) -> None:
    for tree in parse(file.read_bytes(), file.name).trees:
        assert complaints(SCHEMA, tree.data) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("effect: allow", "effect: permit"),
        ("kind: Policy", "kind: Polcy"),
        ("methods:", "method:"),
        ("hosts: [", "hosts: [1, "),
        ("name: ", "name: A "),
        ("apiVersion: policy.authz/v1alpha1", "apiVersion: v1"),
    ],
)
def test_the_published_schema_refuses_what_an_editor_should_underline(old: str, new: str) -> None:
    text = (EXAMPLE / "api.yaml").read_text()
    assert old in text
    trees = parse(text.replace(old, new, 1).encode(), "f").trees
    assert any(complaints(SCHEMA, tree.data) for tree in trees)


def test_every_field_says_what_it_is_while_it_is_typed() -> None:
    for name, part in SCHEMA["$defs"].items():
        for field, told in part.get("properties", {}).items():
            said = (
                told.get("description") or told.get("const") or SCHEMA["$defs"].get(told.get("$ref", "")[8:])
            )
            assert said, f"{name}.{field}"
