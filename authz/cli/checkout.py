"""Directories as they stood in a revision of Git, laid out below a directory of our own.

Files are taken as Git keeps them: no filter, no attribute and no hook of the repository has a say.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from authz.model.errors import ConfigError

_TIMEOUT_S = 60
_FILE_MAX_BYTES = 16 * 1024 * 1024  # more than any policy file; whether it may be so large, the reader says


class _Entry(NamedTuple):
    mode: str
    blob: str
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
    for entry in _entries(directory, commit.decode().strip()):
        _write(directory, entry, target)
    return target


def _entries(directory: Path, commit: str) -> Iterator[_Entry]:
    listed = _git(directory, "ls-tree", "-r", "-z", commit, "--", ".")
    for line in (listed or b"").split(b"\0"):
        if line:
            head, _, name = line.partition(b"\t")
            mode, kind, blob = head.decode().split()
            path = PurePosixPath(name.decode("utf-8", "surrogateescape"))
            if (kind == "blob" and path.name.endswith((".yaml", ".yml"))) or mode == "120000":
                yield _Entry(mode, blob, path)


def _write(directory: Path, entry: _Entry, target: Path) -> None:
    # SECURITY: Git has no such path in a sound repository; this one may be anybody's.
    if entry.path.is_absolute() or ".." in entry.path.parts:
        raise ConfigError(f"{directory}: the revision has the path `{entry.path!s}`: repair the repository")
    content = _git(directory, "cat-file", "blob", entry.blob)
    path = target / entry.path
    path.parent.mkdir(parents=True, exist_ok=True)
    if entry.mode == "120000":
        path.symlink_to((content or b"").decode("utf-8", "surrogateescape"))
    else:
        path.write_bytes((content or b"")[:_FILE_MAX_BYTES])


def _git(directory: Path, *words: str) -> bytes | None:
    """Return what Git answers, or None where it says no."""
    try:
        done = subprocess.run(  # noqa: S603 - words of ours, a revision behind `--end-of-options`, no shell
            ["git", "-C", str(directory), *words],  # noqa: S607 - the user's own Git
            capture_output=True,
            check=False,
            timeout=_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        raise ConfigError("`git` does not answer: install it, or compare two directories") from None
    if b"not a git repository" in done.stderr:
        raise ConfigError(f"{directory}: not in a Git repository: compare two directories instead")
    return done.stdout if done.returncode == 0 else None
