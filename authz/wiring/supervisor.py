"""Several workers as one sidecar: started, watched, started anew, drained; one ops and one debug listener.

    serve ── supervisor ──┬── worker 0   authz-0.sock
             ops, debug   └── worker 1   authz-1.sock

Nothing that judges is imported here. What one worker does never stops another, or a scrape.
"""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from queue import Empty, SimpleQueue

from authz import __version__
from authz.config.log import get_logger
from authz.config.settings import Settings
from authz.model.errors import ConfigError
from authz.wiring.crew import Crew
from authz.wiring.member import MARGIN_S
from authz.wiring.operations import operations
from authz.wiring.records import is_shipped
from authz.wiring.shares import addresses, whereabouts
from authz.wiring.shipping import Shipping
from authz.wiring.watch import RECORDS_S

_REOPEN, _OTHER = "reopen", "other"
TICK_S = 0.1  # how soon a death is seen, where nothing tells of it before

_log = get_logger("wiring")


class Supervisor:
    """Everything that `authz serve --workers N` runs in the first process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._told: SimpleQueue[str] = SimpleQueue()  # its `put` is safe in a signal's handler
        self._shipping = Shipping(settings) if is_shipped(settings) else None
        self._crew = Crew(settings, lambda: self._told.put(_OTHER), self._shipping)
        self._operations = operations(settings.serve, self._crew)

    def run(self) -> None:
        """Serve until `stop`; then drain.

        Raises:
            ConfigError: a socket or port cannot be used.
        """
        try:
            for server in self._operations:
                server.start()
            self._announce()
            if self._shipping is not None:
                self._shipping.start()
            for member in self._crew.members:
                member.start()
            self._watch()
        finally:
            self._end()

    def stop(self) -> None:
        """Ask to drain and end; a signal handler may."""
        self._crew.draining = True
        self._told.put(_OTHER)

    def reopen(self) -> None:
        """Have every worker open its record file anew; a signal handler may."""
        self._told.put(_REOPEN)

    def _watch(self) -> None:
        last_s = time.monotonic()
        while not self._crew.draining:
            with suppress(Empty):
                if self._told.get(timeout=TICK_S) == _REOPEN:
                    self._send(signal.SIGHUP)
                    if self._shipping is not None:
                        self._shipping.reopen()
            now_s = time.monotonic()
            # Not more than a tick or two: what this process missed itself is held against nobody.
            self._look(now_s, min(now_s - last_s, 2 * TICK_S))
            last_s = now_s

    def _look(self, now_s: float, elapsed_s: float) -> None:
        self._crew.look(now_s, elapsed_s)
        for member in self._crew.members:
            if member.cannot and not member.life:
                raise ConfigError(member.cannot)

    def _send(self, number: signal.Signals) -> None:
        for member in self._crew.members:
            member.send(number)

    def _announce(self) -> None:
        serve, limits = self._settings.serve, self._settings.limits
        for note in self._settings.notes:
            _log.warning(note)
        _log.info(
            "serving",
            version=__version__,
            workers=serve.workers,
            listen=[str(one) for own in addresses(serve.listen, serve.workers) for one in own],
            ops=str(serve.ops) if serve.ops else "off",
            debug=str(serve.debug) if serve.debug else "off",
            records=[str(sink) for sink in self._settings.record.record_sink],
            limits=whereabouts(limits),
        )
        if limits.redis_url is None:
            _log.info(
                "limits in memory are divided: each worker has its share of every rate and burst",
                workers=serve.workers,
                max_buckets=max(1, limits.max_buckets // serve.workers),
            )

    def _end(self) -> None:
        """Have every worker drain, wait for them, kill who takes too long; then let go of the listeners."""
        if self._crew.draining:
            _log.info("draining")
        self._send(signal.SIGTERM)
        end_s = time.monotonic() + self._settings.serve.drain_s + RECORDS_S + MARGIN_S
        while time.monotonic() < end_s and not all(member.gone for member in self._crew.members):
            with suppress(Empty):
                self._told.get(timeout=TICK_S)
        for member in self._crew.members:
            member.end()
        if self._shipping is not None:
            self._shipping.close()
        for server in self._operations:
            server.close()
        if self._crew.draining:
            _log.info("stopped")
