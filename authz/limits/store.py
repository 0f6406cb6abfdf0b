"""What a place that keeps buckets does for the judging thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from authz.model.limit import Spend, Spent


class Spending(Protocol):
    """A check that waits for its tokens."""

    @property
    def spends(self) -> tuple[Spend, ...]:
        """What it wants, never empty."""
        ...

    def settle(self, spent: tuple[Spent, ...]) -> None:
        """Take the result: one Spent per Spend, in order. If one did not pass, nothing was charged."""
        ...


S = TypeVar("S", bound=Spending)


class Limiter(Protocol):
    """Spends for whole batches."""

    def spend(self, waiting: Sequence[S], then: Callable[[Sequence[S]], None]) -> None:
        """Settle every waiting check, then hand them on: at once, or from another thread later."""
        ...
