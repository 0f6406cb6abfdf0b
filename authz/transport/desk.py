"""Where grpcio's threads leave their calls for the judging thread, and wait for the answers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from queue import Empty, SimpleQueue
from threading import Lock, local
from typing import Protocol

from authz.transport.front import Arrival, traceparent_of

# gRPC's own status for a call that its caller gave up. Source: google/rpc/code.proto.
CANCELLED = 1

# Time left of a call that was refused already: more than none, which is another case; too little to judge it.
_NO_TIME_S = 0.001

# The library's number of seconds for a caller that waits without end is larger than this.
_FOREVER_S = 1e9


class Context(Protocol):
    """What is used of grpcio's context of a call."""

    def is_active(self) -> bool:
        """Whether somebody still waits for the answer."""
        ...

    def time_remaining(self) -> float | None:
        """Seconds until the caller stops waiting."""
        ...

    def invocation_metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """Return what the call's head says besides."""
        ...


class Unanswered(Exception):
    """A call that ends with a gRPC error instead of an answer: nobody waits for it any more."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


class _Held:
    """One call in the hands of the judging thread. Each of grpcio's threads has one, and uses it again."""

    __slots__ = ("answered", "context", "payload", "reply")

    context: Context
    payload: bytes
    reply: bytes | Unanswered

    def __init__(self) -> None:
        self.answered = Lock()  # held while there is no answer
        self.answered.acquire()


class Desk:
    """Calls on their way between two kinds of threads. Every method may be called by any thread."""

    def __init__(self) -> None:
        self._next_id = count(1).__next__
        self._arrived: SimpleQueue[int] = SimpleQueue()
        self._open: dict[int, _Held] = {}
        self._own = local()
        self._closed = False
        # Each is written by one thread alone: the one that brings calls, and the judging thread.
        self._turned_away = 0
        self._told = 0

    # --- the side of grpcio's threads

    def ask(self, payload: bytes, context: Context) -> bytes:
        """Leave a call and wait for its answer.

        Raises:
            Unanswered: there will be none.
        """
        held: _Held | None = getattr(self._own, "held", None)
        if held is None:
            held = self._own.held = _Held()
        held.context, held.payload = context, payload
        call_id = self._next_id()
        self._open[call_id] = held
        self._arrived.put(call_id)
        if self._closed:  # perhaps after `close` looked for the last time
            self.end(call_id, CANCELLED, "closed")
        held.answered.acquire()
        reply = held.reply
        del held.context, held.payload, held.reply
        if isinstance(reply, Unanswered):
            raise reply
        return reply

    def turn_away(self) -> None:
        """Note a call that was refused at once for want of room, so that it is recorded and counted."""
        self._turned_away += 1

    # --- the judging thread's side

    def take(self, most: int, timeout_ms: int) -> list[Arrival] | None:
        """Return waiting calls, [] where none came in time, None once it is closed."""
        arrivals: list[Arrival] = []
        try:
            self._hand_over(self._arrived.get(timeout=timeout_ms / 1000), arrivals)
            while len(arrivals) < most:
                self._hand_over(self._arrived.get_nowait(), arrivals)
        except Empty:
            pass
        if self._told != self._turned_away:
            self._tell(most, arrivals)
        return None if self._closed else arrivals

    def _hand_over(self, call_id: int, arrivals: list[Arrival]) -> None:
        """Add a call to a batch; one that was given up meanwhile is not judged and spends nothing."""
        held = self._open.get(call_id)
        if held is None:
            return
        if not held.context.is_active():
            self.end(call_id, CANCELLED, "given up")
            return
        remaining_s = held.context.time_remaining()
        if remaining_s is not None and remaining_s > _FOREVER_S:
            remaining_s = None
        traceparent = traceparent_of(held.context.invocation_metadata())
        arrivals.append(Arrival(call_id, held.payload, remaining_s, traceparent))

    def _tell(self, most: int, arrivals: list[Arrival]) -> None:
        """Add calls that have their answer already, with no time left to judge them: as they were told."""
        for _ in range(min(most - len(arrivals), self._turned_away - self._told)):
            self._told += 1
            arrivals.append(Arrival(self._next_id(), b"", _NO_TIME_S))

    def answer(self, call_id: int, payload: bytes) -> bool:
        """Answer a call; False where it has been answered, or its caller is gone."""
        return self._release(call_id, payload)

    def end(self, call_id: int, code: int, words: str) -> None:
        """End a call without an answer."""
        self._release(call_id, Unanswered(code, words))

    def _release(self, call_id: int, reply: bytes | Unanswered) -> bool:
        # INVARIANT: who takes a call out of the table, and nobody else, lets its thread go on.
        held = self._open.pop(call_id, None)
        if held is None:
            return False
        alive = held.context.is_active()
        held.reply = reply
        held.answered.release()
        return alive

    def close(self) -> None:
        """End whatever waits, and whatever comes. Safe to call again."""
        self._closed = True
        for call_id in list(self._open):
            self.end(call_id, CANCELLED, "closed")
        self._arrived.put(0)  # wakes the judging thread
