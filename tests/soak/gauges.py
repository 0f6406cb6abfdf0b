"""What processes hold over time: memory and file descriptors, and how fast they grow."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple

from authz.bench.usage import resident_mib


class Sample(NamedTuple):
    """One look at one process."""

    at_s: float
    resident_mib: float
    files: int


class Trend(NamedTuple):
    """How a process developed. The slopes are those of its second half: what it takes at first, it keeps."""

    lived_s: float
    last_mib: float
    most_mib: float
    files: int
    mib_per_min: float
    files_per_min: float


def children(pid: int) -> list[int]:
    """Return the processes that a process started and that still are, oldest first."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    except OSError:
        return []
    return sorted(found)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the least-squares slope of points (x, y); 0 where there is none."""
    if len(points) < 2:
        return 0.0
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def trend(samples: Sequence[Sample]) -> Trend:
    """Return what the samples of one process say."""
    first, last = samples[0], samples[-1]
    half = [one for one in samples if one.at_s >= (first.at_s + last.at_s) / 2]
    return Trend(
        last.at_s - first.at_s,
        last.resident_mib,
        max(one.resident_mib for one in samples),
        last.files,
        slope([(one.at_s / 60, one.resident_mib) for one in half]),
        slope([(one.at_s / 60, float(one.files)) for one in half]),
    )


class Gauges:
    """Looks at a process and its children until told to stop."""

    def __init__(self, pid: int, every_s: float = 0.5) -> None:
        self._pid = pid
        self._every_s = every_s
        self._end = Event()
        self.seen: dict[int, list[Sample]] = defaultdict(list)
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> dict[int, Trend]:
        """Return how each process developed."""
        self._end.set()
        self._thread.join()
        return {pid: trend(samples) for pid, samples in self.seen.items()}

    def _run(self) -> None:
        while not self._end.wait(self._every_s):
            for pid in [self._pid, *children(self._pid)]:
                try:
                    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
                    self.seen[pid].append(Sample(time.monotonic(), resident_mib(pid), files))
                except OSError:
                    continue  # it has just ended
