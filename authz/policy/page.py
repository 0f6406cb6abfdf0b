"""One file as it was read: its documents, and where each of them stands."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

from authz.model.errors import Place, PolicyError
from authz.policy.leaf import Leaf
from authz.policy.source import Source

_NAME = attrgetter("name")


class Stand(NamedTuple):
    """Where a document stands in its file."""

    leaf: Leaf
    start: int  # of the text that it was read with, in bytes
    end: int
    line: int  # lines before that text
    position: int  # of the document among all of the file, empty ones too


class Page:
    """The documents of one file. An unchanged file stays the same page.

    Args:
        content: the file's bytes; not a copy, so that they cost nothing where somebody else has them too.
        leaves: every document that could be read, in the order of the file.
        faults: everything that is wrong in it.
        whole: every document is there, if not without faults.
    """

    __slots__ = (
        "_ends",
        "_lines",
        "_positions",
        "_slim",
        "_starts",
        "by_kind",
        "content",
        "faults",
        "file",
        "leaves",
        "whole",
    )

    def __init__(
        self,
        file: str,
        content: bytes,
        stands: Sequence[Stand],
        faults: Iterable[PolicyError],
        *,
        whole: bool,
    ) -> None:
        self.file = file
        self.content = content
        self.leaves = tuple([stand.leaf for stand in stands])
        self._starts = array("I", [stand.start for stand in stands])
        self._ends = array("I", [stand.end for stand in stands])
        self._lines = array("I", [stand.line for stand in stands])
        self._positions = array("I", [stand.position for stand in stands])
        self.faults = tuple(faults)
        self.whole = whole
        self.by_kind = _by_kind(self.leaves)
        self._slim = False

    def position(self, number: int) -> int:
        """Return the position of a leaf among all documents of the file, empty ones too."""
        return self._positions[number]

    def line(self, number: int) -> int:
        """Return how many lines stand before the part of the file that a leaf was read from."""
        return self._lines[number]

    def text(self, number: int) -> bytes:
        """Return the part of the file that a leaf was read from."""
        return self.content[self._starts[number] : self._ends[number]]

    def source(self, number: int) -> Source:
        """Return the same part, able to tell places."""
        return _source(self.file, self.text(number), self._lines[number])

    def placed(self, number: int, fault: PolicyError) -> PolicyError:
        """Return a fault of a leaf, whose line counts from the leaf's own text, as one of the file."""
        place = Place(self.file, self._lines[number] + fault.place.line, fault.place.column)
        return PolicyError(place, fault.what, newer=fault.newer, code=fault.code)

    def slim(self) -> None:
        """Forget the models of which there are many."""
        if not self._slim:
            for leaf in self.leaves:
                leaf.slim()
            self._slim = True

    def parts(self) -> dict[bytes, Leaf]:
        """Return every good document that stands alone in its part of the file, by that part."""
        return {
            self.text(number): leaf
            for number, leaf in enumerate(self.leaves)
            if leaf.clean
            and (self._ends[number] - self._starts[number] < len(self.content) or len(self.leaves) == 1)
        }


@lru_cache(maxsize=4)  # places are asked of one document after the other, and the first walks all of its text
def _source(file: str, text: bytes, line: int) -> Source:
    return Source(file, text.decode(), line)


def relative(fault: PolicyError, line: int) -> PolicyError:
    """Return a fault with its line counted from a part of a file that begins after `line` lines."""
    place = Place("", fault.place.line - line, fault.place.column)
    return PolicyError(place, fault.what, newer=fault.newer, code=fault.code)


def _by_kind(leaves: tuple[Leaf, ...]) -> Mapping[str, tuple[Leaf, ...]]:
    """Return the leaves of each kind by name; of equal names in the order of the file."""
    kinds: dict[str, list[Leaf]] = {}
    for leaf in sorted(leaves, key=_NAME):
        kinds.setdefault(leaf.kind, []).append(leaf)
    return {kind: tuple(found) for kind, found in kinds.items()}
