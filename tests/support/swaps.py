"""A directory of policies that is changed in every way that people and programs do it.

The operator names `current/policies`; `current` is a link, as git-sync has it. Sets are marked: every
decision shows which one it was made by. `policy.yaml` and `site.yaml` each have a number of their own.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from authz.policy.load import load
from tests.support.documents import PROVIDER, document, join, key

HOST = "swap.test"
ROOMY = document("Limit", "roomy", "{per: [client.network], rate: 1000000/s}")


class Marks(NamedTuple):
    """Which policy and which Site a set has."""

    policy: int
    site: int


def files(marks: Marks) -> dict[str, bytes]:
    """Return the files of a set: `/open` is allowed, `/shut` denied, and both answers show their marks.

    Neither file is a set without the other: the policy spends a limit of the second, whose key has a provider
    of the first.
    """
    rules = (
        f"[{{name: r{marks.policy}, effect: allow, paths: [/open], identity: [anyone], limits: [roomy]}},"
        f" {{name: d{marks.policy}, effect: deny, paths: [/shut]}}]"
    )
    headers = f"""{{x-set: '"{marks.policy}"'}}"""
    policy = document("Policy", "p", f"{{hosts: [{HOST}], rules: {rules}, onAllow: {{headers: {headers}}}}}")
    answer = f'{{default: {{headers: {{x-site: "{marks.site}"}}}}}}'
    site = document("Site", "s", f"{{hosts: [{HOST}], onDeny: {answer}}}")
    return {"policy.yaml": join(policy, PROVIDER).encode(), "site.yaml": join(site, ROOMY, key()).encode()}


def revision(contents: Mapping[str, bytes]) -> str:
    """Return the revision of a set."""
    return load(contents).revision


class Place:
    """Where the sets stand. Each style is a method that puts files there."""

    def __init__(self, root: Path, contents: Mapping[str, bytes]) -> None:
        self._root = root
        self._count = 0
        self._config_map = False  # how the files stand now
        self.complete_us = 0  # when the last step was complete, microseconds since 1970
        root.mkdir(exist_ok=True)
        self.git_sync(contents)

    @property
    def policies(self) -> Path:
        """What the operator names."""
        return self._root / "current" / "policies"

    def git_sync(self, contents: Mapping[str, bytes]) -> None:
        """Write a new work tree beside, and swap the link to it; remove the old one."""
        self._swap_tree(contents, config_map=False)

    def config_map(self, contents: Mapping[str, bytes]) -> None:
        """Swap `..data`, as the kubelet does; where the files do not stand so yet, a tree where they do."""
        if not self._config_map:
            self._swap_tree(contents, config_map=True)
            return
        before = (self.policies / "..data").readlink()
        self._write_version(self.policies, contents)
        self._complete()
        shutil.rmtree(self.policies / before)

    def directory(self, contents: Mapping[str, bytes]) -> None:
        """Rename the directory away, and another one into its place."""
        new, old = self._beside("new"), self._beside("old")
        new.mkdir()
        _write(new, contents)
        self.policies.rename(old)
        new.rename(self.policies)
        self._complete()
        self._config_map = False
        shutil.rmtree(old)

    def recreate(self, contents: Mapping[str, bytes]) -> None:
        """Delete the directory, make it anew, and write into it."""
        shutil.rmtree(self.policies)
        self.policies.mkdir()
        _write(self.policies, contents)
        self._complete()
        self._config_map = False

    def rename_over(self, contents: Mapping[str, bytes]) -> None:
        """Write beside each file and rename over it, as editors do."""
        for name, content in contents.items():
            (self.policies / f".{name}.swp").write_bytes(content)
            (self.policies / f".{name}.swp").rename(self.policies / name)
        self._complete()
        self._config_map = False

    def in_place(self, contents: Mapping[str, bytes]) -> None:
        """Write into the files that are there."""
        _write(self.policies, contents)
        self._complete()

    def _swap_tree(self, contents: Mapping[str, bytes], *, config_map: bool) -> None:
        self._count += 1
        tree, link = self._root / f"tree-{self._count}", self._root / "current"
        (tree / "policies").mkdir(parents=True)
        if config_map:
            self._write_version(tree / "policies", contents)
            for name in contents:
                (tree / "policies" / name).symlink_to(f"..data/{name}")
        else:
            _write(tree / "policies", contents)
        before = link.resolve() if link.is_symlink() else None
        _swap_link(link, tree.name)
        self._complete()
        self._config_map = config_map
        if before is not None:
            shutil.rmtree(before)

    def _write_version(self, directory: Path, contents: Mapping[str, bytes]) -> None:
        self._count += 1
        version = directory / f"..2026_11_22_{self._count}"
        version.mkdir()
        _write(version, contents)
        _swap_link(directory / "..data", version.name)

    def _complete(self) -> None:
        self.complete_us = time.time_ns() // 1000

    def _beside(self, name: str) -> Path:
        self._count += 1
        return self.policies.resolve().with_name(f"{name}-{self._count}")


Style = Callable[[Place, Mapping[str, bytes]], None]

# Whether it changes every file of a set in one step.
STYLES: Mapping[str, tuple[Style, bool]] = {
    "git-sync": (Place.git_sync, True),
    "ConfigMap": (Place.config_map, True),
    "directory": (Place.directory, True),
    "recreate": (Place.recreate, False),
    "rename-over": (Place.rename_over, False),
    "in place": (Place.in_place, False),
}


def _write(directory: Path, contents: Mapping[str, bytes]) -> None:
    for name, content in contents.items():
        (directory / name).write_bytes(content)


def _swap_link(link: Path, target: str) -> None:
    new = link.with_name(f"{link.name}_tmp")
    new.symlink_to(target)
    new.replace(link)
