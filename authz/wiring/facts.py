"""Where the metrics of one process come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from authz import __version__
from authz.config.settings import Settings
from authz.limits.guard import Guard
from authz.record.cgroup import memory
from authz.record.facts import Facts, GuardFacts, RecordFacts, SnapshotFacts
from authz.record.metrics import Samples
from authz.record.queue import RecordQueue
from authz.transport.front import Front
from authz.transport.server import CheckServer
from authz.wiring.clock import SystemClock
from authz.wiring.fronts import tls_facts
from authz.wiring.limiter import Limits
from authz.wiring.loader import Loader
from authz.wiring.reloading import Reloading

_HOUR_US = 3_600_000_000
_WITHIN_US = {"24h": 24 * _HOUR_US, "7d": 168 * _HOUR_US, "30d": 720 * _HOUR_US}


@dataclass(frozen=True, slots=True)
class Known:
    """What metrics ask, besides the judging threads."""

    loader: Loader
    reloading: Reloading
    limits: Limits
    guard: Guard
    queue: RecordQueue
    fronts: list[Front]
    clock: SystemClock
    servers: Sequence[CheckServer]
    ready: Callable[[], bool]
    shipped: Callable[[], Samples] = dict

    def facts(self, settings: Settings) -> Facts:
        """Return who tells what."""
        return Facts(
            snapshot=self._snapshot,
            reloads=lambda: dict(self.loader.results),
            loading=self.reloading.facts,
            age=self.loader.facts,
            records=self._records,
            buckets=self.limits.buckets,
            guard=self._guard,
            stores=self.limits.stores,
            fleet=self.limits.fleet,
            store=self.limits.store,
            tls=lambda: tls_facts(self.fronts),
            shipped=self.shipped,
            ready=self.ready,
            waiting=lambda: sum(server.waiting for server in self.servers),
            memory=memory,
            rate_limits=settings.limits.rate_limit_enabled,
            version=__version__,
        )

    def _records(self) -> list[RecordFacts]:
        queue = self.queue
        waited_s = queue.waited_s(self.clock.wall_us())
        return [RecordFacts(queue.sink_name, queue.counts(), queue.capacity, waited_s)]

    def _guard(self) -> GuardFacts | None:
        if not self.loader.snapshot.sites.guarded:
            return None
        return GuardFacts(len(self.guard), self.guard.forgotten)

    def _snapshot(self) -> SnapshotFacts | None:
        snapshot = self.loader.snapshot
        if not snapshot.ready:
            return None
        now_us = self.clock.wall_us()
        expiry_us = snapshot.next_expiry_us(now_us)
        return SnapshotFacts(
            snapshot.revision,
            snapshot.source_revision,
            snapshot.loaded_at_us / 1e6,
            expiry_us / 1e6 if expiry_us is not None else None,
            snapshot.keyring.disabled_count,
            len(snapshot.overrides.rules) if snapshot.overrides is not None else 0,
            snapshot.contents,
            {name: snapshot.expiring(now_us, within_us) for name, within_us in _WITHIN_US.items()},
        )
