"""Sessions with Redis for tests, and calls of the spending script."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from authz.limits.redis.link import Timeouts
from authz.limits.redis.script import SPENDING, encode, entry, proof
from authz.limits.redis.session import Reply, ScriptCall, WatchedSession
from authz.limits.redis.sessions import open_session
from authz.model.limit import Rate, Spend
from authz.model.redis_address import NOBODY, Login, RedisTls, parse_redis_url
from tests.support.proxy import eventually


class KeptLog:
    """Stands in for a logger, and keeps what would be logged: level, event, values."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda event, **values: self.lines.append((level, event, values))


CALL_S = 5.0  # so patient that a busy machine never makes an outage of a test


@contextmanager
def session(
    url: str,
    call_s: float = CALL_S,
    connect_s: float = 5.0,
    tls: RedisTls | None = None,
    sentinel: Login = NOBODY,
    links: int = 1,
) -> Iterator[WatchedSession]:
    """Open a session; it is closed again, and stands as soon as so many connections do (0: at once)."""
    timeouts = Timeouts(call_s, connect_s)
    made = open_session(parse_redis_url(url), timeouts, tls, SPENDING, proof("authz:test:"), sentinel)
    try:
        made.start()
        assert not links or stands(made, links)
        yield made
    finally:
        made.close()


def stands(made: WatchedSession, links: int = 1) -> bool:
    """Wait until every connection works, and there are so many."""
    return eventually(lambda: len(made.facts) == links and all(link.up for link in made.facts))


def key(number: int = 0) -> bytes:
    """Name a bucket."""
    return b"authz:test:{%d}:per-key:x" % number


def spend(made: WatchedSession, *keys: bytes, cost: float = 1.0) -> list[Reply]:
    """Draw from buckets of 1000 tokens that take a minute to refill one, each with a call of its own."""
    wanted = Spend("per-key", ("per-key",), Rate(1 / 60, 1000.0), cost)
    argument = encode([], [entry([wanted])])
    return [*made.run([ScriptCall(made.slot(name), (name,), argument) for name in keys])]


def spent(replies: list[Reply]) -> list[int]:
    """Return the whole tokens that are owed by each bucket, of calls that passed."""
    debts = []
    for reply in replies:
        assert isinstance(reply, list), reply
        passed, debt = reply
        assert passed == 1
        debts.append(round(debt / 2**20))
    return debts
