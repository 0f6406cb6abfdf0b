"""The numbers of several processes as one: what changed in each is sent, and added up where they are shown.

A worker sends each number that changed since it last did, as it is now: a report that is lost or repeated
makes nothing wrong that the next does not mend. INVARIANT: no counter goes back when a worker ends: what it
had counted stays, and its successor counts from nothing on top of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from authz.record.catalogue import METRICS

if TYPE_CHECKING:  # whoever only counts need not load what renders the page
    from authz.record.metrics import Sample, Samples

Key = tuple[str, tuple[str, ...]]  # metric, values of its labels
Change = tuple[str, tuple[str, ...], float | None]  # metric, labels, the number as it is now; None: gone

_MERGE: Mapping[str, Callable[[Iterable[float]], float]] = {"sum": sum, "max": max, "min": min}


class Changes:
    """What changed in one process since it was last asked."""

    def __init__(self) -> None:
        self._told: dict[Key, float] = {}

    def since(self, samples: Samples) -> list[Change]:
        """Return what is new, other or gone, and remember it as told."""
        now = _flat(samples)
        changes: list[Change] = [
            (*key, number) for key, number in now.items() if self._told.get(key) != number
        ]
        changes += [(*key, None) for key in self._told.keys() - now.keys()]
        self._told = now
        return changes


class Ledger:
    """The numbers of every worker, and what ended ones have left."""

    def __init__(self) -> None:
        self._workers: dict[str, dict[Key, float]] = {}
        self._left: dict[Key, float] = {}  # counters of workers that ended

    def take(self, worker: str, changes: Iterable[Change]) -> None:
        """Take what changed in a worker."""
        numbers = self._workers.setdefault(worker, {})
        for metric, labels, number in changes:
            if number is None:
                numbers.pop((metric, labels), None)
            else:
                numbers[metric, labels] = number

    def ended(self, worker: str) -> None:
        """Keep what a worker counted, and forget what it was."""
        for key, number in self._workers.pop(worker, {}).items():
            if _is_count(key[0]):
                self._left[key] = self._left.get(key, 0.0) + number

    def samples(self) -> dict[str, Sequence[Sample]]:
        """Return the numbers of all together."""
        found: dict[Key, list[float]] = {key: [number] for key, number in self._left.items()}
        for numbers in self._workers.values():
            for key, number in numbers.items():
                found.setdefault(key, []).append(number)
        samples: dict[str, list[Sample]] = {}
        for (metric, labels), several in found.items():
            samples.setdefault(metric, []).append((labels, _MERGE[METRICS[metric].merge](several)))
        return dict(samples)


def _flat(samples: Samples) -> dict[Key, float]:
    return {(metric, labels): number for metric, several in samples.items() for labels, number in several}


def _is_count(metric: str) -> bool:
    return METRICS[metric].kind != "gauge"
