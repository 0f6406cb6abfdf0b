"""What metrics say that others know: nouns, and where they are fetched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from authz.model.latency import Durations
from authz.record.cgroup import MemoryFacts
from authz.record.queue import RecordCounts


class SnapshotFacts(NamedTuple):
    """What metrics say of the policy set in force."""

    revision: str
    source_revision: str
    loaded_s: float  # wall clock, seconds since 1970
    next_key_expiry_s: float | None = None  # None: no key expires
    keys_disabled: int = 0
    overrides: int = 0  # deny rules
    documents: Mapping[str, int] = {}  # by kind
    keys_expiring: Mapping[str, int] = {}  # `24h`, ... -> how many within


class AgeFacts(NamedTuple):
    """What metrics say of how the set in force stands to what stands in the directories."""

    age_s: float = 0.0
    stale: bool = False
    from_state: int = 0  # parts
    needs_newer: bool = False
    kept: Mapping[str, int] = {}  # result -> count
    parts: Mapping[str, bool] = {}  # part -> whether it is refused as it stands in the directories


class LoadFacts(NamedTuple):
    """What metrics say of loading."""

    took_s: float = 0.0  # the last time
    running_s: float = 0.0  # so far
    told: bool = True
    frozen: int = 0


class GuardFacts(NamedTuple):
    """What metrics say of the guard."""

    networks: int
    forgotten: int


class RecordFacts(NamedTuple):
    """What metrics say of records."""

    sink: str
    counts: RecordCounts
    capacity: int = 0  # 0: nobody knows
    waited_s: float = 0.0  # of the oldest that is not written


class TlsFacts(NamedTuple):
    """What metrics say of certificates."""

    expiry_s: Mapping[str, float] = {}  # `server`, `client_ca` -> seconds since 1970
    reloads: Mapping[str, int] = {}
    strangers: int = 0


class FleetFacts(NamedTuple):
    """What metrics say of a store that processes share."""

    store: str
    members: int
    outages: int  # so far


class StoreFacts(NamedTuple):
    """What metrics say of how a store that processes share is asked."""

    store: str
    trips: Durations  # round trips, each with all calls of a batch
    calls: Mapping[str, int] = {}  # `answered`, or why there was no answer -> count
    checks: Mapping[str, int] = {}  # `asked`, `remembered`, `alone` -> count
    coalesced: int = 0
    waiting: int = 0
    links: Mapping[str, int] = {}  # `up`, `down` -> how many now
    connects: int = 0  # so far
    evicts: bool | None = None  # None: nobody knows


Shipped = Mapping[str, Sequence[tuple[tuple[str, ...], float]]]


@dataclass(frozen=True, slots=True)
class Facts:
    """Where metrics fetch what they do not count themselves. Each is called once a scrape, by its thread.

    Args:
        snapshot: the policy set in force; None before the first.
        reloads: result -> count.
        buckets: store -> buckets.
        stores: store -> whether it answers.
        fleet: None where no store is shared.
        store: likewise.
        guard: None where no Site has one.
        ready: whether checks can be answered; None: somebody else says.
        waiting: checks that are here and not answered yet.
        memory: None where the kernel sets no limit.
        shipped: what the process that ships records counted, by metric.
    """

    snapshot: Callable[[], SnapshotFacts | None] = lambda: None
    reloads: Callable[[], Mapping[str, int]] = dict
    loading: Callable[[], LoadFacts | None] = lambda: None
    age: Callable[[], AgeFacts | None] = lambda: None
    records: Callable[[], Sequence[RecordFacts]] = tuple
    buckets: Callable[[], Mapping[str, int]] = dict
    stores: Callable[[], Mapping[str, bool]] = dict
    fleet: Callable[[], FleetFacts | None] = lambda: None
    store: Callable[[], StoreFacts | None] = lambda: None
    guard: Callable[[], GuardFacts | None] = lambda: None
    tls: Callable[[], TlsFacts] = TlsFacts
    shipped: Callable[[], Shipped] = dict
    ready: Callable[[], bool | None] = lambda: None
    waiting: Callable[[], int | None] = lambda: None
    memory: Callable[[], MemoryFacts | None] = lambda: None
    rate_limits: bool = True
    version: str = ""
