"""Directories as they stood in a revision of Git, laid out below a directory of our own.

Files are taken as Git keeps them: no filter, no attribute and no hook of the repository has a say.

SECURITY: the repository may be anybody's, its configuration and its objects too. What is missing in it is not
fetched, for whoever wrote the configuration says by which command; and a tree may hold what Git never writes,
such as a link and a directory of one name.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from authz.model.errors import ConfigError
from authz.snapshot.scan import printable

_TIMEOUT_S = 60
_FILE_MAX_BYTES = 16 * 1024 * 1024  # more than any policy file; whether it may be so large, the reader says
_LINK = "120000"  # the mode of a link in a tree
# Source: git(1). The second is known from Git 2.44 on; the first holds in all, over what is configured.
_ALONE = {"GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}


class _Entry(NamedTuple):
    mode: str
    blob: str
    size: int
    path: PurePosixPath


def lay_out(revision: str, directories: Sequence[Path], below: Path) -> list[Path]:
    """Write directories of a working tree as a revision has them.

    Args:
        revision: whatever `git rev-parse` takes.
        below: an empty directory.

    Returns:
        where each directory stands now; one that was not there yet is empty.

    Raises:
        ConfigError: no Git, no repository, or no such revision.
    """
    return [_one(revision, directory, below / str(number)) for number, directory in enumerate(directories)]


def _one(revision: str, directory: Path, target: Path) -> Path:
    if not directory.is_dir():
        raise ConfigError(f"{directory}: not a directory: name one of the working tree")
    commit = _git(directory, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if commit is None:
        raise ConfigError(
            f"{revision}: no revision of the repository of {directory}: name one, and see that CI fetches it"
        )
    target.mkdir()
    entries = list(_entries(directory, commit.decode().strip()))
    try:
        _write_all(directory, entries, target)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{directory}: the revision cannot be laid out ({error}): repair the repository"
        ) from None
    return target


def _entries(directory: Path, commit: str) -> Iterator[_Entry]:
    listed = _git(directory, "ls-tree", "-r", "-l", "-z", commit, "--", ".")
    for line in (listed or b"").split(b"\0"):
        if line:
            head, _, name = line.partition(b"\t")
            mode, kind, blob, size = head.decode().split()
            path = PurePosixPath(name.decode("utf-8", "surrogateescape"))
            if (kind == "blob" and path.name.endswith((".yaml", ".yml"))) or mode == _LINK:
                yield _Entry(mode, blob, int(size) if size.isdecimal() else 0, path)


def _write_all(directory: Path, entries: Iterable[_Entry], target: Path) -> None:
    """Write files, and then links: SECURITY: else a file could be written where a link leads."""
    links: list[tuple[Path, str]] = []
    for entry in entries:
        # SECURITY: Git has no such path in a sound repository; this one may be anybody's.
        if entry.path.is_absolute() or ".." in entry.path.parts:
            raise ValueError(f"it has the path `{printable(str(entry.path))}`")
        path = target / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.mode == _LINK:
            links.append((path, _content(directory, entry).decode("utf-8", "surrogateescape")))
        elif entry.size > _FILE_MAX_BYTES:
            path.touch()
            os.truncate(path, entry.size)  # as large, and nobody has it in memory
        else:
            path.write_bytes(_content(directory, entry))
    for path, leads_to in links:
        path.symlink_to(leads_to)


def _content(directory: Path, entry: _Entry) -> bytes:
    content = _git(directory, "cat-file", "blob", entry.blob) if entry.size <= _FILE_MAX_BYTES else None
    if content is None:
        raise ValueError(f"`{printable(str(entry.path))}` is missing: see that all of it is fetched")
    return content


def _git(directory: Path, *words: str) -> bytes | None:
    """Return what Git answers, or None where it says no."""
    try:
        done = subprocess.run(  # noqa: S603 - words of ours, a revision behind `--end-of-options`, no shell
            ["git", "-C", str(directory), *words],  # noqa: S607 - the user's own Git
            capture_output=True,
            check=False,
            timeout=_TIMEOUT_S,
            env=os.environ | _ALONE,
        )
    except (OSError, subprocess.TimeoutExpired):
        raise ConfigError("`git` does not answer: install it, or compare two directories") from None
    if b"not a git repository" in done.stderr:
        raise ConfigError(f"{directory}: not in a Git repository: compare two directories instead")
    return done.stdout if done.returncode == 0 else None
