"""Processes as the system lists them."""

from __future__ import annotations

from pathlib import Path


def children(pid: int) -> list[int]:
    """Return the processes that a process started; those of a thread that ends meanwhile pass to another."""
    for left in reversed(range(100)):
        try:
            lists = [(one / "children").read_text("ascii") for one in Path(f"/proc/{pid}/task").iterdir()]
        except (FileNotFoundError, ProcessLookupError):
            if not left:
                raise
        else:
            return [int(child) for each in lists for child in each.split()]
    raise AssertionError("it has returned or raised")
