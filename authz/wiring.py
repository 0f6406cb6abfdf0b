"""The composition root: settings in, a running sidecar out. Only `cli` imports it.

listeners   one front, one shield and one judging thread each; all ask `current()` once per batch
limiter     one per process, shared by them
records     one queue with its own writer, one sequence of numbers
operations  `/health`, `/ready`, `/metrics`, and the debug socket
loader      replaces the snapshot by one assignment, never by a broken one
"""

from __future__ import annotations

import itertools
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from threading import Event

from authz import __version__
from authz.config.log import get_logger
from authz.config.settings import Settings
from authz.identity.keyring import Peppers
from authz.limits.memory import MemoryLimiter, NoLimiter
from authz.model.address import Address
from authz.model.errors import ConfigError, Place, PolicyError, SnapshotRejected
from authz.model.site import Listener
from authz.record.keeper import Keeper
from authz.record.metrics import CONTENT_TYPE, Facts, Metrics, RecordFacts, SnapshotFacts
from authz.record.queue import RecordQueue
from authz.record.redact import check_header_names
from authz.record.sinks import open_sink
from authz.record.tally import Tally
from authz.response.refusal import Refuser
from authz.snapshot.build import Built, Surroundings, build
from authz.snapshot.memory import tidy
from authz.snapshot.snapshot import Snapshot, not_ready
from authz.snapshot.sources import read
from authz.transport.mint import Mint
from authz.transport.native import NativeFront
from authz.transport.ops import OpsServer
from authz.transport.routes import Readiness, Response, health, metrics, problem, ready, records
from authz.transport.server import CheckServer
from authz.transport.shield import Shield

_log = get_logger("wiring")

# How often a sidecar without a policy set looks whether there is one now.
_RETRY_S = 1.0

# How long the last records may take to reach their sink.
_RECORDS_S = 5.0

_CRASHES_PER_S = 1.0  # log lines; every crash is counted, as `internal_error`


class SystemClock:
    """The clocks of this machine."""

    def wall_us(self) -> int:
        """Microseconds since 1970."""
        return time.time_ns() // 1000

    def ticks_us(self) -> int:
        """Microseconds of a clock that never goes back."""
        return time.monotonic_ns() // 1000


class Loader:
    """Loads the policy set, and keeps the one in force."""

    def __init__(self, directories: Sequence[Path], surroundings: Surroundings, clock: SystemClock) -> None:
        self._directories = directories
        self._surroundings = surroundings
        self._clock = clock
        self._said = ""
        self.results: Counter[str] = Counter()
        self.snapshot: Snapshot = self._without("no policy set is loaded yet")

    def current(self) -> Snapshot:
        """Return the snapshot in force."""
        return self.snapshot

    def load(self) -> None:
        """Try to load; a set that is rejected changes nothing, and is told once."""
        began_us = self._clock.ticks_us()
        try:
            built = build(read(self._directories), self._surroundings, self._clock.wall_us())
        except SnapshotRejected as rejected:
            self._reject(rejected.faults)
            return
        except Exception as error:  # noqa: BLE001 - SECURITY: no set, however odd, ends what is being served
            what = f"reading the set crashed ({type(error).__name__}): please report it with the set"
            self._reject([PolicyError(Place(str(self._directories[0])), what)])
            return
        self.results["accepted"] += 1
        self._said = ""
        snapshot = built.snapshot
        self._tell(built, self._clock.ticks_us() - began_us)
        del built  # the documents: more than half of what loading took
        tidy()
        self.snapshot = snapshot

    def _reject(self, faults: Sequence[PolicyError]) -> None:
        self.results["rejected"] += 1
        problem = str(faults[0]) + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else "")
        if problem != self._said:
            self._said = problem
            _log.error(
                "policy set rejected",
                faults=[str(fault) for fault in faults[:20]],
                count=len(faults),
                mend="run `authz policy validate` on the same directories",
            )
        if not self.snapshot.ready:
            self.snapshot = self._without(problem)

    def _without(self, problem: str) -> Snapshot:
        around = self._surroundings
        return not_ready(problem, around.listener, around.sidecar, around.token_prefix)

    def _tell(self, built: Built, took_us: int) -> None:
        loaded, keyring = built.loaded, built.snapshot.keyring
        _log.info(
            "policy set loaded",
            revision=loaded.revision,
            policies=len(loaded.policies),
            keys=len(loaded.keys),
            warnings=len(built.warnings),
            took_ms=took_us // 1000,
        )
        if keyring.disabled:
            _log.warning(
                "keys are disabled: their pepper is not here",
                count=len(keyring.disabled),
                keys=list(keyring.disabled[:20]),
                mend="set API_KEY_SALT (or API_KEY_SALT_PREVIOUS) to the pepper that made them",
            )


