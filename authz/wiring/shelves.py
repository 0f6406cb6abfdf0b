"""How the buckets in this process's memory stand, as operators ask it over the debug socket."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from authz.limits.inquiry import Answer, Inquiry
from authz.limits.redis.keys import Keys
from authz.limits.shelf import Known, Shelf, known_of, shelved
from authz.snapshot.pace import Pace
from authz.snapshot.snapshot import Snapshot


class Shelves:
    """Every store in memory of one process. Never on the judging thread.

    Args:
        shelves: those that there are; none where limits are switched off.
        current: returns the snapshot in force.
        worker: which worker this process is, -1 where it serves alone.
    """

    def __init__(
        self,
        shelves: Sequence[Shelf],
        current: Callable[[], Snapshot],
        keyspace: str,
        worker: int,
        *,
        enabled: bool,
    ) -> None:
        self._shelves = shelves
        self._current = current
        self._keyspace = keyspace
        self._worker = worker
        self._enabled = enabled

    def answer(self, inquiry: Inquiry) -> Answer:
        """Return how the buckets stand that are asked about; where it says so, they are filled up."""
        snapshot = self._current()
        limits, keys, pace = _known(snapshot), Keys(self._keyspace), Pace()
        stores = [shelved(shelf, inquiry, limits, keys, pace) for shelf in self._shelves]
        return Answer(snapshot.revision, self._worker, stores, limits_off=not self._enabled)


def _known(snapshot: Snapshot) -> Mapping[str, Known]:
    return {
        name: known_of((part.source for part in limit.per), limit.rate)
        for name, limit in snapshot.limits.items()
    }
