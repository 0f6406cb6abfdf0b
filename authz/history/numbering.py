"""Which numbers of a stream are there, which are declared missing, and which are missing without a word.

Every record of a stream has the next number, and whoever loses some says so in a gap: where, and how many. So
what neither stands there nor was declared was taken away later. Lines may come in any order, and gaps before
or after the lines between which they lie; memory is bounded by settling what lies furthest back.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple

# Ranges that may stand open: 1 MB. A stream whose allows were dropped for hours has more of them, and its
# gaps lie near the lines that they speak of.
OPEN_MAX = 8192


class Hole(NamedTuple):
    """Numbers that were passed over.

    Args:
        where: of the line that passed over them.
        told: whether something else was found there already.
    """

    first: int
    last: int
    where: object
    told: bool

    @property
    def size(self) -> int:
        """How many."""
        return self.last - self.first + 1


class _Gap(NamedTuple):
    first: int
    last: int
    missing: int
    where: object


class Numbering:
    """Follows the numbers of one stream.

    Args:
        missing: told of a range in which so many are missing without a word.
    """

    __slots__ = ("_gaps", "_holes", "_missing", "excess", "first", "last", "undeclared")

    def __init__(self, missing: Callable[[Hole, int], None]) -> None:
        self._missing = missing
        self._holes: list[Hole] = []  # by number
        self._gaps: list[_Gap] = []
        self.first = self.last = -1  # nothing yet
        self.undeclared = 0
        self.excess = 0  # declared missing, and here all the same

    def begin(self, seq: int) -> None:
        """Say that the first number is the one after this."""
        if self.last < 0:
            self.first, self.last = seq + 1, seq

    def have(self, seq: int, where: object, *, told: bool = False) -> bool:
        """Take the number of a line; False where there was one with it."""
        if seq == self.last + 1 and self.last >= 0:
            self.last = seq
            return True
        if self.last < 0:
            self.first = self.last = seq
            return True
        if seq > self.last:
            self._open(self.last + 1, seq - 1, where, told=told)
            self.last = seq
            return True
        if seq < self.first:
            if seq + 1 < self.first:
                self._holes.insert(0, Hole(seq + 1, self.first - 1, where, told))
            self.first = seq
            return True
        return self._fill(seq)

    def declare(self, first: int, last: int, count: int, where: object) -> None:
        """Take a gap."""
        if self.last < 0:
            self.first, self.last = first, first - 1
        if first > self.last + 1:
            self._open(self.last + 1, first - 1, where, told=False)
            self.last = first - 1
        if last > self.last:
            self._open(self.last + 1, last, where, told=True)
            self.last = last
        self._gaps.append(_Gap(first, last, count, where))
        if len(self._gaps) > OPEN_MAX:
            self.settle(below=self._gaps[len(self._gaps) // 2].first)

    def settle(self, *, below: int | None = None) -> None:
        """Account for what lies below a number; for everything, where none is given."""
        limit = self.last + 1 if below is None else below
        clusters = _clusters(self._gaps)
        for cluster in clusters:  # one that reaches beyond is left whole
            if cluster.first < limit <= cluster.last:
                limit = cluster.first
        settled = [hole for hole in self._holes if hole.last < limit]
        self._holes = [hole for hole in self._holes if hole.last >= limit]
        self._gaps = [gap for gap in self._gaps if gap.last >= limit]
        self._judge(settled, [cluster for cluster in clusters if cluster.last < limit])

    def _judge(self, holes: list[Hole], clusters: list[_Gap]) -> None:
        starts = [cluster.first for cluster in clusters]
        unseen = [0] * len(clusters)
        for hole in holes:
            for part, index in _parts(hole, clusters, starts):
                if index < 0:
                    self._lack(part, part.size)
                else:
                    unseen[index] += part.size
        for cluster, count in zip(clusters, unseen, strict=True):
            if count > cluster.missing:
                self._lack(
                    Hole(cluster.first, cluster.last, cluster.where, told=False), count - cluster.missing
                )
            else:
                self.excess += cluster.missing - count

    def _lack(self, hole: Hole, count: int) -> None:
        self.undeclared += count
        self._missing(hole, count)

    def _open(self, first: int, last: int, where: object, *, told: bool) -> None:
        self._holes.append(Hole(first, last, where, told))
        if len(self._holes) > OPEN_MAX:
            self.settle(below=self._holes[len(self._holes) // 2].first)

    def _fill(self, seq: int) -> bool:
        at = bisect_right(self._holes, seq, key=lambda hole: hole.first) - 1
        if at < 0 or seq > self._holes[at].last:
            return False
        hole = self._holes[at]
        rest = [hole._replace(last=seq - 1), hole._replace(first=seq + 1)]
        self._holes[at : at + 1] = [part for part in rest if part.size > 0]
        return True


def _clusters(gaps: list[_Gap]) -> list[_Gap]:
    """Join gaps whose ranges overlap: a block that lost some twice has two."""
    joined: list[_Gap] = []
    for gap in sorted(gaps, key=lambda one: one.first):
        if joined and gap.first <= joined[-1].last:
            last = joined[-1]
            joined[-1] = last._replace(last=max(last.last, gap.last), missing=last.missing + gap.missing)
        else:
            joined.append(gap)
    return joined


def _parts(hole: Hole, clusters: list[_Gap], starts: list[int]) -> list[tuple[Hole, int]]:
    """Cut a hole where clusters begin and end; -1 stands for none."""
    parts: list[tuple[Hole, int]] = []
    first, index = hole.first, max(0, bisect_right(starts, hole.first) - 1)
    while first <= hole.last:
        while index < len(clusters) and clusters[index].last < first:
            index += 1
        if index == len(clusters) or clusters[index].first > hole.last:
            parts.append((hole._replace(first=first), -1))
            break
        cluster = clusters[index]
        if cluster.first > first:
            parts.append((hole._replace(first=first, last=cluster.first - 1), -1))
            first = cluster.first
        last = min(hole.last, cluster.last)
        parts.append((hole._replace(first=first, last=last), index))
        first = last + 1
    return parts
