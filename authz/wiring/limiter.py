"""Where the buckets of limits are kept: nowhere, in this process, or in Redis."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from authz.config.rooms import LimitSettings
from authz.limits.memory import MemoryLimiter, NoLimiter
from authz.limits.outage import Outage
from authz.limits.seen import Seen
from authz.limits.shelf import Shelf
from authz.limits.store import Limiter
from authz.model.limit import Store
from authz.model.redis_address import Login, RedisAddress, RedisTls
from authz.record.facts import FleetFacts, StoreFacts
from authz.wiring.clock import SystemClock
from authz.wiring.outages import Outages
from authz.wiring.shares import Share
from authz.wiring.storefacts import Eviction, misset, store_facts, whole, why

# The judging thread and the spender want the interpreter in turn, the spender twice for each round trip. By
# itself the interpreter makes whoever is busy let go after 5 ms: at 10,000/s most of a check's time was that.
SWITCH_S = 0.001


def _nothing() -> None:
    """What has no thread needs neither start nor end."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limiter of one process, and who knows how it stands.

    Args:
        start: begins to connect and to spend; returns at once.
        close: spends what still waits; nobody may spend afterwards.
        is_well: whether whoever spends is still there.
        shelves: stores in this process's memory.
        stores: store -> whether it answers.
        fleet: how many share the store; None where nobody does.
        store: how it is asked; likewise.
        about: what `/ready` says of it, where there is something to say.
        misset: why it was never reached, where only other settings mend that; "" elsewhere.
    """

    limiter: Limiter
    start: Callable[[], None] = _nothing
    close: Callable[[], None] = _nothing
    is_well: Callable[[], bool] = lambda: True
    shelves: tuple[Shelf, ...] = ()
    stores: Callable[[], Mapping[str, bool]] = field(default=dict)
    fleet: Callable[[], FleetFacts | None] = lambda: None
    store: Callable[[], StoreFacts | None] = lambda: None
    about: Callable[[], Mapping[str, str]] = field(default=dict)
    misset: Callable[[], str] = str

    def buckets(self) -> Mapping[str, int]:
        """Return store -> buckets that are not full, of those in memory."""
        return {shelf.store.value: len(shelf.limiter) for shelf in self.shelves}


def limits(
    settings: LimitSettings, share: Share, clock: SystemClock, crashed: Callable[[BaseException], None]
) -> Limits:
    """Return the limiter that the settings ask for, not started yet.

    Raises:
        ConfigError: Redis' certificates cannot be used.
    """
    if not settings.rate_limit_enabled:
        return Limits(NoLimiter())
    if settings.redis_url is None:
        memory = MemoryLimiter(clock.ticks_us, share.of(settings.max_buckets))
        return Limits(
            memory,
            shelves=(Shelf(memory, Store.MEMORY, lambda: share.count),),
            stores=lambda: {Store.MEMORY.value: True},
        )
    return _in_redis(settings, settings.redis_url, share, clock, crashed)


def _in_redis(
    settings: LimitSettings,
    url: RedisAddress,
    share: Share,
    clock: SystemClock,
    crashed: Callable[[BaseException], None],
) -> Limits:
    # Only here: whoever keeps buckets in memory does not pay for it.
    from authz.limits.redis.fleet import Fleet
    from authz.limits.redis.keys import Keys
    from authz.limits.redis.link import Timeouts
    from authz.limits.redis.script import SPENDING, proof
    from authz.limits.redis.sessions import open_session
    from authz.limits.redis.spender import RedisLimiter

    keys, seen, eviction = Keys(settings.keyspace), Seen(), Eviction()
    session = open_session(
        url,
        Timeouts(settings.redis_timeout_ms / 1000),
        RedisTls(settings.redis_ca, settings.redis_cert, settings.redis_key),
        SPENDING,
        proof(keys.prefix),
        _sentinel(settings),
        eviction.learn,
    )
    fleet = Fleet(session, keys.prefix, settings.fleet_size * share.count, clock.ticks_us, share.count)
    outage = Outage(lambda: fleet.size, seen, clock.ticks_us, share.of(settings.max_buckets))
    limiter = RedisLimiter(session, keys, seen, outage, clock.ticks_us, crashed)
    outages = Outages(
        str(url), lambda: whole(session), lambda: limiter.counts.alone, lambda: fleet.size, clock.ticks_us
    )
    limiter.tended(fleet.tend, outages.look, leave=fleet.leave)

    def start() -> None:
        sys.setswitchinterval(SWITCH_S)
        limiter.start()

    return Limits(
        limiter,
        start,
        limiter.close,
        limiter.is_well,
        (Shelf(outage.buckets, Store.OUTAGE, lambda: fleet.size, seen.forget),),
        stores=lambda: {Store.REDIS.value: whole(session)},
        fleet=lambda: FleetFacts(Store.REDIS.value, fleet.size, outages.count),
        store=lambda: store_facts(limiter, session, eviction),
        about=lambda: {"store": f"{url} does not answer{why(session)}"} if outages.lasts else {},
        misset=lambda: misset(session),
    )


def _sentinel(settings: LimitSettings) -> Login:
    password = settings.redis_sentinel_password
    return Login(settings.redis_sentinel_user, password.get_secret_value() if password else b"")
