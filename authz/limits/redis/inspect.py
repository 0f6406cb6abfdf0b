"""Buckets in Redis, for operators who look at them: on connections of their own, as few as there are masters.

Nothing here blocks a server for long: SCAN with a small COUNT, pipelines of a few hundred GETs, and never
KEYS. Times are those of the server that holds a bucket, as in the script.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from struct import unpack
from time import monotonic
from typing import NamedTuple

from authz.limits.redis.dial import Dial, tls_context
from authz.limits.redis.errors import ErrorReply, LinkFailed, said
from authz.limits.redis.link import Link, packed
from authz.limits.redis.sentinel import Sentinels
from authz.limits.redis.slots import read_slots, slot_of
from authz.model.address import Address, TcpAddress
from authz.model.errors import StoreUnavailable
from authz.model.redis_address import Login, RedisAddress, RedisKind, RedisTls

PATIENCE_S = 3.0  # for one answer, and for one connection
SCAN_COUNT = 250  # keys that a server looks at in one go: 0.3 ms, in which it serves nobody else
PIPELINE_MAX = 256
_VALUE_BYTES = 16
_DEBT_MAX = 2.0**42  # tokens; see spend.lua

Progress = Callable[[int, int], object]  # keys looked at, keys that there are; 0: not known


class Value(NamedTuple):
    """What stands at a key.

    Args:
        debt: tokens, when it was written; None: what stands there is no bucket.
        elapsed_us: since then.
    """

    debt: float | None
    elapsed_us: int


class Named(NamedTuple):
    """The parts of a key; see `keys.py`."""

    tag: str
    limit: str  # as the first part of Spend.bucket
    digest: str


@dataclass(frozen=True, slots=True)
class _Node:
    """A server that holds some of the slots, or everything."""

    link: Link
    slots: tuple[range, ...] = ()

    def holds(self, key: bytes) -> bool:
        return not self.slots or any(slot_of(key) in slots for slots in self.slots)


class Inspector:
    """Looks at the buckets of one keyspace. Closed after use.

    Every method raises StoreUnavailable, one line, where a server does not answer as it should.

    Args:
        prefix: of every key of the keyspace; see Keys.prefix.
        visits_max: at most so many keys are looked at in one search.
    """

    def __init__(self, nodes: Sequence[_Node], prefix: str, visits_max: int) -> None:
        self._nodes = nodes
        self._prefix = prefix
        self._name = re.compile(
            re.escape(prefix) + r"\{([\w-]+)\}:((?:shadow\.)?[a-z0-9-]+):([\w-]+)", re.ASCII
        )
        self._visits_max = visits_max
        self.visited = 0
        self.stopped = False  # a search ended before it had seen every key

    def parts(self, key: bytes) -> Named | None:
        """Return what a key says; None for one of another kind."""
        match = self._name.fullmatch(key.decode("latin-1"))
        return Named(match[1], match[2].replace(".", "/"), match[3]) if match else None

    def read(self, keys: Collection[bytes]) -> dict[bytes, Value]:
        """Return what stands at keys; those where nothing stands are left out."""
        found: dict[bytes, Value] = {}
        for node in self._nodes:
            own = [key for key in keys if node.holds(key)]
            for at in range(0, len(own), PIPELINE_MAX):
                found |= self._values(node.link, own[at : at + PIPELINE_MAX])
        return found

    def search(
        self, tag: str = "*", limit: str = "*", digest: str = "*", progress: Progress = lambda *_: 0
    ) -> Iterator[dict[bytes, Value]]:
        """Yield the buckets with such keys, some at a time; one may come twice."""
        pattern = f"{self._prefix}{{{tag}}}:{limit.replace('/', '.')}:{digest}"
        total = sum(filter(None, map(_size, self._nodes)))
        for node in self._nodes:
            cursor = b"0"
            while True:
                if self.visited >= self._visits_max:
                    self.stopped = True
                    return
                cursor, keys = self._scan(node.link, cursor, pattern)
                self.visited += SCAN_COUNT
                progress(self.visited, total)
                if keys:
                    yield self.read(keys)
                if cursor == b"0":
                    break

    def fleet(self) -> int | None:
        """Return how many processes say that they spend here; None where we may not ask."""
        key = f"{self._prefix}fleet".encode()
        link = next((node.link for node in self._nodes if node.holds(key)), None)
        reply = link.ask(monotonic() + PATIENCE_S, b"ZCARD", key) if link is not None else None
        return reply if isinstance(reply, int) else None

    def remove(self, keys: Collection[bytes]) -> int:
        """Remove keys; return how many there were."""
        removed = 0
        for node in self._nodes:
            own = [key for key in keys if node.holds(key)]
            for at in range(0, len(own), PIPELINE_MAX):
                commands = [packed(b"DEL", key) for key in own[at : at + PIPELINE_MAX]]
                removed += sum(_number(node.link, reply) for reply in _asked(node.link, commands))
        return removed

    def close(self) -> None:
        """Close every connection."""
        for node in self._nodes:
            node.link.close()

    def _values(self, link: Link, keys: Sequence[bytes]) -> dict[bytes, Value]:
        time, *values = _asked(link, [packed(b"TIME"), *[packed(b"GET", key) for key in keys]])
        if not isinstance(time, list) or len(time) != 2:
            raise _odd(link, time)
        now_us = int(time[0]) * 1_000_000 + int(time[1])
        return {
            key: _value(link, value, now_us)
            for key, value in zip(keys, values, strict=True)
            if value is not None
        }

    def _scan(self, link: Link, cursor: bytes, pattern: str) -> tuple[bytes, list[bytes]]:
        reply = link.ask(monotonic() + PATIENCE_S, b"SCAN", cursor, b"MATCH", pattern, b"COUNT", SCAN_COUNT)
        match reply:
            case [bytes(following), list(keys)]:
                return following, [key for key in keys if self.parts(key) is not None]
            case _:
                raise _odd(link, reply)


def inspector(
    address: RedisAddress, tls: RedisTls, sentinel: Login, prefix: str, visits_max: int
) -> Inspector:
    """Connect to every server that holds buckets.

    Raises:
        StoreUnavailable: one cannot be reached, or does not let us in. One line, without the password.
        ConfigError: a certificate cannot be used.
    """
    certificates = tls if address.tls else None
    if certificates is not None:
        tls_context(certificates)
    dial = Dial(address.login, certificates, address.db, PATIENCE_S)
    if address.kind is RedisKind.CLUSTER:
        return Inspector(_masters(address.hosts, dial), prefix, visits_max)
    if address.kind is RedisKind.SENTINEL:
        asking = Dial(sentinel, certificates, connect_s=PATIENCE_S)
        link = Sentinels(address.hosts, address.master, asking, dial).opened()
    else:
        link = dial.open(address.hosts[0])
    return Inspector([_Node(link)], prefix, visits_max)


def _masters(hosts: Sequence[Address], dial: Dial) -> list[_Node]:
    failed = LinkFailed("down", "there is no node of the cluster")
    for host in hosts:
        try:
            owners = _owners(host, dial)
        except LinkFailed as error:
            failed = error
            continue
        nodes: list[_Node] = []
        try:
            for owner, slots in owners.items():
                nodes.append(_Node(dial.open(owner), tuple(slots)))
        except BaseException:
            for node in nodes:
                node.link.close()
            raise
        return nodes
    raise failed


def _owners(host: Address, dial: Dial) -> dict[TcpAddress, list[range]]:
    link = dial.open(host)
    try:
        reply = link.ask(monotonic() + PATIENCE_S, b"CLUSTER", b"SLOTS")
    finally:
        link.close()
    survey = read_slots(reply, host)
    if survey is None:
        raise LinkFailed("broken", f"{host}: does not tell the slots of a cluster; is it one?")
    return survey.owners


def _asked(link: Link, commands: Sequence[bytes]) -> list[object]:
    """Send commands at once, and return their replies."""
    deadline_s, replies = monotonic() + PATIENCE_S, list[object]()
    why = link.send(b"".join(commands), deadline_s) or link.receive(replies, len(commands), deadline_s)
    if why:
        raise LinkFailed(why, f"{link.where}: {said(why)}")
    return replies


def _value(link: Link, value: object, now_us: int) -> Value:
    if isinstance(value, ErrorReply) and value.word != "wrongtype":
        raise _odd(link, value)
    if isinstance(value, bytes) and len(value) == _VALUE_BYTES:
        debt, stamp = unpack("<dd", value)
        if 0 <= debt <= _DEBT_MAX and 0 <= stamp < math.inf:
            return Value(debt, now_us - int(stamp))
    return Value(None, 0)


def _number(link: Link, reply: object) -> int:
    if not isinstance(reply, int):
        raise _odd(link, reply)
    return reply


def _size(node: _Node) -> int:
    """Return how many keys a server holds; 0 where it does not say."""
    reply = node.link.ask(monotonic() + PATIENCE_S, b"DBSIZE")
    return reply if isinstance(reply, int) else 0


def _odd(link: Link, reply: object) -> StoreUnavailable:
    words = reply.line if isinstance(reply, ErrorReply) else "answers what no Redis would"
    return StoreUnavailable(f"{link.where}: {words}")
