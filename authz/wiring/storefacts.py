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


def whole(session: WatchedSession) -> bool:
    """Return whether all servers can be used: of a Cluster, every bucket is then in reach."""
    return all(link.up for link in session.facts)


# What servers say to one who is not who he should be, or not where: words of `limits/redis/errors.py`.
_MISSET = frozenset(("err", "moved", "noauth", "noperm", "tls", "wrongpass"))


def misset(session: WatchedSession) -> str:
    """Return why no server was ever reached, where only other settings mend that; "" elsewhere.

    A sidecar that replaces others by such settings must not count as ready: the rollout would go on.
    """
    links = session.facts
    found = [link for link in links if link.why in _MISSET]
    if not found or any(link.opened for link in links):
        return ""
    return f"{found[0].where} cannot be used ({found[0].why}): see REDIS_URL, and docs/redis.md"


def why(session: WatchedSession) -> str:
    """Return what is wrong with the servers that cannot be used, in brackets; "" where none is."""
    words = sorted({link.why for link in session.facts if not link.up and link.why})
    return f" ({', '.join(words)})" if words else ""
