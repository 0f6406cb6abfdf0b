"""From what the operator set to a session. The only file of this room that knows all kinds of Redis."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import NamedTuple

from authz.limits.redis.cluster import ClusterSession
from authz.limits.redis.dial import Dial, tls_context
from authz.limits.redis.errors import ErrorReply, LinkFailed
from authz.limits.redis.eviction import EvictionCheck
from authz.limits.redis.exchange import Proof
from authz.limits.redis.link import Link, Timeouts
from authz.limits.redis.mending import Voice
from authz.limits.redis.sentinel import Sentinels
from authz.limits.redis.session import Script, ScriptCall, WatchedSession
from authz.limits.redis.slots import Survey, read_slots
from authz.limits.redis.standalone import SingleSession
from authz.model.address import Address
from authz.model.redis_address import NOBODY, Login, RedisAddress, RedisKind, RedisTls


def open_session(
    address: RedisAddress,
    timeouts: Timeouts,
    tls: RedisTls | None,
    script: Script,
    prove: ScriptCall,
    sentinel: Login = NOBODY,
    evicts: Callable[[bool], None] = lambda _: None,
) -> WatchedSession:
    """Make the connections of one process; `start` opens them.

    Args:
        address: where Redis is.
        timeouts: how long it is waited for.
        tls: certificates; counts only where the address says TLS.
        script: the spending script.
        prove: a call that shows that a connection works: one key without braces, and a cost, so that servers
            which take no writes show themselves too. Nobody reads its key.
        sentinel: who we are to Sentinels.
        evicts: told of each server whether it may throw buckets away, where that can be known.

    Raises:
        ConfigError: a certificate cannot be used.
    """
    certificates = (tls or RedisTls()) if address.tls else None
    if certificates is not None:
        tls_context(certificates)
    dial = Dial(address.login, certificates, address.db, timeouts.connect_s)
    voice = Voice()
    gate = Gate(Proof(script, prove), EvictionCheck(voice.warn, voice.inform, evicts), timeouts.connect_s)
    # A fleet with one list does not ask the first of it all at once.
    shuffled = random.sample(address.hosts, len(address.hosts))
    if address.kind is RedisKind.CLUSTER:
        return ClusterSession(
            str(address),
            shuffled,
            partial(survey, dial),
            lambda node, ranges: gate.passed(dial.open(node), ranges),
            script,
            timeouts.call_s,
            voice,
        )
    if address.kind is RedisKind.SENTINEL:
        asking = Dial(sentinel, certificates, connect_s=timeouts.connect_s)
        sentinels = Sentinels(shuffled, address.master, asking, dial)
        return SingleSession(
            str(address),
            lambda: gate.passed(sentinels.opened()),
            script,
            timeouts.call_s,
            voice,
            sentinels.still_lead,
            sentinels.close,
        )
    host = address.hosts[0]
    return SingleSession(str(address), lambda: gate.passed(dial.open(host)), script, timeouts.call_s, voice)


class Gate(NamedTuple):
    """What a connection must show before it is used, and what is looked at once."""

    proof: Proof
    eviction: EvictionCheck
    patience_s: float

    def passed(self, link: Link, ranges: list[range] | None = None) -> Link:
        """Return the connection if it works.

        Args:
            ranges: slots that it answers for, on a Cluster.

        Raises:
            LinkFailed: it does not; it is closed then.
        """
        try:
            self.proof.within(ranges).shown_by(link, monotonic() + self.patience_s)
            self.eviction.look(link)
        except BaseException:
            link.close()
            raise
        return link


def survey(dial: Dial, address: Address) -> Survey:
    """Ask a node of a Cluster who has what.

    Raises:
        LinkFailed: it does not say.
    """
    link = dial.open(address)
    try:
        reply = link.ask(monotonic() + dial.connect_s, "CLUSTER", "SLOTS")
    finally:
        link.close()
    if isinstance(reply, ErrorReply):
        raise LinkFailed(reply.word, f"{address}: does not tell who has which slot: {reply.line}")
    found = read_slots(reply, address)
    if found is None:
        raise LinkFailed("broken", f"{address}: tells of no slot that anybody has")
    return found
