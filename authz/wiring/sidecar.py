"""Everything that one process serves, put together.

listeners   one front, one shield and one judging thread each; all ask `current()` once per batch
limiter     one per process, shared by them; the guard likewise
records     one queue with its own writer, one sequence of numbers
operations  `/health`, `/ready`, `/metrics`, and the debug socket; a worker leaves them to its supervisor
watchdog    ends a process that is stuck; a worker leaves that to its supervisor, too
loader      replaces the snapshot by one assignment, never by a broken one; reloading has a thread of its own
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, SimpleQueue

from authz import __version__
from authz.config.log import get_logger
from authz.config.settings import Settings
from authz.limits.guard import MAX_NETWORKS, Guard
from authz.limits.inquiry import Answer, Answers, Inquiry
from authz.model.address import Address
from authz.model.latency import Exemplar
from authz.record.metrics import Metrics, Samples
from authz.record.recent import Recent, Wanted
from authz.record.tally import Tally
from authz.record.tracing import Tracing
from authz.response.refusal import Refuser
from authz.transport.front import Front
from authz.transport.mint import Mint
from authz.transport.routes import Readiness
from authz.transport.server import CheckServer
from authz.transport.shield import Shield
from authz.wiring.clock import SystemClock
from authz.wiring.crashes import Crashes
from authz.wiring.facts import Known
from authz.wiring.fronts import make_front
from authz.wiring.limiter import limits
from authz.wiring.loader import Loader
from authz.wiring.operations import operations
from authz.wiring.past import past
from authz.wiring.records import Records, is_shipped
from authz.wiring.reloading import Reloading
from authz.wiring.shares import ALONE, Share, whereabouts
from authz.wiring.shelves import Shelves
from authz.wiring.shipping import Shipping
from authz.wiring.surroundings import directories, surroundings
from authz.wiring.trials import trials
from authz.wiring.watch import RECORDS_S, Progress, Watchdog

_log = get_logger("wiring")

_STOP, _LOADED = "stop", "loaded"

# How long the first set may take to load before checks are answered without it, by 503.
_FIRST_LOAD_S = 30.0
_LOOK_S = 0.5  # at how a first load goes on


class Sidecar:
    """Everything that one process of `authz serve` runs.

    Args:
        share: which worker it is; it has the settings' addresses for itself.
        on_tick: told twice a second that the interpreter runs, where the process serves alone.
    """

    def __init__(
        self, settings: Settings, share: Share = ALONE, on_tick: Callable[[], None] = lambda: None
    ) -> None:
        self._settings = settings
        self._share = share
        self._clock = SystemClock()
        # INVARIANT: no lock between a signal's handler and the thread that it interrupts: `put` needs none.
        self._told: SimpleQueue[str] = SimpleQueue()
        self.draining = self.listening = False
        self._name = share.name(settings.record.sidecar or socket.gethostname())
        # Of several workers the supervisor ships what all of them write.
        self._shipping = Shipping(settings) if share.alone and is_shipped(settings) else None
        spool = self._shipping.spool if self._shipping is not None else share.spool
        self._records = Records(settings, share, self._name, spool)
        around = surroundings(settings, self._name, share.count, self._records.numbers.stream)
        named = directories(settings)
        kept = past(settings.snapshot, named, self._clock, keeps=share.index == 0)
        gate = trials(settings.snapshot, lambda: self.loader.breathe())
        self.loader = Loader(named, around, self._clock, gate, settings.snapshot, kept, self._note)
        self._reloading = Reloading(self.loader, settings.snapshot, lambda: self._told.put(_LOADED))
        self._crashes = Crashes(self._clock)
        self._limits = limits(settings.limits, share, self._clock, self._crashes.tell)
        self._shelves = Shelves(
            self._limits.shelves,
            self.loader.current,
            settings.limits.keyspace,
            -1 if share.alone else share.index,
            enabled=settings.limits.rate_limit_enabled,
        )
        # A brake and no limit: RATE_LIMIT_ENABLED says nothing about it.
        self._guard = Guard(self._clock.ticks_us, share.of(MAX_NETWORKS))
        near = settings.limits.near_limit_percent / 100
        self._tallies = [Tally(settings.record.rule_series, near) for _ in settings.serve.listen]
        self._fronts: list[Front] = []
        self._servers = [
            self._server(address, tally)
            for address, tally in zip(settings.serve.listen, self._tallies, strict=True)
        ]
        self._progress = Progress(self._servers)
        self._watchdog = Watchdog(self.progress, settings.serve.stuck_after_s, on_tick)
        known = Known(
            self.loader,
            self._reloading,
            self._limits,
            self._guard,
            self._records.queue,
            self._fronts,
            self._clock,
            self._servers,
            lambda: self.readiness().ready,
            self._shipping.samples if self._shipping is not None else dict,
        )
        self._metrics = Metrics(self._tallies, known.facts(settings))
        self._operations = operations(settings.serve, self) if share.alone else []

    def run(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Serve until `stop`; then drain.

        Raises:
            ConfigError: a socket or port cannot be used.
        """
        try:
            self.loader.past.start()
            self._reloading.start()
            self._limits.start()
            if self._shipping is not None:
                self._shipping.start()
            if not self._loaded():
                return
            self._records.start()  # may refuse: before anybody is answered, or told that we are ready
            for check in self._servers:
                check.start()
            for server in self._operations:
                server.start()
            self._note("started", {"version": __version__})
            self.listening = True
            if self._share.alone:
                self._watchdog.start()
            self._serve(on_ready)
        finally:
            self._end()

    def stop(self) -> None:
        """Ask to drain and end; any thread or signal handler may."""
        self.draining = True
        self._told.put(_STOP)

    def reopen(self) -> None:
        """Open the record file anew, after it was rotated."""
        self._records.queue.reopen()
        if self._shipping is not None:
            self._shipping.reopen()

    def progress(self) -> bool:
        """Whether every judging thread moved since this was last asked. Only one thread may ask."""
        self._reloading.look()
        self.loader.in_force.tick()
        if not self.listening:
            return True
        return self._progress.made(draining=self.draining) and self._limits.is_well()

    def ailment(self) -> str:
        """See `Answers.ailment`."""
        if not all(server.alive for server in self._servers):
            return "a judging thread has ended: restart this process"
        if self._watchdog.stuck:
            return "a judging thread is stuck: restart this process"
        if not self._limits.is_well():
            return "the thread that spends limits has ended: restart this process"
        return ""

    def readiness(self) -> Readiness:
        """See `Answers.readiness`."""
        snapshot, limits = self.loader.snapshot, self._settings.limits.rate_limit_enabled
        if self.draining:
            return Readiness(ready=False, why="draining", rate_limits=limits)
        why = self.loader.in_force.ailment or self._limits.misset()
        shipping = self._shipping.about() if self._shipping is not None else {}
        about = {**self.loader.about(), **self._limits.about(), **shipping}
        return Readiness(not why, snapshot.revision, why, limits, about=about)

    def page(self, *, openmetrics: bool = False) -> bytes:
        """See `Answers.page`."""
        return self._metrics.render(openmetrics=openmetrics)

    def numbers(self) -> Samples:
        """Return what was counted, as it is now."""
        return self._metrics.samples()

    def examples(self) -> Sequence[Exemplar | None]:
        """Return the traced checks that stand for buckets of their durations."""
        return self._metrics.examples()

    def find(self, decision_id: str) -> bytes | None:
        """See `Answers.find`."""
        return self._records.queue.find(decision_id)

    def recent_here(self, wanted: Wanted) -> Recent:
        """Return recent records of this process."""
        return self._records.queue.recent(wanted)

    def recent(self, wanted: Wanted) -> tuple[Mapping[int, Recent], Sequence[int]]:
        """See `Answers.recent`."""
        return {0: self.recent_here(wanted)}, ()

    def shelved(self, inquiry: Inquiry) -> Answer:
        """Return how buckets in this process stand."""
        if inquiry.forgive:  # which of its buckets may be a client's word
            self._note("limits_reset", {"limit": inquiry.limit, "buckets": str(len(inquiry.buckets))})
        return self._shelves.answer(inquiry)

    def buckets(self, inquiry: Inquiry) -> Answers:
        """See `Asked.buckets`."""
        return Answers([self.shelved(inquiry)])

    def _serve(self, on_ready: Callable[[], None]) -> None:
        self._announce()
        while not self.loader.snapshot.ready:
            if self._stopped():
                return
        on_ready()
        # Not without end: the system may give a signal to a thread of a library, and its handler runs here,
        # once this thread wakes up.
        while not self._stopped():
            pass

    def _loaded(self) -> bool:
        """Wait for the first load to end, well or not; False where we are told to stop before.

        Of a sidecar that replaces another, no check shall meet `not_ready`. A worker that comes back waits
        until it has a set, however long: until it listens Envoy asks the others.
        """
        left_s = _FIRST_LOAD_S
        while not (self.loader.snapshot.ready if self._share.life else self._reloading.loaded.is_set()):
            if self._stopped():
                return False
            left_s -= _LOOK_S
            if left_s <= 0 and not self._share.life:
                break
        return True

    def _stopped(self) -> bool:
        """Wait until something was loaded, or for a moment; True where we are told to stop."""
        self._reloading.look()
        try:
            return self._told.get(timeout=_LOOK_S) == _STOP
        except Empty:
            return False

    def _announce(self) -> None:
        serve = self._settings.serve
        if not self._share.alone:
            _log.info("worker serves", listen=[str(address) for address in serve.listen], sidecar=self._name)
            return
        for note in self._settings.notes:
            _log.warning(note)
        _log.info(
            "serving",
            version=__version__,
            listen=[str(address) for address in serve.listen],
            ops=str(serve.ops) if serve.ops else "off",
            debug=str(serve.debug) if serve.debug else "off",
            records=[str(sink) for sink in self._settings.record.record_sink],
            limits=whereabouts(self._settings.limits),
        )

    def _end(self) -> None:
        """Answer what still comes, then write what waits, then let go of the sockets."""
        if self.draining:
            _log.info("draining")
            self._note("stopping", {})
        for check in self._servers:
            check.stop()
        self._reloading.close()
        self.loader.past.close()
        for check in self._servers:
            check.join()
        self._limits.close()
        self._records.close(RECORDS_S)
        if self._shipping is not None:
            self._shipping.close()
        self._watchdog.close()
        for server in self._operations:
            server.close()
        if self.draining:
            _log.info("stopped")

    def _server(self, address: Address, tally: Tally) -> CheckServer:
        keeper = self._records.keeper(tally)
        front = make_front(address, self._settings, self._serving)
        self._fronts.append(front)
        shield = Shield(
            front,
            self.loader.current,
            self._limits.limiter,
            self._guard,
            self._refuser(),
            keeper,
            self._clock,
            Mint().make,
            self._crashes.tell,
            self._tracing(tally),
        )
        serve = self._settings.serve
        return CheckServer(
            front, shield, self._clock.ticks_us, drain_s=serve.drain_s, max_wait_s=serve.max_wait_ms / 1000
        )

    def _tracing(self, tally: Tally) -> Tracing | None:
        """Return what traces the checks of one listener; None where spans go nowhere."""
        trace, listeners = self._settings.trace, len(self._settings.serve.listen)
        if trace.trace_sink is None:
            return None
        most_per_s = max(1, self._share.of(trace.trace_max_per_s) // listeners)
        return Tracing(self._clock.ticks_us, most_per_s, tally.traces)

    def _refuser(self) -> Refuser:
        limits = self._settings.limits
        return Refuser(self._name, limits.limit_headers, on_allow=limits.limit_headers_on_allow)

    def _note(self, event: str, about: Mapping[str, str]) -> None:
        if self._settings.record.record_events:
            revision = self.loader.in_force.revision
            self._records.diary.note(event, self._clock.wall_us(), revision, about)

    def _serving(self) -> bool:
        return not self.draining and not self.loader.in_force.ailment
