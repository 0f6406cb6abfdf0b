"""Calls that wait to be judged: as many as can be judged in time, and no more.

When more is asked than one thread can judge, a queue without a bound makes every caller wait until nobody is
answered in time. So each call is asked, as it arrives, whether its turn will come soon enough; if not, it is
refused at once, unread, which costs a tenth of judging it. What was let in is still judged first come, first
served. How long the others take is measured, not assumed: a pause of the machine refuses nobody who can
still be served, and a judge that became slow lets in fewer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from authz.transport.front import Arrival

# Less time than this and an allow might come too late to count: a full batch takes about 2 ms.
MARGIN_US = 5_000

# 64 checks take about 2 ms: no caller waits long behind a full batch, and a batch shares its costs well.
BATCH_MAX = 64
# Where a check takes longer than usual, a batch has as many as take so long: all of it is answered together.
BATCH_US = 5_000

# Calls have payloads of up to 4 MiB: a bound on their number alone would not bound memory.
WAITING_MAX_BYTES = 64 * 1024 * 1024

# What a check is taken to cost before one was measured.
_FIRST_GUESS_US = 50.0
# The estimate is the median of so many batches: on a busy machine every third batch may be held up for
# 100 ms by others, which says nothing of the next; a judge that became slow is known after five.
_BATCHES = 9

_new = tuple.__new__  # what a NamedTuple's own constructor does, without its 0.3 us of arguments


class Backlog:
    """The calls of one judging thread that wait for their turn.

    Args:
        max_wait_us: a call that would wait longer is refused.
    """

    def __init__(self, max_wait_us: int) -> None:
        self._max_wait_us = max_wait_us
        self._waiting: deque[tuple[int, Arrival]] = deque()  # with the time when each was taken
        self._bytes = 0
        self._samples: deque[float] = deque([_FIRST_GUESS_US], maxlen=_BATCHES)
        self._cost_us = _FIRST_GUESS_US

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def batch(self) -> int:
        """How many calls are judged and answered together."""
        return min(BATCH_MAX, max(1, int(BATCH_US / self._cost_us)))

    def admit(self, arrivals: Sequence[Arrival], now_us: int) -> list[Arrival]:
        """Let in whoever can be judged in time; return the others, to be refused."""
        refused = []
        waiting, cost_us = self._waiting, self._cost_us
        for arrival in arrivals:
            wait_us = len(waiting) * cost_us
            # INVARIANT: where nobody waits, one is judged, whatever it is taken to cost: else an estimate
            # beyond every caller's patience would refuse all for ever, and never be put right.
            needs_us = wait_us + cost_us if waiting else 0.0
            size = len(arrival.payload)
            if (
                wait_us > self._max_wait_us
                or self._bytes + size > WAITING_MAX_BYTES
                or (arrival.remaining_s is not None and needs_us + MARGIN_US > arrival.remaining_s * 1e6)
            ):
                refused.append(arrival)
            else:
                waiting.append((now_us, arrival))
                self._bytes += size
        return refused

    def take(self, now_us: int) -> tuple[list[Arrival], int]:
        """Return the next batch, each call with the time that it still has; and how long the first waited."""
        waiting = self._waiting
        if not waiting:
            return [], 0
        first_us = waiting[0][0]
        batch = [waiting.popleft() for _ in range(min(self.batch, len(waiting)))]
        self._bytes -= sum(len(arrival.payload) for _, arrival in batch)
        return [_aged(arrival, now_us - taken_us) for taken_us, arrival in batch], now_us - first_us

    def learn(self, count: int, took_us: int) -> None:
        """Take in what a batch of so many calls took, everything that was done beside it included."""
        self._samples.append(max(1.0, took_us / count))
        self._cost_us = sorted(self._samples)[len(self._samples) // 2]


def _aged(arrival: Arrival, waited_us: int) -> Arrival:
    call_id, payload, remaining_s, traceparent = arrival
    if remaining_s is None:
        return arrival
    return _new(Arrival, (call_id, payload, remaining_s - waited_us / 1e6, traceparent))
