"""Policies from Git, as the chart's git mode has them: a commit is enforced, and a broken one is not.

git-sync itself cannot be had here: support/gitsync.py does to the volume what it does, as the chart's own
render tells it to.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from authz.proxy.process import Child, Plan, free_port, http_get, program
from tests.kube.tools import missing
from tests.support.documents import document
from tests.support.gitsync import KNOWN, GitSync, git
from tests.support.hostile import HOST
from tests.support.proxy import eventually
from tests.support.serving import Callers, asked

RENDER = Path(__file__).parents[2] / "charts" / "authz" / "ci" / "git-render.yaml"
MOUNTED = "/etc/authz/policies"


def _containers() -> dict[str, dict[str, Any]]:
    """Return the containers that the chart's git mode puts into pods, by name."""
    for made in yaml.safe_load_all(RENDER.read_text()):
        pod = (
            made["data"]["injection.json"]["pod"]["spec"]
            if "injection.json" in made.get("data", {})
            else None
        )
        if pod:
            return {one["name"]: one for one in [*pod["initContainers"], *pod["containers"]]}
    raise AssertionError("there is no injection in the render")


CONTAINERS = _containers()


def _environment(name: str) -> dict[str, str]:
    return {one["name"]: one["value"] for one in CONTAINERS[name]["env"] if "value" in one}


def _policy(*paths: str) -> str:
    rules = f"[{{name: open, effect: allow, paths: [{', '.join(paths)}], identity: [anyone]}}]"
    return document("Policy", "open", f"{{hosts: [{HOST}], rules: {rules}}}")


def _policies_of_the_sidecar(volume: Path) -> Path:
    """Return where the sidecar looks for the set `default`, in the volume."""
    path = _environment("authz")["AUTHZ_POLICIES"].replace("${policies}", "default")
    return volume / Path(path).relative_to(MOUNTED)


class Team:
    """Who commits policies to a repository that a sidecar serves from."""

    def __init__(self, home: Path) -> None:
        environment = _environment("authz-git")
        self.repository, self.volume = home / "repository", home / "volume"
        self.policies = _policies_of_the_sidecar(self.volume)
        self._file = self.repository / self.policies.relative_to(self.volume / "current") / "open.yaml"
        self._sync = GitSync(environment, self.volume, self.repository)
        self._file.parent.mkdir(parents=True)
        self.volume.mkdir()
        git(self.repository, "init", "-q", "-b", environment["GITSYNC_REF"])

    def commit(self, text: str) -> None:
        """Commit the policy, and let git-sync see it."""
        self._file.write_text(text)
        git(self.repository, "add", "--all")
        git(self.repository, "commit", "-q", "--allow-empty", "-m", "change")
        self._sync.look()


class Served:
    """`authz serve` on what the team commits."""

    def __init__(self, team: Team, home: Path, stack: ExitStack) -> None:
        self.team, self.socket, self._ops = team, home / "a.sock", free_port()
        command = [program("authz"), "serve", "--policies", str(team.policies), "--debug", "off"]
        command += ["--listen", f"unix:{self.socket}", "--ops", f"127.0.0.1:{self._ops}", "--state", "off"]
        plan = Plan("the sidecar", command, home / "log", home / "out", {"AUTHZ_POLL_S": "600"})
        self.child = stack.enter_context(Child(plan))
        self.child.wait_until(lambda: (http_get(self._ops, "/ready") or (0, b""))[0] == 200, timeout_s=60)

    def answers(self, status: int) -> bool:
        """Whether a check is answered so, soon."""
        return eventually(lambda: asked(self.socket) == status)

    def rejects(self) -> bool:
        """Whether it says soon that it was given what it cannot take."""
        return eventually(lambda: b"rejected" in (http_get(self._ops, "/ready") or (0, b""))[1])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    if shutil.which("git") is None:
        missing("there is no git here")
    home = tmp_path_factory.mktemp("git")
    team = Team(home)
    team.commit(_policy("/open"))
    with ExitStack() as stack:
        yield Served(team, home, stack)


def test_a_commit_is_enforced_without_a_restart_nor_waiting_for_a_look(served: Served) -> None:
    assert served.answers(200)
    served.team.commit(_policy("/other"))
    assert served.answers(403)
    served.team.commit(_policy("/open"))
    assert served.answers(200)
    assert served.child.running


def test_a_broken_commit_changes_nothing_and_the_next_good_one_does(served: Served) -> None:
    served.team.commit("kind: Policy\nspec: {rules: nonsense}\n")
    assert served.rejects()
    assert served.answers(200)
    served.team.commit(_policy("/other"))
    assert served.answers(403)


def test_no_check_is_refused_while_commits_follow_each_other(served: Served) -> None:
    served.team.commit(_policy("/open"))
    assert served.answers(200)
    with Callers(served.socket) as callers:
        for number in range(10):
            served.team.commit(_policy("/open", f"/number/{number}"))
        assert eventually(lambda: sum(callers.statuses.values()) > 50)
    assert set(callers.statuses) == {200}
    served.team.commit(_policy("/other"))
    assert served.answers(403)


def test_what_is_checked_out_may_be_read_by_another_user(served: Served) -> None:
    user = {CONTAINERS[name]["securityContext"]["runAsUser"] for name in ("authz", "authz-git")}
    assert len(user) == 2
    tree = served.team.policies.resolve()
    above = [path for path in tree.parents if path.is_relative_to(served.team.volume)]
    assert all(path.stat().st_mode & 0o005 == 0o005 for path in [tree, *above])
    assert all(path.stat().st_mode & 0o004 for path in tree.iterdir())


@pytest.mark.parametrize("name", ["authz-git-init", "authz-git"])
def test_git_sync_is_told_what_it_knows_and_the_first_time_only_once(name: str) -> None:
    environment = _environment(name)
    assert {one for one in environment if one != "HOME"} <= KNOWN
    assert environment["GITSYNC_ROOT"] == MOUNTED
    assert environment["GITSYNC_ONE_TIME"] == str(name.endswith("-init")).lower()
    assert environment["GITSYNC_SUBMODULES"] == "off"
    # Its settings of git and its temporary files go there, since the root is read-only.
    assert environment["HOME"] == "/tmp"
    mounts = {one["mountPath"]: one for one in CONTAINERS[name]["volumeMounts"]}
    assert not mounts["/tmp"].get("readOnly")
    assert not mounts[MOUNTED].get("readOnly")


def test_the_sidecar_cannot_write_what_git_sync_brings() -> None:
    mounts = {one["mountPath"]: one for one in CONTAINERS["authz"]["volumeMounts"]}
    assert mounts[MOUNTED]["readOnly"] is True
