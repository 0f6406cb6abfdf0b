"""Tries what was read of a set in parts against what is active, and finds how much of it may be in force.

    1. everything that was read, at once
    2. without the changed scopes that the faults of that name
    3. one changed part at a time, from what is active: Scope documents, platform, then scopes by name

What is active is never blamed: a changed part that does not go together with it is not accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from authz.model.errors import PolicyError, SnapshotRejected
from authz.policy.cover import HostSet
from authz.snapshot.build import Built
from authz.snapshot.ownership import Ownership, split
from authz.snapshot.parts import OVERRIDES, PLATFORM, SCOPES, Files, Parts, scope_of_part
from authz.snapshot.whole import Scopes, WholeBuilder

# What is asked before a set comes into force: the set, and which of its parts changed -> why it must not.
Gate = Callable[[Built, frozenset[str]], Sequence[PolicyError]]

# Rounds of leaving out what faults name: what goes beyond its bounds, what cannot be read, what does not fit
# the others, and tests. What hides behind more is tried part by part.
_DROPS = 5
_ROUNDS = 2  # over the changed parts one by one: the second finds what waited for another


class Main(NamedTuple):
    """A set in force, without overrides.

    Args:
        parts: PLATFORM, SCOPES where there are any, and each scope that was ever good.
    """

    parts: Parts
    scopes: Scopes
    built: Built


class Wanted(NamedTuple):
    """What was read and may be tried.

    Args:
        scopes: the Scope documents to try.
        scope_files: where they stand; None where the operator named no directory.
        parts: platform and scopes that could be read.
        roots: the directories of `--policies`.
    """

    scopes: Scopes
    scope_files: Files | None
    parts: Mapping[str, Files]
    roots: tuple[str, ...]


class Found(NamedTuple):
    """What came of it.

    Args:
        main: what may be in force; None: what is active stays.
        rejected: changed parts -> their faults.
    """

    main: Main | None
    rejected: dict[str, tuple[PolicyError, ...]]


class Failure(NamedTuple):
    """A scope whose tests failed, and everything that they depended on."""

    files: Files
    platform: Files
    scope_files: Files | None
    faults: tuple[PolicyError, ...]


class Trial:
    """One reading on trial.

    Args:
        active: what is in force; None before anything was.
        failures: of scopes, kept from one trial to the next: tests that fail are not run again each time that
            somebody else changes something, since they may take a minute.
    """

    def __init__(
        self,
        builder: WholeBuilder,
        gate: Gate,
        active: Main | None,
        wanted: Wanted,
        loaded_at_us: int,
        failures: dict[str, Failure],
    ) -> None:
        self._failures = failures
        self._gated = False  # what was tried last was refused by the gate
        self._builder = builder
        self._gate = gate
        self._main = active
        self._active: Parts = active.parts if active is not None else {}
        self._wanted = wanted
        self._at_us = loaded_at_us
        self._rejected: dict[str, tuple[PolicyError, ...]] = {}
        self.changed = {
            part for part, files in wanted.parts.items() if not same(files, self._active.get(part))
        }
        self.rescoped = not same(wanted.scope_files, self._active.get(SCOPES))

    def run(self) -> Found:
        """Find the most that may be in force."""
        self._recall()
        if not self.changed and not self.rescoped and self._active:
            return Found(None, self._rejected)
        base = self._base(adopt=True)
        main = self._at_once(base) or self._one_by_one(base)
        return Found(main, self._rejected)

    def _recall(self) -> None:
        """Leave out scopes whose tests are known to fail, where nothing has changed that they depend on."""
        platform = self._wanted.parts.get(PLATFORM) or self._active.get(PLATFORM)
        for part in sorted(self.changed & self._failures.keys()):
            known = self._failures[part]
            alike = same(known.platform, platform) and same(known.scope_files, self._wanted.scope_files)
            if alike and same(known.files, self._wanted.parts[part]) and not self._shares(part):
                self.changed.discard(part)
                self._rejected[part] = known.faults
            else:
                del self._failures[part]

    def _shares(self, part: str) -> bool:
        """Whether another scope speaks about a host of this one, and so may decide what its tests see."""
        name, others = scope_of_part(part), HostSet()
        own = [host for one in self._wanted.scopes.bounds if one.name == name for host in one.hosts]
        for one in self._wanted.scopes.bounds:
            if one.name != name:
                others.add(one.hosts)
        return any(map(others.meets, own))

    def _base(self, *, adopt: bool) -> dict[str, Files]:
        """What is active, as the Scope documents to try divide it.

        Args:
            adopt: a scope that is new begins with what stood in its directory before.
        """
        active = {part: files for part, files in self._active.items() if part not in (SCOPES, OVERRIDES)}
        if self.rescoped and active:
            contents = {
                name: content for files in active.values() for name, content in files.contents.items()
            }
            divided = split(
                Files(contents, (), self._wanted.roots),
                Ownership(self._wanted.roots, self._wanted.scopes.bounds),
            )
            active = {
                part: Files(files.contents)
                for part, files in divided.items()
                if part == PLATFORM or (files.contents and (adopt or part in self._active))
            }
        if self._wanted.scope_files is not None:
            active[SCOPES] = self._wanted.scope_files
        return active

    def _at_once(self, base: Mapping[str, Files]) -> Main | None:
        choice = set(self.changed)
        rejected: dict[str, tuple[PolicyError, ...]] = {}
        for _ in range(_DROPS):
            parts = {**base, **{part: self._wanted.parts[part] for part in choice}}
            if PLATFORM not in parts:
                return None
            tried = self._try(parts)
            if isinstance(tried, Main):
                self._rejected.update(rejected)
                return tried
            named = _by_part(tried, parts)
            blamed = {part for part in named if part in choice and scope_of_part(part)}
            if not blamed and PLATFORM in named and PLATFORM in choice and PLATFORM in base:
                alone = self._try({**base, PLATFORM: self._wanted.parts[PLATFORM]})
                if not isinstance(alone, Main):  # it needs nobody else's change to be at fault
                    named, blamed = {PLATFORM: alone}, {PLATFORM}
            if not blamed:
                return None
            rejected |= {part: named[part] for part in blamed}
            if self._gated:
                self._remember(rejected, blamed, parts)
            choice -= blamed
            if not choice and not self.rescoped and self._main is not None:
                self._rejected.update(rejected)
                return self._main  # nothing else has changed
        return None

    def _remember(
        self, rejected: Mapping[str, tuple[PolicyError, ...]], blamed: set[str], parts: Parts
    ) -> None:
        platform, scope_files = parts[PLATFORM], self._wanted.scope_files
        for part in filter(scope_of_part, blamed):
            self._failures[part] = Failure(parts[part], platform, scope_files, rejected[part])

    def _one_by_one(self, base: dict[str, Files]) -> Main | None:
        current = self._rescope(base) if self.rescoped and self._active else None
        if self.rescoped and self._active and current is None:
            return None
        parts = dict(current.parts) if current is not None else base
        if PLATFORM not in parts and PLATFORM not in self.changed:
            return None
        pending = sorted(self.changed, key=lambda part: (part != PLATFORM, part))
        for _ in range(_ROUNDS):
            for part in list(pending):
                tried = self._try({**parts, part: self._wanted.parts[part]})
                if isinstance(tried, Main):
                    current, parts = tried, dict(tried.parts)
                    pending.remove(part)
                    self._rejected.pop(part, None)
                else:
                    self._rejected[part] = tried
                if part == PLATFORM and PLATFORM not in parts:
                    return None  # never good: nothing may be served
        return current

    def _rescope(self, base: dict[str, Files]) -> Main | None:
        """Try the Scope documents alone, over what is active."""
        tried = self._try(base)
        if not isinstance(tried, Main):
            without = self._base(adopt=False)
            tried = self._try(without) if without.keys() != base.keys() else tried
        if isinstance(tried, Main):
            return tried
        self._rejected[SCOPES] = tried
        return None

    def _try(self, parts: Parts) -> Main | tuple[PolicyError, ...]:
        self._gated = False
        try:
            built = self._builder.build(parts, self._wanted.scopes, self._at_us)
        except SnapshotRejected as rejected:
            return tuple(rejected.faults)
        changed = frozenset(
            part for part in parts if part != OVERRIDES and not same(parts[part], self._active.get(part))
        )
        faults = tuple(self._gate(built, changed))
        self._gated = bool(faults)
        return faults or Main(parts, self._wanted.scopes, built)


def same(one: Files | None, other: Files | None) -> bool:
    """Whether two parts hold the same files."""
    if one is None or other is None:
        return one is other
    return one.contents == other.contents


def _by_part(faults: Sequence[PolicyError], parts: Parts) -> dict[str, tuple[PolicyError, ...]]:
    """Return faults by the part in which they stand."""
    part_of = {name: part for part, files in parts.items() for name in files.contents}
    named: dict[str, tuple[PolicyError, ...]] = {}
    for fault in faults:
        part = part_of.get(fault.place.file, "")
        named[part] = (*named.get(part, ()), fault)
    return named
