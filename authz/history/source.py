"""Where records are read from: what every source can do, whatever it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from authz.history.line import Chunk, Flaw


class Note(NamedTuple):
    """Something about a source that people should know: it was rotated, or does not reach back far enough."""

    what: str


Item = Chunk | Flaw | Note


class Source(Protocol):
    """One place with records.

    What cannot be read in it is a `Flaw`, and reading goes on; what keeps it from being read at all is a
    `ConfigError` that says so in one line.
    """

    @property
    def name(self) -> str:
        """How people know it."""
        ...

    @property
    def total(self) -> int:
        """How much there is to read, bytes or entries; 0: nobody knows."""
        ...

    @property
    def done(self) -> int:
        """How much of that was read."""
        ...

    def read(self) -> Iterator[Item]:
        """Yield everything, the oldest first."""
        ...

    def read_back(self) -> Iterator[Item] | None:
        """Yield everything, the newest chunk first; None where it can only be read the other way."""
        ...

    def cannot_follow(self) -> str:
        """Say why nothing can be appended to it; "" where something can."""
        ...

    def poll(self, wait_s: float) -> list[Item]:
        """Return what came since the last look, or since reading began.

        Args:
            wait_s: how long to wait for it, at most.
        """
        ...

    def close(self) -> None:
        """Let go of it."""
        ...
