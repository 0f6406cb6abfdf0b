"""The numbers of a stream, and what is promised: who is killed leaves behind how many records there were."""

from __future__ import annotations

import threading

from authz.record.segment import HEAD_SLOTS


class Numbers:
    """Numbers the records of one stream, for all threads that judge.

    Args:
        stream: see `segment.new_stream`.
        sidecar: whose stream it is.
    """

    __slots__ = ("_slots", "head", "last_seq", "lock", "sidecar", "stream")

    def __init__(self, stream: str = "", sidecar: str = "") -> None:
        self.stream, self.sidecar = stream, sidecar
        # From the first number of a batch until its lines are queued: order in the queue is order in number.
        self.lock = threading.Lock()
        self.last_seq = 0
        # 8-byte numbers, see `segment.Head`: private memory until a spool shares its own with whoever comes
        # after us.
        self.head = memoryview(bytearray(8 * (HEAD_SLOTS + 1))).cast("Q")
        self._slots = 0

    def slot(self) -> int:
        """Return a place in the head for one judging thread; beyond 63 of them they share the last."""
        self._slots = min(self._slots + 1, HEAD_SLOTS)
        return self._slots

    def share(self, head: memoryview) -> None:
        """Keep the numbers in this memory from now on."""
        with self.lock:
            head[:] = self.head
            self.head = head

    def settle(self) -> None:
        """Nobody answers any more: what was promised is numbered, or never will be."""
        with self.lock:
            for slot in range(1, HEAD_SLOTS + 1):
                self.head[slot] = 0
