"""What git-sync does to a volume, done by hand: it cannot be had where this is tested.

The same commands of git in the same order, and the same files: a repository in the root, each commit checked
out into a work tree of its own, a link beside it that is swapped once that is whole, and the work tree before
it removed at once. Source: `SyncRepo`, `configureWorktree`, `publishSymlink`, `cleanup` of git-sync 4.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

# What git-sync 4 reads of its environment, of what users of ours may need; any other name it ignores.
KNOWN = frozenset(
    f"GITSYNC_{name}"
    for name in (
        *(
            "REPO",
            "REF",
            "DEPTH",
            "SUBMODULES",
            "ROOT",
            "LINK",
            "ERROR_FILE",
            "PERIOD",
            "SYNC_TIMEOUT",
            "ONE_TIME",
        ),
        *(
            "MAX_FAILURES",
            "TOUCH_FILE",
            "ADD_USER",
            "GROUP_WRITE",
            "STALE_WORKTREE_TIMEOUT",
            "USERNAME",
            "PASSWORD",
        ),
        *(
            "PASSWORD_FILE",
            "SSH_KEY_FILE",
            "SSH_KNOWN_HOSTS",
            "SSH_KNOWN_HOSTS_FILE",
            "COOKIE_FILE",
            "GIT_CONFIG",
        ),
        *("GIT_GC", "HTTP_BIND", "HTTP_METRICS", "VERBOSE"),
    )
)


def git(directory: Path, *words: str) -> str:
    """Run git, with nobody's settings; return what it prints."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        "HOME": "/nonexistent",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        **{f"GIT_{who}_{what}": "a@b.test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    done = subprocess.run(
        ["git", *words],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


class GitSync:
    """A git-sync that looks when it is told to.

    Args:
        environment: of its container.
        volume: where the container's root is here.
        repository: what it follows in place of what the environment says.
    """

    def __init__(self, environment: Mapping[str, str], volume: Path, repository: Path) -> None:
        assert {name for name in environment if name.startswith("GITSYNC_")} <= KNOWN
        self._root, self._repository = volume, f"file://{repository}"
        self._ref, self._link = environment["GITSYNC_REF"], volume / environment["GITSYNC_LINK"]

    def look(self) -> None:
        """Fetch; where there is another commit, check it out beside the old one and swap the link."""
        if not (self._root / ".git").exists():
            git(self._root, "init", "-q", "-b", "git-sync")
        git(self._root, "fetch", "-q", self._repository, self._ref, "--prune", "--no-auto-gc", "--depth", "1")
        commit = git(self._root, "rev-parse", "FETCH_HEAD^{}")
        before = self._link.readlink().name if self._link.is_symlink() else ""
        if commit != before:
            git(self._root, "reset", "-q", "--soft", commit)
            self._check_out(commit)
            self._swap(commit)
            self._clean_up(commit)

    def _check_out(self, commit: str) -> None:
        tree = self._tree(commit)
        git(self._root, "worktree", "add", "--force", "--detach", str(tree), commit, "--no-checkout")
        (tree / ".git").write_text(f"gitdir: ../../.git/worktrees/{commit}\n")
        git(tree, "reset", "-q", "--hard", commit, "--")

    def _swap(self, commit: str) -> None:
        fresh = self._root / "tmp-link"
        fresh.symlink_to(Path(".worktrees", commit))
        fresh.rename(self._link)

    def _clean_up(self, commit: str) -> None:
        for tree in self._tree(commit).parent.iterdir():
            if tree.name != commit:
                shutil.rmtree(tree)
        git(self._root, "worktree", "prune")
        git(self._root, "reflog", "expire", "--expire-unreachable=all", "--all")

    def _tree(self, commit: str) -> Path:
        return self._root / ".worktrees" / commit