class Sidecar:
    """Everything that `authz serve` runs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clock = SystemClock()
        self._stopping = Event()
        self._name = settings.record.sidecar or socket.gethostname()
        self.loader = Loader(settings.serve.policies, _surroundings(settings, self._name), self._clock)
        self._limiter = (
            MemoryLimiter(self._clock.ticks_us, settings.limits.max_buckets)
            if settings.limits.rate_limit_enabled
            else NoLimiter()
        )
        self._queue = RecordQueue(
            open_sink(settings.record.record_sink),
            settings.record.record_queue,
            settings.record.record_recent if settings.serve.debug is not None else 0,  # who could ask?
        )
        self._next_seq = itertools.count(1).__next__
        self._tallies = [Tally(settings.record.rule_series) for _ in settings.serve.listen]
        self._crashes = _Crashes(self._clock)
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


class _Crashes:
    """Logs what became `internal_error`, at most so often: a crash per request must not flood the log."""

    def __init__(self, clock: SystemClock) -> None:
        self._clock = clock
        self._next_us = 0
        self._silent = 0

    def tell(self, error: BaseException) -> None:
        now_us = self._clock.ticks_us()
        if now_us < self._next_us:
            self._silent += 1
            return
        # SECURITY: the kind and the place, never the message: it may quote what a client sent.
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "unknown"
        _log.error(
            "a check crashed and was refused", kind=type(error).__name__, place=place, unlogged=self._silent
        )
        self._next_us, self._silent = now_us + int(1e6 / _CRASHES_PER_S), 0


def _surroundings(settings: Settings, sidecar: str) -> Surroundings:
    identity, request = settings.identity, settings.request
    return Surroundings(
        peppers=Peppers(
            identity.api_key_salt.get_secret_value() if identity.api_key_salt else None,
            identity.api_key_salt_previous.get_secret_value() if identity.api_key_salt_previous else None,
        ),
        brand=identity.key_brand,
        env=identity.key_env,
        listener=Listener(
            trusted_hops=request.trusted_hops,
            xff_appended=request.xff_appended,
            context=frozenset(request.context),
            metadata=frozenset(request.metadata),
            max_message_bytes=request.max_message_bytes,
            max_header_count=request.max_header_count,
            max_header_bytes=request.max_header_bytes,
        ),
        source_revision=settings.serve.source_revision,
        sidecar=sidecar,
        record_headers=settings.record.record_headers,
    )


def require_supported(settings: Settings) -> None:
    """Refuse settings that name what is not built yet; raises ConfigError."""
    if settings.serve.transport != "native":
        raise ConfigError("--transport grpcio: not supported yet; leave it out")
    if settings.request.hosts:
        raise ConfigError("--hosts: not supported yet; leave it out")
    if settings.record.dynamic_metadata:
        raise ConfigError("dynamic_metadata: not supported yet; leave it out")
    check_header_names(settings.record.record_headers)
    if not settings.serve.policies:
        raise ConfigError("--policies: no directory is named; name at least one")
