"""After the replies have left: count what was answered, and hand its records to the queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from authz.model.decision import Answered
from authz.record.entry import FixedFields, encode
from authz.record.queue import RecordQueue
from authz.record.tally import Tally


class Keeper:
    """Keeps what one judging thread answered.

    Args:
        next_seq: numbers the records of this sidecar; shared by its judging threads.
    """

    def __init__(self, queue: RecordQueue, tally: Tally, next_seq: Callable[[], int]) -> None:
        self._queue = queue
        self._tally = tally
        self._next_seq = next_seq

    def keep(self, answered: Sequence[Answered], fixed: FixedFields) -> None:
        """Take what was answered under one snapshot. Never blocks."""
        self._queue.put([encode(one, fixed, self._next_seq()) for one in answered])
        for one in answered:
            self._tally.add(one)
