"""What a limiter in Redis counts, for whoever scrapes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from authz.limits.redis.session import Reply
from authz.model.latency import Durations

ANSWERED = "answered"
UNREADABLE = "unreadable"


class Counts:
    """Plain numbers that only grow.

    INVARIANT: several threads add to `alone` and to `remembered`. Work out first how much, then add it in
    one step (`counts.alone += number`, nothing is called meanwhile), or a number may go back.
    """

    __slots__ = ("alone", "calls", "coalesced", "remembered", "spent", "trips")

    def __init__(self) -> None:
        self.spent = 0  # checks that Redis decided
        self.coalesced = 0  # checks that joined the entry of another
        self.remembered = 0  # refused without asking: only time lowers a debt
        self.alone = 0  # decided without Redis, as each limit says
        self.calls: dict[str, int] = defaultdict(
            int
        )  # by `answered`, `unreadable`, or why there was no answer
        self.trips = Durations()

    def trip(self, replies: Sequence[Reply], took_us: int) -> None:
        """Count one round trip: all calls of a batch, answered or not."""
        for reply in replies:
            self.calls[ANSWERED if isinstance(reply, list) else reply.why] += 1
        self.trips.add(took_us)
