"""Which of what was read may be in force: each part as it is if it is good, else as it was last good."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from authz.model.errors import Place, PolicyError, SnapshotRejected
from authz.snapshot.build import Builder, Built
from authz.snapshot.parts import PLATFORM, Faults, Parts, Reading

# What is asked before a set comes into force: the set, and which of its parts changed -> why it must not.
Gate = Callable[[Built, frozenset[str]], Sequence[PolicyError]]


class Outcome(NamedTuple):
    """What came of one reading.

    Args:
        built: what shall be in force; None where that stays as it is.
        rejected: parts that are not in force as they were read.
        active: the files of every part that is in force.
    """

    built: Built | None
    rejected: Faults
    active: Parts


def no_gate(_: Built, __: frozenset[str]) -> Sequence[PolicyError]:
    """Let every valid set pass."""
    return ()


class Assembly:
    """The parts in force, and what is tried in their place.

    Args:
        gate: has the last word on a set that is valid.
    """

    def __init__(self, builder: Builder, gate: Gate = no_gate) -> None:
        self._builder = builder
        self._gate = gate
        self._active: Parts = {}

    def resume(self, parts: Parts, revision: str, loaded_at_us: int) -> Outcome:
        """Put the parts in force that were so in an earlier life, as `state.py` kept them.

        No gate is asked: they were in force before. What is read next is offered against them, so a part that
        is broken now stays as it was. `rejected` holds every fault where they are not to be used: they do not
        compile any more, or give another revision than `revision`; then nothing has changed.
        """
        try:
            built = self._builder.build(parts[PLATFORM].contents, loaded_at_us)
        except SnapshotRejected as rejected:
            return Outcome(None, {PLATFORM: tuple(rejected.faults)}, self._active)
        if built.snapshot.revision != revision:
            what = f"gives the revision {built.snapshot.revision}, not {revision}"
            return Outcome(None, {PLATFORM: (PolicyError(Place("the kept set"), what),)}, self._active)
        self._active = parts
        return Outcome(built, {}, self._active)

    def offer(self, reading: Reading, loaded_at_us: int) -> Outcome:
        """Try what was read; what is broken replaces nothing."""
        files = reading.policies
        if files.faults:
            return Outcome(None, {PLATFORM: files.faults}, self._active)
        try:
            built = self._builder.build(files.contents, loaded_at_us)
        except SnapshotRejected as rejected:
            return Outcome(None, {PLATFORM: tuple(rejected.faults)}, self._active)
        faults = tuple(self._gate(built, frozenset((PLATFORM,))))
        if faults:
            return Outcome(None, {PLATFORM: faults}, self._active)
        self._active = {PLATFORM: files}
        return Outcome(built, {}, self._active)
