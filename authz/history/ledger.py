"""Findings as they are gathered: what looked like one fault may turn out to be another, or none."""

from __future__ import annotations

from authz.history.finding import Finding


class Ledger:
    """Gathers findings.

    Args:
        most: how many are kept; the others are counted.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[int, Finding] = {}
        self._next = 0
        self.total = 0

    def add(self, finding: Finding) -> int:
        """Keep a finding; return its number, from 1."""
        self._next += 1
        self.total += 1
        if len(self._kept) < self._most:
            self._kept[self._next] = finding
        return self._next

    def replace(self, number: int, finding: Finding) -> None:
        """Say what it really is; 0 is none yet."""
        if not number:
            self.add(finding)
        elif number in self._kept:
            self._kept[number] = finding

    def drop(self, number: int) -> None:
        """Say that it is none."""
        self.total -= 1
        self._kept.pop(number, None)

    def all(self) -> tuple[Finding, ...]:
        """Return what is kept, in the order in which it was found."""
        return tuple(self._kept[number] for number in sorted(self._kept))


class Window:
    """The digests of the last lines of all streams, at least so many: what comes again is known by them.

    A digest and its place cost about 200 bytes.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._young: dict[str, int] = {}
        self._old: dict[str, int] = {}

    def add(self, mark: str, number: int) -> None:
        """Remember a line: the so many-th of its stream."""
        self._young[mark] = number
        if len(self._young) >= self._size:
            self._old, self._young = self._young, {}

    def get(self, mark: str) -> int | None:
        """Return which line of its stream this is; None: it is not known."""
        number = self._young.get(mark)
        return self._old.get(mark) if number is None else number
