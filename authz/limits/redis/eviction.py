"""A Redis that throws keys away refills buckets: whoever runs one is told, once."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from authz.limits.redis.link import Link

# `volatile-ttl` throws away first what ends first: buckets that are nearly full anyway.
_HARMLESS = frozenset({"noeviction", "volatile-ttl"})
_PATIENCE_S = 1.0


class EvictionCheck:
    """Looks at each server once.

    Args:
        warn: told of a server that may throw buckets away.
        inform: told where it cannot be known.
        known: told of each other server whether it may throw buckets away.
    """

    def __init__(
        self,
        warn: Callable[[str, str], None],
        inform: Callable[[str, str], None],
        known: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._warn, self._inform, self._known = warn, inform, known
        self._seen: set[str] = set()

    def look(self, link: Link) -> None:
        """Ask a server how it makes room, and tell.

        Raises:
            LinkFailed: it did not answer.
        """
        where = str(link.where)
        if where in self._seen:
            return
        settings = _info(link) or _config(link)
        self._seen.add(where)
        if settings is None:
            self._inform(
                where,
                "whether it may evict buckets is not known: its ACL allows neither INFO nor CONFIG GET;"
                " see that its maxmemory-policy is noeviction or volatile-ttl",
            )
            return
        maxmemory, policy = settings
        evicts = maxmemory not in ("", "0") and policy not in _HARMLESS
        self._known(evicts)
        if evicts:
            self._warn(
                where,
                f"its maxmemory-policy is {policy[:40]}: when it is full it evicts buckets, which are then"
                " full again; set noeviction or volatile-ttl",
            )


def _info(link: Link) -> tuple[str, str] | None:
    reply = link.ask(monotonic() + _PATIENCE_S, "INFO", "memory")
    if not isinstance(reply, bytes):
        return None
    lines = (line.partition(":") for line in reply.decode("utf-8", "replace").splitlines())
    return _settings({name: value for name, _, value in lines}, "maxmemory_policy")


def _config(link: Link) -> tuple[str, str] | None:
    found: dict[str, str] = {}
    for name in ("maxmemory", "maxmemory-policy"):
        reply = link.ask(monotonic() + _PATIENCE_S, "CONFIG", "GET", name)
        match reply:
            case [bytes(), bytes(value)]:
                found[name] = value.decode("utf-8", "replace")
    return _settings(found, "maxmemory-policy")


def _settings(found: dict[str, str], policy: str) -> tuple[str, str] | None:
    if "maxmemory" in found and policy in found:
        return found["maxmemory"], found[policy]
    return None
