"""API keys for one run of the demo or the tests, made by the same command that people use."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from authz.model.errors import NotStarted
from authz.proxy.process import program

_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """A key to make.

    Args:
        name: of its document and its file.
        revoked: the document says afterwards that the key is dead.
        known: False keeps the document out of the sidecar's sight.
    """

    name: str
    customer: str
    scopes: tuple[str, ...] = ()
    provider: str = "partner-keys"
    revoked: bool = False
    known: bool = True


def make_keys(wanted: Sequence[Wanted], pepper: str, directory: Path) -> dict[str, str]:
    """Make keys; return name -> token. The documents are in `directory`, those of unknown keys beside it.

    Raises:
        NotStarted: the command fails.
    """
    directory.mkdir(parents=True, exist_ok=True)
    elsewhere = directory.with_name(f"{directory.name}-unknown")
    elsewhere.mkdir(exist_ok=True)

    def one(key: Wanted) -> str:
        return _make(key, pepper, (directory if key.known else elsewhere) / f"{key.name}.yaml")

    with ThreadPoolExecutor(max_workers=2) as pool:  # each is a process of its own
        return dict(zip((key.name for key in wanted), pool.map(one, wanted), strict=True))


def damaged(token: str) -> str:
    """Return a token with another last character: its checksum cannot be right."""
    return token[:-1] + ("0" if token[-1] != "0" else "1")


def _make(key: Wanted, pepper: str, file: Path) -> str:
    arguments = ["--provider", key.provider, "--customer", key.customer, "--name", key.name]
    for scope in key.scopes:
        arguments += ["--scope", scope]
    token = _run(["key", "create", *arguments, "--out", str(file)], pepper).strip()
    if key.revoked:
        _run(["key", "revoke", str(file)], pepper)
    return token


def _run(arguments: Sequence[str], pepper: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own command
        [program("authz"), *arguments],
        env={**os.environ, "API_KEY_SALT": pepper},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise NotStarted(
            f"`authz {' '.join(arguments[:2])}` failed with exit code {done.returncode}", done.stderr
        )
    return done.stdout
