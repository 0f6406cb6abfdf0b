"""How much memory the kernel lets us have, and how much of it is in use.

Beyond the limit the kernel kills, and says so to nobody who could still act: an alert must compare before.
A limit may stand at any level above ours (a pod's above its container's); the one with the least room counts.
Sources: the kernel's documents on control groups, versions 1 and 2 (memory controllers).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_NO_LIMIT = 1 << 60  # version 1 writes a number near 2^63 for none


class MemoryFacts(NamedTuple):
    """Memory of the control group that has the least room."""

    limit_bytes: int
    working_bytes: (
        int  # what it holds, without files that the kernel may forget at any time; as kubelet counts
    )


class _Names(NamedTuple):
    """What one version of control groups calls its files."""

    limit: str
    used: str
    forgettable: str  # a line of `memory.stat`


_V2 = _Names("memory.max", "memory.current", "inactive_file")
_V1 = _Names("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def memory(root: Path = Path("/")) -> MemoryFacts | None:
    """Return how this process' memory is bounded; None where it is not, or where nobody can tell.

    Args:
        root: where `proc` and `sys` are.
    """
    found = [facts for folder, names in _levels(root) if (facts := _read(folder, names)) is not None]
    return min(found, key=lambda facts: facts.limit_bytes - facts.working_bytes, default=None)


def _levels(root: Path) -> Iterator[tuple[Path, _Names]]:
    """Yield our own control group and every one above it."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            yield from _upwards(root / "sys/fs/cgroup", path, _V2)
        elif "memory" in controllers.split(","):
            yield from _upwards(root / "sys/fs/cgroup/memory", path, _V1)


def _upwards(mount: Path, path: str, names: _Names) -> Iterator[tuple[Path, _Names]]:
    """Yield a group and those above; inside a container only the last of them may be there to see."""
    parts = [part for part in path.split("/") if part not in ("", "..")]
    for count in range(len(parts), -1, -1):
        yield mount.joinpath(*parts[:count]), names


def _read(folder: Path, names: _Names) -> MemoryFacts | None:
    try:
        limit = (folder / names.limit).read_text(encoding="ascii").strip()
        if not limit.isdecimal() or int(limit) >= _NO_LIMIT:
            return None
        used = int((folder / names.used).read_text(encoding="ascii"))
        stat = dict(
            line.split(" ", 1) for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines()
        )
        return MemoryFacts(int(limit), max(0, used - int(stat.get(names.forgettable, 0))))
    except (OSError, ValueError):
        return None
