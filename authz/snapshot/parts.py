"""A policy set in parts: each is changed by other people, and is good or broken on its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from authz.model.errors import PolicyError

PLATFORM = "platform"  # every document under `--policies` that no scope names
SCOPES = "scopes"  # the Scope documents themselves
OVERRIDES = "overrides"  # deny rules that come first; loaded on their own


class Files(NamedTuple):
    """The files of a part.

    Args:
        contents: name, as people know it -> bytes.
        faults: what could not be read; with any, the part is broken.
    """

    contents: Mapping[str, bytes]
    faults: tuple[PolicyError, ...] = ()


class Reading(NamedTuple):
    """What stands in the directories now; None where the operator named none."""

    policies: Files
    scopes: Files | None = None
    overrides: Files | None = None


Parts = Mapping[str, Files]  # name of a part -> its files
Faults = Mapping[str, tuple[PolicyError, ...]]  # name of a part -> why what was read is not in force
