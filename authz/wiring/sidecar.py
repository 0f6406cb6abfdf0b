"""Everything that one process serves, put together.

listeners   one front, one shield and one judging thread each; all ask `current()` once per batch
limiter     one per process, shared by them; the guard likewise
records     one queue with its own writer, one sequence of numbers
operations  `/health`, `/ready`, `/metrics`, and the debug socket
loader      replaces the snapshot by one assignment, never by a broken one
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable
from http import HTTPStatus
from threading import Event

from authz import __version__
from authz.config.log import get_logger
from authz.config.settings import Settings
from authz.limits.guard import Guard
from authz.limits.memory import MemoryLimiter, NoLimiter
from authz.model.address import Address
from authz.model.errors import ConfigError
from authz.record.keeper import Keeper
from authz.record.metrics import CONTENT_TYPE, Facts, Metrics, RecordFacts, SnapshotFacts
from authz.record.queue import RecordQueue
from authz.record.redact import check_header_names
from authz.record.sinks import open_sink
from authz.record.tally import Tally
from authz.response.refusal import Refuser
from authz.transport.mint import Mint
from authz.transport.native import NativeFront
from authz.transport.ops import OpsServer
from authz.transport.routes import Readiness, Response, health, metrics, problem, ready, records
from authz.transport.server import CheckServer
from authz.transport.shield import Shield
from authz.wiring.clock import SystemClock
from authz.wiring.crashes import Crashes
from authz.wiring.loader import Loader, surroundings

_log = get_logger("wiring")

# How often a sidecar without a policy set looks whether there is one now.
_RETRY_S = 1.0

# How long the last records may take to reach their sink.
_RECORDS_S = 5.0


class Sidecar:
    """Everything that `authz serve` runs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clock = SystemClock()
        self._stopping = Event()
        self._name = settings.record.sidecar or socket.gethostname()
        self.loader = Loader(settings.serve.policies, surroundings(settings, self._name), self._clock)
        self._limiter = (
            MemoryLimiter(self._clock.ticks_us, settings.limits.max_buckets)
            if settings.limits.rate_limit_enabled
            else NoLimiter()
        )
        self._guard = Guard(self._clock.ticks_us)  # a brake, whatever RATE_LIMIT_ENABLED says
        self._queue = RecordQueue(
            open_sink(settings.record.record_sink),
            settings.record.record_queue,
            settings.record.record_recent if settings.serve.debug is not None else 0,  # who could ask?
        )
        self._next_seq = itertools.count(1).__next__
        self._tallies = [Tally(settings.record.rule_series) for _ in settings.serve.listen]
        self._crashes = Crashes(self._clock)
        self._servers = [
            self._server(address, tally)
            for address, tally in zip(settings.serve.listen, self._tallies, strict=True)
        ]
        self._metrics = Metrics(self._tallies, self._facts())
        self._operations = self._ops_servers()

    def run(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Serve until `stop`; then drain.

        Raises:
            ConfigError: a socket or port cannot be used.
        """
        try:
            for check in self._servers:
                check.start()
            for server in self._operations:
                server.start()
            self._queue.start()
            self._serve(on_ready)
        finally:
            self._end()

    def stop(self) -> None:
        """Ask to drain and end; any thread or signal handler may."""
        self._stopping.set()

    def reopen(self) -> None:
        """Open the record file anew, after it was rotated."""
        self._queue.reopen()

    def _serve(self, on_ready: Callable[[], None]) -> None:
        self._announce()
        self.loader.load()
        told = False
        while True:
            if self.loader.snapshot.ready and not told:
                told = True
                on_ready()
            if self._stopping.wait(None if told else _RETRY_S):
                return
            if not told:
                self.loader.load()

    def _announce(self) -> None:
        serve = self._settings.serve
        for note in self._settings.notes:
            _log.warning(note)
        _log.info(
            "serving",
            version=__version__,
            listen=[str(address) for address in serve.listen],
            ops=str(serve.ops) if serve.ops else "off",
            debug=str(serve.debug) if serve.debug else "off",
            records=self._settings.record.record_sink,
            limits=self._settings.limits.rate_limit_enabled,
        )

    def _end(self) -> None:
        """Answer what still comes, then write what waits, then let go of the sockets."""
        if self._stopping.is_set():
            _log.info("draining")
        for check in self._servers:
            check.stop()
        for check in self._servers:
            check.join()
        self._queue.close(_RECORDS_S)
        for server in self._operations:
            server.close()
        if self._stopping.is_set():
            _log.info("stopped")

    def _server(self, address: Address, tally: Tally) -> CheckServer:
        keeper = Keeper(self._queue, tally, self._next_seq)
        front = NativeFront(address)
        shield = Shield(
            front,
            self.loader.current,
            self._limiter,
            self._guard,
            Refuser(self._name, limit_headers=self._settings.limits.limit_headers != "off"),
            keeper,
            self._clock,
            Mint().make,
            self._crashes.tell,
        )
        return CheckServer(front, shield, self._clock.ticks_us)

    def _facts(self) -> Facts:
        return Facts(
            snapshot=self._snapshot_facts,
            reloads=lambda: dict(self.loader.results),
            records=lambda: [RecordFacts(self._queue.sink_name, self._queue.counts())],
            buckets=lambda: (
                {"memory": len(self._limiter)} if isinstance(self._limiter, MemoryLimiter) else {}
            ),
            stores=lambda: {"memory": True} if isinstance(self._limiter, MemoryLimiter) else {},
            rate_limits=self._settings.limits.rate_limit_enabled,
            version=__version__,
        )

    def _snapshot_facts(self) -> SnapshotFacts | None:
        snapshot = self.loader.snapshot
        if not snapshot.ready:
            return None
        expiry_us = snapshot.next_expiry_us(self._clock.wall_us())
        return SnapshotFacts(
            snapshot.revision,
            snapshot.source_revision,
            snapshot.loaded_at_us / 1e6,
            expiry_us / 1e6 if expiry_us is not None else None,
            snapshot.keyring.disabled_count,
        )

    def _ops_servers(self) -> list[OpsServer]:
        serve = self._settings.serve
        servers = []
        if serve.ops is not None:
            routes = {
                "/health": self._health,
                "/ready": ready(self._readiness),
                "/metrics": metrics(self._metrics.render, CONTENT_TYPE),
            }
            servers.append(OpsServer(str(serve.ops), routes))
        if serve.debug is not None:
            servers.append(OpsServer(str(serve.debug), {"/logs/": records(self._queue.find)}))
        return servers

    def _health(self, _: str) -> Response:
        if all(server.alive for server in self._servers):
            return health()(_)
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "a judging thread has ended: restart this process")

    def _readiness(self) -> Readiness:
        snapshot, limits = self.loader.snapshot, self._settings.limits.rate_limit_enabled
        if self._stopping.is_set():
            return Readiness(ready=False, why="draining", rate_limits=limits)
        return Readiness(snapshot.ready, snapshot.revision, snapshot.problem, limits)


def require_supported(settings: Settings) -> None:
    """Refuse settings that name what is not built yet; raises ConfigError."""
    if settings.serve.transport != "native":
        raise ConfigError("--transport grpcio: not supported yet; leave it out")
    if settings.record.dynamic_metadata:
        raise ConfigError("dynamic_metadata: not supported yet; leave it out")
    check_header_names(settings.record.record_headers)
    if not settings.serve.policies:
        raise ConfigError("--policies: no directory is named; name at least one")
