"""The last good set, kept in a private directory for the next start: a file for each set of this machine.

What an earlier life left is used only if it is ours alone, whole, and gives the same revision again when it
is compiled. Whatever is wrong with it stops nobody: the set is then read as if nothing were kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from authz.model.errors import StateUnusable
from authz.snapshot.kept import HEAD_BYTES, REVISIONS, Damaged, Kept, decode, encode
from authz.snapshot.parts import Parts
from authz.snapshot.private import Private, private

MAX_BYTES = 256 * 1024 * 1024  # of all files; a million keys need as much. A larger set is not kept

_SWEEP_US = 3600 * 1_000_000  # nobody writes one file for an hour
_TOUCH_US = 60 * 1_000_000
_ENTRY_BYTES = 128  # what a file takes besides its name and content, generously


class Former(NamedTuple):
    """What an earlier life left.

    Args:
        revision: of the set as it was in force.
        parts: the files of each part that was in force.
        known_us: when it was last known to be what stands in the directories, microseconds since 1970.
    """

    revision: str
    parts: Parts
    known_us: int


def identity_of(*groups: Sequence[Path]) -> str:
    """Return a name for the set in these directories, in this order and these roles.

    INVARIANT: no link is followed. What a directory leads to changes with every update of a ConfigMap or of a
    worktree; its own name does not.
    """
    named = [[os.path.abspath(directory) for directory in group] for group in groups]  # noqa: PTH100 - `resolve` follows links
    return sha256(json.dumps(named).encode()).hexdigest()[:16]


class State:
    """What was last good of one set. One thread loads and keeps; any may ask `was_active`.

    Args:
        directory: where it is kept; None: nowhere, and only this life is remembered.
        identity: which set, see `identity_of`.
        breathe: called once for each file that is written, so that others may use the interpreter.
    """

    def __init__(
        self, directory: Path | None, identity: str, breathe: Callable[[], None] = lambda: None
    ) -> None:
        self._directory = directory
        self._identity = identity
        self._name = f"{identity}.set"
        self._breathe = breathe
        self._active: tuple[str, ...] = ()  # INVARIANT: replaced, never changed: another thread may look
        self._parts: Parts | None = None  # as they were last kept
        self._noted_us = 0

    def load(self, now_us: int) -> Former | None:
        """Return what an earlier life left; None where there is nothing.

        Args:
            now_us: wall clock, microseconds since 1970.

        Raises:
            StateUnusable: why it is not to be used.
        """
        if self._directory is None or not os.path.lexists(self._directory):
            return None
        with private(self._directory) as directory:
            content = directory.read(self._name, MAX_BYTES)
            known_us = min(now_us, directory.modified_ns(self._name) // 1000)  # clocks are set, too
            directory.sweep(self._name, (now_us - _SWEEP_US) * 1000)
        if content is None:
            return None
        try:
            kept = decode(content)
        except Damaged as damaged:
            raise self._unusable(str(damaged)) from None
        if kept.set != self._identity:
            raise self._unusable("kept for other directories")
        self._active = kept.active
        return Former(kept.revision, kept.parts, known_us)

    def was_active(self, revision: str) -> bool:
        """Whether a set of this revision was in force before, in this life or a loaded one."""
        return revision in self._active

    def keep(self, revision: str, parts: Parts, known_us: int) -> bool:
        """Keep the set that is in force; return whether it had to be written.

        Call it again while nothing changes: what somebody removed is written anew.

        Args:
            known_us: when it was last known to be what stands in the directories, microseconds since 1970.

        Raises:
            StateUnusable: it could not be kept; what was kept before still is.
        """
        self._active = (*(one for one in self._active if one != revision), revision)[-REVISIONS:]
        if self._directory is None:
            return False
        if parts is self._parts and abs(known_us - self._noted_us) < _TOUCH_US:
            return False
        with private(self._directory, make=True) as directory:
            return self._keep(directory, Kept(self._identity, revision, self._active, parts), known_us)

    def _keep(self, directory: Private, kept: Kept, known_us: int) -> bool:
        written = False
        if kept.parts is not self._parts or not directory.modified_ns(self._name):
            self._check_size(kept.parts)
            self._parts = None  # until it is there
            head, *blocks = encode(kept, self._breathe)
            # Compared with what is there, not with what we wrote: another sidecar may have kept its own.
            written = directory.head(self._name, HEAD_BYTES) != head
            if written:
                directory.write(self._name, [head, *blocks])
            self._parts = kept.parts
        directory.touch(self._name, known_us * 1000)
        self._noted_us = known_us
        return written

    def _check_size(self, parts: Parts) -> None:
        files = [named for files in parts.values() for named in files.contents.items()]
        size = sum(len(content) + 6 * len(name) + _ENTRY_BYTES for name, content in files)  # a name in JSON
        if size > MAX_BYTES:
            raise StateUnusable(
                f"{self._directory}: a set of more than {MAX_BYTES} bytes is not kept: say `--state off`"
            )

    def _unusable(self, what: str) -> StateUnusable:
        return StateUnusable(f"{self._directory}/{self._name}: {what}: remove it, or let it be overwritten")
