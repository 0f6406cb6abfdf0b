"""Looks for overrides while a load is under way, which tests of a team may draw out to a minute.

SECURITY: an emergency brake that waits for what it is to stop is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from authz.snapshot.parts import Files
from authz.snapshot.sources import Source

EVERY_US = 25_000  # between two looks: each takes some 50 us, of the thread that loads


class Brake:
    """Called between two steps of a load; most calls do nothing but look at the clock.

    Args:
        directories: of overrides; of none it does nothing.
        apply: takes what was read there. What cannot be read is left to the next load, which says so.
    """

    def __init__(
        self, directories: Sequence[Path], ticks_us: Callable[[], int], apply: Callable[[Files], None]
    ) -> None:
        self._source = Source(directories, may_be_empty=True) if directories else None
        self._ticks_us = ticks_us
        self._apply = apply
        self._due_us = 0

    def look(self) -> None:
        """Look, if it is time."""
        if self._source is None or self._ticks_us() < self._due_us:
            return
        if self._source.moved():
            files = self._source.read()
            if not files.faults:
                self._apply(files)
        self._due_us = self._ticks_us() + EVERY_US
