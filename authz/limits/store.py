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


class Spender(Protocol):
    """Spends for whole batches.

    One that hands on after `spend` has returned says `later = True` of its class: its checks are then held
    until it does, and refused shortly before their callers stop waiting. It may hand on from any thread; what
    it hands on twice or too late is dropped. Of any other limiter, what it has not handed on when `spend`
    returns counts as forgotten, and is refused.
    """

    def spend(self, waiting: Sequence[S], then: Callable[[Sequence[S]], None]) -> None:
        """Settle every waiting check, then hand them on: at once, or from another thread later."""
        ...


class Limiter(Spender, Protocol):
    """A place that keeps buckets: those that are enforced, and those in shadow."""

    def spend_in_shadow(self, trials: Sequence[S], then: Callable[[Sequence[S]], None]) -> None:
        """Settle what limits in shadow would draw, and hand it on, as `spend` does.

        Each is one bucket, all or nothing by itself, so whoever spends over a network may send them along
        with whatever waits next: their replies have left, and nobody waits for them. They must not take room
        from buckets that are enforced.
        """
        ...


def answers_later(limiter: Spender) -> bool:
    """Whether it may hand on after `spend` has returned; see Spender."""
    return bool(getattr(limiter, "later", False))
