"""Which of what was read may be in force: each part as it is if it is good, else as it was last good.

    policies, scopes    go together; how much of them may be in force, `trial.py` finds
    overrides           by themselves, so that a broken set never keeps the brake from working

A part that is not read any more (no file, an unmounted directory) is broken: empty never replaces good.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from authz.model.errors import Place, PolicyError, SnapshotRejected
from authz.policy.kind_test import PolicyTestSpec
from authz.policy.loaded import Document
from authz.snapshot.build import Builder, Built
from authz.snapshot.overrides import BuiltOverrides, OverridesBuilder
from authz.snapshot.ownership import Ownership, split
from authz.snapshot.parts import (
    OVERRIDES,
    PLATFORM,
    SCOPES,
    Faults,
    Files,
    Parts,
    Reading,
    part_of_scope,
    scope_of_part,
)
from authz.snapshot.trial import Failure, Gate, Main, Trial, Wanted, same
from authz.snapshot.whole import NO_SCOPES, Scopes, WholeBuilder

_Rejected = dict[str, tuple[PolicyError, ...]]


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


def concerned(built: Built, changed: frozenset[str]) -> Sequence[Document[PolicyTestSpec]]:
    """Return the tests that a change of some parts is held to.

    What the platform does is felt by every scope; what a scope does, by itself alone.
    """
    tests = built.loaded.tests
    if PLATFORM in changed or SCOPES in changed:
        return tests
    return [test for test in tests if part_of_scope(built.scope_of(test.file)) in changed]


class Assembly:
    """The parts in force, and what is tried in their place.

    Args:
        gate: has the last word on a set that is valid; overrides are never held to it.
    """

    def __init__(self, builder: Builder, gate: Gate = no_gate) -> None:
        self._whole = WholeBuilder(builder)
        self._brake = OverridesBuilder()
        self._gate = gate
        self._main: Main | None = None
        self._overrides: BuiltOverrides | None = None  # None: never good
        self._override_files: Files | None = None
        self._failures: dict[str, Failure] = {}
        self._roots: tuple[str, ...] = ()
        self._ownership: tuple[Scopes, Ownership] | None = None
        self._shown: tuple[Main | None, BuiltOverrides | None] = (None, None)

    def resume(self, parts: Parts, revision: str, loaded_at_us: int) -> Outcome:
        """Put the parts in force that were so in an earlier life, as `state.py` kept them.

        No gate is asked: they were in force before. What is read next is offered against them, so a part that
        is broken now stays as it was. `rejected` holds every fault where they are not to be used: they do not
        compile any more, or give another revision than `revision`; then nothing has changed.
        """
        try:
            main, overrides = self._remade(parts, loaded_at_us)
        except SnapshotRejected as rejected:
            return Outcome(None, {PLATFORM: tuple(rejected.faults)}, self._active())
        built = self._whole.with_overrides(main.built, overrides)
        if built.snapshot.revision != revision:
            what = f"gives the revision {built.snapshot.revision}, not {revision}"
            return Outcome(None, {PLATFORM: (PolicyError(Place("the kept set"), what),)}, self._active())
        self._main, self._overrides, self._override_files = main, overrides, parts.get(OVERRIDES)
        return self._outcome({})

    def scope_of(self, file: str) -> str:
        """Return the scope that a file belongs to by the Scope documents in force; "" where none is."""
        main = self._main
        if main is None:
            return ""
        if self._ownership is None or self._ownership[0] is not main.scopes:
            self._ownership = main.scopes, Ownership(self._roots, main.scopes.bounds)
        return self._ownership[1].scope_of(file)

    def brake(self, files: Files) -> Outcome:
        """Put overrides alone in force; the gate may call it while it looks at the rest."""
        return self._outcome(self._offer_overrides(files))

    def offer(self, reading: Reading, loaded_at_us: int) -> Outcome:
        """Try what was read; what is broken replaces nothing."""
        if reading.policies.roots != self._roots:
            self._roots, self._ownership = reading.policies.roots, None
        rejected = self._offer_overrides(reading.overrides)
        rejected |= self._offer_main(reading, loaded_at_us)
        return self._outcome(rejected)

    def _remade(self, parts: Parts, loaded_at_us: int) -> tuple[Main, BuiltOverrides]:
        if PLATFORM not in parts:
            raise SnapshotRejected([PolicyError(Place("the kept set"), "has no platform part")])
        main = {part: files for part, files in parts.items() if part != OVERRIDES}
        scopes = self._whole.scopes(parts[SCOPES]) if SCOPES in parts else NO_SCOPES
        built = self._whole.build(main, scopes, loaded_at_us)
        return Main(main, scopes, built), self._brake.build(parts.get(OVERRIDES, _NOTHING))

    def _outcome(self, rejected: _Rejected) -> Outcome:
        """SECURITY: without the brake that the operator named, nothing goes."""
        main, overrides = self._shown
        if self._main is None or self._overrides is None:
            return Outcome(None, rejected, self._active())
        if main is self._main and overrides is self._overrides:
            return Outcome(None, rejected, self._active())
        self._shown = (self._main, self._overrides)
        return Outcome(
            self._whole.with_overrides(self._main.built, self._overrides), rejected, self._active()
        )

    def _active(self) -> Parts:
        active = dict(self._main.parts) if self._main is not None else {}
        return active if self._override_files is None else {**active, OVERRIDES: self._override_files}

    def _offer_overrides(self, files: Files | None) -> _Rejected:
        """Put overrides in force as they are read, or say why not."""
        if files is None:
            self._overrides, self._override_files = self._overrides or BuiltOverrides(), None
            return {}
        if self._overrides is not None and same(files, self._override_files) and not files.faults:
            return {}
        if not files.contents and not files.faults and self._override_files and self._override_files.contents:
            what = "no overrides here any more: to release them, leave a `.yaml` file with a comment in it"
            return {OVERRIDES: (PolicyError(Place(_names(files)), what),)}
        try:
            self._overrides, self._override_files = self._brake.build(files), files
        except SnapshotRejected as rejected:
            return {OVERRIDES: tuple(rejected.faults)}
        return {}

    def _offer_main(self, reading: Reading, loaded_at_us: int) -> _Rejected:
        try:
            scopes = self._whole.scopes(reading.scopes) if reading.scopes is not None else NO_SCOPES
        except SnapshotRejected as faulty:
            return self._offer_waiting(reading.policies, tuple(faulty.faults), loaded_at_us)
        parts, rejected = self._readable(reading.policies, scopes)
        wanted = Wanted(scopes, reading.scopes, parts, reading.policies.roots)
        trial = Trial(self._whole, self._ask, self._main, wanted, loaded_at_us, self._failures)
        found = trial.run()
        if found.main is None and SCOPES in found.rejected:
            return rejected | self._offer_waiting(reading.policies, found.rejected[SCOPES], loaded_at_us)
        self._main = found.main or self._main
        return rejected | found.rejected

    def _offer_waiting(
        self, policies: Files, faults: tuple[PolicyError, ...], loaded_at_us: int
    ) -> _Rejected:
        """Try the scopes' own parts alone, while the Scope documents are not in force as they were read.

        SECURITY: the platform waits. A directory that a new Scope was to bind would count as the platform's.
        """
        if self._main is None:
            return {SCOPES: faults}
        active = self._main
        parts, rejected = self._readable(policies, active.scopes)
        platform = parts.pop(PLATFORM, None)
        if platform is not None and not same(platform, active.parts.get(PLATFORM)):
            what = "waits for the Scope documents, which are not in force as they stand: mend these first"
            rejected[PLATFORM] = (PolicyError(Place(_names(policies)), what),)
        wanted = Wanted(active.scopes, active.parts.get(SCOPES), parts, policies.roots)
        found = Trial(self._whole, self._ask, active, wanted, loaded_at_us, self._failures).run()
        self._main = found.main or active
        return {SCOPES: faults, **rejected, **found.rejected}

    def _ask(self, built: Built, changed: frozenset[str]) -> Sequence[PolicyError]:
        """Ask the gate about a set without overrides, under the revision that it would have with them."""
        overrides = self._overrides or BuiltOverrides()
        revision = self._whole.with_overrides(built, overrides).snapshot.revision
        return self._gate(replace(built, snapshot=replace(built.snapshot, revision=revision)), changed)

    def _readable(self, policies: Files, scopes: Scopes) -> tuple[dict[str, Files], _Rejected]:
        """Return the parts of the policies that can be tried, and why others cannot."""
        ownership = Ownership(policies.roots, scopes.bounds)
        whole = tuple(fault for fault in policies.faults if not ownership.is_below(fault.place.file))
        if whole:
            return {}, {PLATFORM: whole}
        parts = split(policies, ownership)
        rejected: _Rejected = {}
        for part in list(parts):
            faults = parts[part].faults or tuple(self._emptied(part, parts[part], scopes))
            if faults:
                rejected[part] = faults
                del parts[part]
        return parts, rejected

    def _emptied(self, part: str, files: Files, scopes: Scopes) -> Iterator[PolicyError]:
        if files.contents:
            return
        kept = self._main.parts.get(part) if self._main is not None else None
        scope = next((one for one in scopes.bounds if one.name == scope_of_part(part)), None)
        if scope is not None:
            end = "the last ones stay in force" if kept else "until there are, its hosts answer 503"
            what = f"no documents in the directory `{scope.spec.directory}` of the scope: {end}"
            yield scope.document.fault(what, "spec", "directory")
        elif kept is not None and kept.contents:
            yield PolicyError(Place(_names(files)), "no documents here any more: the last ones stay in force")


_NOTHING = Files({})


def _names(files: Files) -> str:
    return " ".join(files.roots) or "policies"
