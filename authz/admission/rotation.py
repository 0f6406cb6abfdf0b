"""What stands in the Secret next, from what stands there: certificates are replaced without a refused pod.

Pure: the time is an argument. The bundle by which the API server knows us holds every CA of the Secret, so:

    stage     `following` is made and its CA put into the bundle; nobody is served with it yet
    promote   after OVERLAP_S each API server has read the bundle: `following` becomes `current`
    retire    after RETIRE_S every replica serves it: the CA before it leaves the bundle
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from authz.admission.certificate import DAY_S, Generation, expiry_s, fault, mint

RENEW_LEFT_S = 30 * DAY_S  # a third of its life: a month of a broken API server passes unnoticed
OVERLAP_S = 300.0  # API servers follow the configuration within a second; a slow one has minutes
RETIRE_S = DAY_S  # a replica that does not reach the API server goes on with what it has


@dataclass(frozen=True, slots=True)
class Held:
    """What the replicas agree on, through the Secret.

    Args:
        current: what is served.
        following: what will be; None most of the time.
        previous_ca: PEM of the CA before; b"" where it has left.
        since_s: when the stage began, seconds since 1970.
    """

    current: Generation
    following: Generation | None
    previous_ca: bytes
    since_s: float

    def bundle(self) -> bytes:
        """Return every CA that the API server should know."""
        following = self.following.ca if self.following is not None else b""
        # A broken one would have the API server refuse the whole bundle.
        return b"".join(ca for ca in (self.current.ca, following, self.previous_ca) if expiry_s(ca))


@dataclass(frozen=True, slots=True)
class Own:
    """What this replica has in memory.

    Args:
        generation: what it serves, or would.
        agreed: it stood in the Secret once, so the API server may know its CA.
    """

    generation: Generation
    agreed: bool


def advance(held: Held | None, own: Own, names: Sequence[str], now_s: float, *, known: bytes) -> Held:
    """Return what should stand in the Secret now: the same object where nothing is to be done.

    Args:
        held: what stands there; None where there is nothing that can be read.
        own: what this replica would bring, where there is nothing.
        names: by which the API server connects.
        now_s: seconds since 1970.
        known: the bundle that the API server has, as last seen.
    """
    if held is None:
        return _founded(own, names, now_s)
    if fault(held.current, names, now_s):
        return _rescued(held, own, names, now_s)
    if held.since_s > now_s:  # the clock was set back: the stage begins now, rather than in a year
        held = replace(held, since_s=now_s)
    if held.following is not None:
        return _promoted(held, names, now_s, known)
    if expiry_s(held.current.cert) - now_s < RENEW_LEFT_S:
        return replace(held, following=mint(names, now_s), since_s=now_s)
    if held.previous_ca and now_s - held.since_s >= RETIRE_S:
        return replace(held, previous_ca=b"", since_s=now_s)
    return held


def _founded(own: Own, names: Sequence[str], now_s: float) -> Held:
    """The Secret is new, was emptied or damaged: begin with what we serve, which the API server knows.

    Whoever empties it may do so to be rid of its key: then another follows at once.
    """
    if own.agreed and not fault(own.generation, names, now_s):
        return Held(own.generation, mint(names, now_s), b"", now_s)
    good = own.generation if not fault(own.generation, names, now_s) else mint(names, now_s)
    return Held(good, None, b"", now_s)


def _rescued(held: Held, own: Own, names: Sequence[str], now_s: float) -> Held:
    """What is served cannot be any more: something good, at once."""
    previous = held.current.ca if expiry_s(held.current.ca) > now_s else b""
    for good in (held.following, own.generation):
        if good is not None and not fault(good, names, now_s):
            return Held(good, None, previous, now_s)
    return Held(mint(names, now_s), None, previous, now_s)


def _promoted(held: Held, names: Sequence[str], now_s: float, known: bytes) -> Held:
    following = held.following
    if following is None:
        return held
    if fault(following, names, now_s):
        return replace(held, following=None, since_s=now_s)
    # INVARIANT: nobody is served with a CA that the API server was not told of for a while.
    if following.ca not in known or now_s - held.since_s < OVERLAP_S:
        return held
    return Held(following, None, held.current.ca, now_s)
