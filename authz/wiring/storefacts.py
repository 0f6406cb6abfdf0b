"""What metrics say of Redis: counts of the limiter, and how its connections stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authz.model.limit import Store
from authz.record.facts import StoreFacts

if TYPE_CHECKING:  # whoever keeps buckets in memory does not pay for it
    from authz.limits.redis.session import WatchedSession
    from authz.limits.redis.spender import RedisLimiter


class Eviction:
    """Whether a store may drop buckets: any of its servers, as each was when it was first looked at."""

    def __init__(self) -> None:
        self.may: bool | None = None  # None: no server said

    def learn(self, evicts: bool) -> None:
        """Hear of one server."""
        self.may = evicts or bool(self.may)


def store_facts(limiter: RedisLimiter, session: WatchedSession, eviction: Eviction) -> StoreFacts:
    """Return the numbers as they are now. Any thread may ask."""
    counts, links = limiter.counts, session.facts
    up = sum(link.up for link in links)
    return StoreFacts(
        store=Store.REDIS.value,
        trips=counts.trips,
        calls=counts.calls.copy(),
        checks={"asked": counts.spent, "remembered": counts.remembered, "alone": counts.alone},
        coalesced=counts.coalesced,
        waiting=limiter.waiting,
        links={"up": up, "down": len(links) - up},
        connects=session.generation,
        evicts=eviction.may,
    )


def why(session: WatchedSession) -> str:
    """Return what is wrong with the servers that cannot be used, in brackets; "" where none is."""
    words = sorted({link.why for link in session.facts if not link.up and link.why})
    return f" ({', '.join(words)})" if words else ""
