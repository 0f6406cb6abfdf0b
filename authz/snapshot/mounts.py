"""Mounts under which policies never change, however often somebody changes them elsewhere.

Kubernetes mounts a volume of files so that it is swapped by one link; with `subPath` it mounts what the link
led to when the pod began, for ever. A single file that is mounted by itself is the same trap: who replaces it
by another file leaves the old one mounted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

MOUNTINFO = Path("/proc/self/mountinfo")

# What of a volume is mounted: something of one version of it. Kubelet names versions by the time, after two
# dots, and keeps its own mounts of sub-paths under the other name. Source: kubelet's atomic writer and
# subpath packages.
_ONE_VERSION = re.compile(r"/\.\.\d{4}_|/volume-subpaths/")
_OCTAL = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """One line of mountinfo."""

    root: str  # what of the file system is mounted
    point: str  # where


class Frozen(NamedTuple):
    """A mount that can never change."""

    point: str
    why: str


def mounts(text: str) -> list[Mount]:
    """Return what is mounted, from the lines of /proc/self/mountinfo. Source: proc(5)."""
    lines = (line.split(" ") for line in text.splitlines())
    return [Mount(_plain(fields[3]), _plain(fields[4])) for fields in lines if len(fields) > 5]


def frozen(known: Iterable[Mount], directories: Iterable[str]) -> list[Frozen]:
    """Return which mounts of policies can never change.

    Args:
        known: everything that is mounted; of two at one point the later hides the other.
        directories: real paths of all that hold policies.
    """
    at = {mount.point: mount for mount in known}
    holding = set(directories)
    beneath = {point for directory in holding if (point := _beneath(directory, at))}
    found = [Frozen(point, _SUBPATH) for point in beneath if _ONE_VERSION.search(at[point].root)]
    for point, mount in at.items():
        directory, _, name = point.rpartition("/")
        if directory in holding and name.endswith(".yaml") and not name.startswith("."):
            found.append(Frozen(point, _SUBPATH if _ONE_VERSION.search(mount.root) else _FILE))
    return sorted(found)


_SUBPATH = "it is a `subPath` of a volume; mount the whole volume, as a directory"
_FILE = "it is a single file; mount the directory that it is in"


def _beneath(directory: str, at: dict[str, Mount]) -> str:
    """Return the mount that a directory is on; "" where none is known."""
    while directory not in at:
        if directory in ("", "/"):
            return ""
        directory = directory.rpartition("/")[0] or "/"
    return directory


def _plain(field: str) -> str:
    """Undo how the kernel writes spaces and the like."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), field)
