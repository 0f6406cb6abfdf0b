"""A judging thread: takes what waits at one front, has it answered or shed, and drains before it ends."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread

from authz.transport.backlog import Backlog
from authz.transport.front import Arrival, Front
from authz.transport.shield import Shield

# Calls taken from the front at once, judged or not: the front's own queue has no bound, so it must stay
# short. Taking one costs 3 us.
_TAKE_MAX = 1024

# A batch so small says little of what a check costs.
_TELLING = 8

MAX_WAIT_S = 0.1  # half of Envoy's own patience, so that being late by as much again costs no answer

# How soon a stop is noticed while nothing comes.
_POLL_MS = 100


class CheckServer:
    """Serves one front on a thread of its own.

    Args:
        ticks_us: a clock that never goes back.
        drain_s: how long to go on answering after a stop, at most.
        idle_s: how long no call must come for the drain to end early.
        max_wait_s: a call that would wait longer to be judged is refused.
    """

    def __init__(
        self,
        front: Front,
        shield: Shield,
        ticks_us: Callable[[], int],
        drain_s: float = 10.0,
        idle_s: float = 0.5,
        max_wait_s: float = MAX_WAIT_S,
    ) -> None:
        self._front = front
        self._shield = shield
        self._ticks_us = ticks_us
        self._drain_us = int(drain_s * 1e6)
        self._idle_us = int(idle_s * 1e6)
        self._backlog = Backlog(int(max_wait_s * 1e6))
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
    def waiting(self) -> int:
        """How many checks are here and not answered yet: to be judged, or to be given their tokens."""
        return len(self._backlog) + self._shield.held

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
            if served or self._backlog or self._shield.held:
                idle_end_us = self._ticks_us() + self._idle_us
        self._judge_rest()
        self._shield.sweep(all_held=True)

    def _judge_rest(self) -> None:
        """What was let in is judged, however long the drain took: it is `max_wait_s` of work at most."""
        while len(self._backlog):
            batch, waited_us = self._backlog.take(self._ticks_us())
            self._shield.serve(batch, waited_us)

    def _turn(self) -> int | None:
        """Take what waits, serve as much as one batch holds; return how many came, None once it is closed."""
        backlog = self._backlog
        began_us = self._ticks_us() if backlog else 0
        arrivals = self._front.take(_TAKE_MAX, self._patience_ms())
        self.turns += 1
        if arrivals is None:
            return None
        if backlog or len(arrivals) > backlog.batch:
            self._crowded(arrivals, began_us)
        elif arrivals:
            self._serve(arrivals)
        if self._shield.later:
            self._shield.sweep()
        return len(arrivals)

    def _serve(self, arrivals: list[Arrival]) -> None:
        if len(arrivals) < _TELLING:
            self._shield.serve(arrivals)
            return
        began_us = self._ticks_us()
        self._shield.serve(arrivals)
        self._backlog.learn(len(arrivals), self._ticks_us() - began_us)

    def _crowded(self, arrivals: list[Arrival], began_us: int) -> None:
        """More wait than one batch holds: refuse at once whoever cannot be judged in time."""
        now_us = self._ticks_us()
        refused = self._backlog.admit(arrivals, now_us)
        if refused:
            self._shield.shed(refused)
        batch, waited_us = self._backlog.take(self._ticks_us())
        if batch:
            self._shield.serve(batch, waited_us)
            self._backlog.learn(len(batch), self._ticks_us() - (began_us or now_us))

    def _patience_ms(self) -> int:
        """Return how long to wait for calls: not at all while some wait here, nor beyond the next sweep."""
        if self._backlog:
            return 0
        if self._shield.later:
            return int(min(_POLL_MS, 1 + self._shield.wait_us() // 1000))
        return _POLL_MS
