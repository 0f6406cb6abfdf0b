"""A judging thread: takes what waits at one front, has it answered, and drains before it ends."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread

from authz.transport.front import Front
from authz.transport.shield import Shield

# 64 checks take about 2 ms: no caller waits long behind a full batch, and a batch shares its costs well.
BATCH_MAX = 64

# How soon a stop is noticed while nothing comes.
_POLL_MS = 100


class CheckServer:
    """Serves one front on a thread of its own.

    Args:
        ticks_us: a clock that never goes back.
        drain_s: how long to go on answering after a stop, at most.
        idle_s: how long no call must come for the drain to end early.
    """

    def __init__(
        self,
        front: Front,
        shield: Shield,
        ticks_us: Callable[[], int],
        drain_s: float = 10.0,
        idle_s: float = 0.5,
    ) -> None:
        self._front = front
        self._shield = shield
        self._ticks_us = ticks_us
        self._drain_us = int(drain_s * 1e6)
        self._idle_us = int(idle_s * 1e6)
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="judge", daemon=True)
        self.turns = 0  # grows at least every _POLL_MS while the thread is well, calls or not

    def start(self) -> None:
        """Listen and judge; raises ConfigError where the address cannot be used."""
        self._front.start()
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to drain and end; returns at once."""
        self._stopping.set()

    def join(self) -> None:
        """Wait until everything is answered, or the drain time is over; then close. Safe before `start`."""
        if self._thread.ident is not None:
            self._thread.join()
        self._front.close()

    @property
    def alive(self) -> bool:
        """Whether calls are being answered."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            if self._turn() is None:
                return
        self._drain()

    def _drain(self) -> None:
        """Envoy goes on sending for a while after we are told to stop: refuse none of it."""
        end_us = self._ticks_us() + self._drain_us
        idle_end_us = self._ticks_us() + self._idle_us
        while self._ticks_us() < min(end_us, idle_end_us):
            served = self._turn()
            if served is None:
                return
            if served:
                idle_end_us = self._ticks_us() + self._idle_us

    def _turn(self) -> int | None:
        """Serve what waits and return how many calls that were; None once the front is closed."""
        arrivals = self._front.take(BATCH_MAX, _POLL_MS)
        self.turns += 1
        if arrivals is None:
            return None
        if arrivals:
            self._shield.serve(arrivals)
        return len(arrivals)
