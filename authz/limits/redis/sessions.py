"""From what the operator set to a session. The only file of this room that knows all kinds of Redis."""

from __future__ import annotations

from functools import partial
from time import monotonic

from authz.limits.redis.dial import Dial, tls_context
from authz.limits.redis.exchange import Proof
from authz.limits.redis.link import Link, Timeouts
from authz.limits.redis.mending import Voice
from authz.limits.redis.sentinel import Sentinels
from authz.limits.redis.session import Script, ScriptCall, WatchedSession
from authz.limits.redis.standalone import SingleSession
from authz.model.redis_address import NOBODY, Login, RedisAddress, RedisKind, RedisTls


def open_session(
    address: RedisAddress,
    timeouts: Timeouts,
    tls: RedisTls | None,
    script: Script,
    prove: ScriptCall,
    sentinel: Login = NOBODY,
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

    Raises:
        ConfigError: a certificate cannot be used.
    """
    certificates = (tls or RedisTls()) if address.tls else None
    if certificates is not None:
        tls_context(certificates)
    dial = Dial(address.login, certificates, address.db, timeouts.connect_s)
    proof, voice = Proof(script, prove), Voice()
    if address.kind is RedisKind.SENTINEL:
        asking = Dial(sentinel, certificates, connect_s=timeouts.connect_s)
        found = Sentinels(address.hosts, address.master, asking, dial).opened
    else:
        found = partial(dial.open, address.hosts[0])

    def opened() -> Link:
        return _proven(found(), proof, timeouts.connect_s)

    return SingleSession(str(address), opened, script, timeouts.call_s, voice)


def _proven(link: Link, proof: Proof, patience_s: float) -> Link:
    try:
        proof.shown_by(link, monotonic() + patience_s)
    except BaseException:
        link.close()
        raise
    return link
