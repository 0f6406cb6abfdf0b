"""The guard: a brake on client networks that send rubbish, asked before anybody looks at credentials.

Each Site that has one keeps a bucket of faults per client network (an IPv4 address, an IPv6 /64). A fault
is an answer of status 400, or one that is about credentials; whatever the client then sees of it, a
redirect too. While the bucket is used up the network gets 429 and costs no hashing.

It is a brake and no limit, and so it differs from `memory.py` where memory runs out: a bucket is dropped,
although dropping refills. Callers must never share one instead, since a stranger's faults would then refuse
good callers. What a flood of networks gains by it is a few tries that each of them had anyway.

SECURITY: a client whose network is not known is neither charged nor refused: all such clients would share
one bucket. Nobody chooses to be one of them: the address is what Envoy or a trusted proxy says, and headers
in which it cannot be found are a 400, for which no credential is looked at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import ceil
from threading import Lock

from authz.limits.bucket import settle, wait_us
from authz.model.decision import Decision, Deny
from authz.model.limit import Rate
from authz.model.reason import Reason, status_of
from authz.model.request import Client
from authz.model.site import Site

# About 350 bytes each: 17 MB at the very worst, and only while so many networks send rubbish.
MAX_NETWORKS = 50_000

# Old buckets looked at per new one: enough that one in debt is rarely the least of them.
_SWEEP = 8

_CREDENTIALS = frozenset((Reason.CREDENTIAL_MISSING, Reason.CREDENTIAL_AMBIGUOUS, Reason.CREDENTIAL_INVALID))

_Key = tuple[str, str]  # Site, client network
_Held = tuple[float, int, float]  # debt (faults), when (us), rate (faults/s)


class Guard:
    """Faults of client networks, for every judging thread of one process.

    Reading takes no lock: what is held of a network is one value, replaced by one assignment. Charging
    takes one, so that no fault is lost; only refused requests come there.

    Args:
        clock: microseconds of a clock that never goes back.
        max_networks: how many networks are remembered, over all Sites.
    """

    def __init__(self, clock: Callable[[], int], max_networks: int = MAX_NETWORKS) -> None:
        self._clock = clock
        self._max_networks = max_networks
        self._held: dict[_Key, _Held] = {}
        self._oldest: deque[_Key] = deque()  # every key once; a round through it meets all
        self._lock = Lock()
        self.forgotten = 0  # networks in debt that were dropped for want of room

    def __len__(self) -> int:
        return len(self._held)

    def wait_ms(self, site: Site, client: Client) -> int:
        """Return how long this client is not listened to, rounded up; 0 for one that is."""
        rate = site.guard
        held = self._held.get((site.name, client.network)) if rate is not None else None
        if rate is None or held is None:
            return 0
        debt = min(settle(held[0], self._clock() - held[1], rate.rate_per_s), rate.burst_tokens)
        return ceil(wait_us(debt + 1.0 - rate.burst_tokens, rate.rate_per_s) / 1000)

    def charge(self, site: Site, client: Client, decision: Decision) -> None:
        """Count a decision against the client's network, if it is a fault."""
        if isinstance(decision, Deny) and site.guard is not None and client.network and _is_fault(decision):
            with self._lock:
                self._charge((site.name, client.network), site.guard)

    def _charge(self, key: _Key, rate: Rate) -> None:
        """Owe one fault more, up to the burst: a flood is answered as long as it lasts, and not longer."""
        now_us = self._clock()
        held = self._held.get(key)
        if held is None:
            self._make_room(now_us)
            self._oldest.append(key)
            held = (0.0, now_us, rate.rate_per_s)
        debt, then_us, _ = held
        debt = settle(debt, now_us - then_us, rate.rate_per_s) + 1.0
        self._held[key] = (min(debt, rate.burst_tokens), max(now_us, then_us), rate.rate_per_s)

    def _make_room(self, now_us: int) -> None:
        """Drop those of the oldest few who owe nothing any more; where memory is full, who owes least."""
        oldest, held = self._oldest, self._held
        kept: list[tuple[float, _Key]] = []
        for _ in range(min(_SWEEP, len(oldest))):
            key = oldest.popleft()
            debt, then_us, rate_per_s = held[key]
            left = settle(debt, now_us - then_us, rate_per_s)
            if left > 0.0:
                kept.append((left, key))
            else:
                del held[key]
        if kept and len(held) >= self._max_networks:
            least = min(kept)
            kept.remove(least)
            del held[least[1]]
            self.forgotten += 1
        oldest.extend(key for _, key in kept)


def _is_fault(deny: Deny) -> bool:
    """Tell what is charged: 400 (not 405, 413, 414, 421, 431) and everything about credentials."""
    reason = deny.reason
    return reason in _CREDENTIALS or (reason is Reason.BAD_REQUEST and status_of(reason, deny.detail) == 400)
