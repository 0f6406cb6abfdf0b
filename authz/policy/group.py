"""Every document of one kind, and what follows from all of them together.

A group knows the one before it while it is made, and takes over what a few changed documents do not touch:
asking each of 10,000 documents anything takes a millisecond, in which others wait for the interpreter.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable
from itertools import chain
from operator import attrgetter
from typing import NamedTuple

from authz.policy.leaf import Leaf, Ties

_NAME = attrgetter("name")
_FEW = 8  # documents of which one may change, so that they are not looked at one by one

Parts = tuple[tuple[Leaf, ...], ...]  # the leaves of each file that has some, sorted by name


class Change(NamedTuple):
    """What makes one group of another."""

    gone: frozenset[Leaf]
    come: frozenset[Leaf]


class Group:
    """Every document of one kind, by name; of equal names in the order of files and documents.

    A kind in which nothing changed stays the same group, so what follows from it is worked out once.
    """

    __slots__ = ("_repeats", "_repeats_ids", "_telling", "_ties", "leaves", "parts")

    def __init__(self, parts: Parts, before: Group | None = None) -> None:
        """Take the leaves of each file that has some; most of them may be those of a group before."""
        self.parts = parts
        self._repeats: bool | None = None
        self._repeats_ids: bool | None = None
        self._ties: Counter[Ties] | None = None
        self._telling: frozenset[Leaf] | None = None
        if before is None or not self._follow(before):
            # Each part is sorted, so this merges runs; equal names keep their order.
            self.leaves = tuple(sorted(chain.from_iterable(parts), key=_NAME))

    @property
    def repeats(self) -> bool:
        """Whether a name stands twice."""
        if self._repeats is None:
            self._repeats = len({leaf.name for leaf in self.leaves}) < len(self.leaves)
        return self._repeats

    @property
    def repeats_ids(self) -> bool:
        """Whether a key's id stands twice."""
        if self._repeats_ids is None:
            self._repeats_ids = len({leaf.id for leaf in self.leaves}) < len(self.leaves)
        return self._repeats_ids

    @property
    def ties(self) -> Collection[Ties]:
        """Return what its documents say about others, each once."""
        if self._ties is None:
            self._ties = Counter([leaf.ties for leaf in self.leaves])
        return self._ties.keys()

    @property
    def telling(self) -> frozenset[Leaf]:
        """Return the documents in which something deserves a look."""
        if self._telling is None:
            self._telling = _telling(self.leaves)
        return self._telling

    def since(self, before: Group) -> Change | None:
        """Return what has changed since another group; None where a name stands twice in one of them."""
        if before.repeats or self.repeats:
            return None
        return _change(before.parts, self.parts)

    def rows(self) -> list[bytes]:
        """Return what the revision covers, sorted."""
        rows = [leaf.row for leaf in self.leaves]
        return sorted(rows) if self.repeats else rows

    def _follow(self, before: Group) -> bool:
        """Take over what a group before has worked out; False where it is not as simple as that."""
        if before.repeats:
            return False
        gone, come = _change(before.parts, self.parts)
        leaves = _patched(before.leaves, gone, come)
        if leaves is None or len(leaves) != sum(map(len, self.parts)):
            return False
        self.leaves = leaves
        self._repeats = False
        if before._ties is not None:
            self._ties = _counted(before._ties, gone, come)
        if before._telling is not None:
            self._telling = before._telling - gone | _telling(come)
        return True


def _change(old: Parts, new: Parts) -> Change:
    before, now = set(map(id, old)), set(map(id, new))
    gone = {leaf for part in old if id(part) not in now for leaf in part}
    come = {leaf for part in new if id(part) not in before for leaf in part}
    return Change(frozenset(gone - come), frozenset(come - gone))


def _patched(
    before: tuple[Leaf, ...], gone: Collection[Leaf], come: Collection[Leaf]
) -> tuple[Leaf, ...] | None:
    """Sort by putting a few leaves into sorted ones: sorting 10,000 holds others up for 3 ms.

    Returns: None where they are not few, or a name would stand twice.
    """
    if _FEW * (len(gone) + len(come)) > len(before):
        return None
    leaves = list(before)
    for leaf in gone:
        del leaves[bisect_left(leaves, leaf.name, key=_NAME)]
    for leaf in come:
        at = bisect_left(leaves, leaf.name, key=_NAME)
        if at < len(leaves) and leaves[at].name == leaf.name:
            return None
        leaves.insert(at, leaf)
    return tuple(leaves)


def _counted(before: Counter[Ties], gone: Iterable[Leaf], come: Iterable[Leaf]) -> Counter[Ties]:
    ties = before.copy()
    for leaf in come:
        ties[leaf.ties] += 1
    for leaf in gone:
        ties[leaf.ties] -= 1
        if not ties[leaf.ties]:
            del ties[leaf.ties]
    return ties


def _telling(leaves: Iterable[Leaf]) -> frozenset[Leaf]:
    return frozenset([leaf for leaf in leaves if leaf.warnings])
