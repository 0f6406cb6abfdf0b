"""A policy set in parts: each is changed by other people, and is good or broken on its own."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from authz.model.errors import PolicyError

PLATFORM = "platform"  # every document under `--policies` that no scope names
SCOPES = "scopes"  # the Scope documents themselves
OVERRIDES = "overrides"  # deny rules that come first; loaded on their own
_OF_SCOPE = "scope:"


def part_of_scope(scope: str) -> str:
    """Return the part that the documents of a scope are; "" is no scope, but the platform."""
    return f"{_OF_SCOPE}{scope}" if scope else PLATFORM


def scope_of_part(part: str) -> str:
    """Return whose scope a part is; "" where it is none."""
    return part.removeprefix(_OF_SCOPE) if part.startswith(_OF_SCOPE) else ""


class Files(NamedTuple):
    """The files of a part.

    Args:
        contents: name, as people know it -> bytes.
        faults: what could not be read; with any, the part is broken.
        roots: the directories that they were read from, as the operator named them.
        links: name of each directory of `roots`, and of each link below -> where it leads.
    """

    contents: Mapping[str, bytes]
    faults: tuple[PolicyError, ...] = ()
    roots: tuple[str, ...] = ()
    links: Mapping[str, str] = MappingProxyType({})


class Reading(NamedTuple):
    """What stands in the directories now; None where the operator named none."""

    policies: Files
    scopes: Files | None = None
    overrides: Files | None = None


Parts = Mapping[str, Files]  # name of a part -> its files
Faults = Mapping[str, tuple[PolicyError, ...]]  # name of a part -> why what was read is not in force


def alike(one: Reading, other: Reading) -> bool:
    """Whether two readings say the same."""
    return all(_alike(ours, theirs) for ours, theirs in zip(one, other, strict=True))


def _alike(one: Files | None, other: Files | None) -> bool:
    if one is None or other is None:
        return one is other
    # Faults are exceptions, which equal nothing but themselves.
    alike = list(map(str, one.faults)) == list(map(str, other.faults))
    return alike and one.contents == other.contents and one.links.keys() == other.links.keys()
