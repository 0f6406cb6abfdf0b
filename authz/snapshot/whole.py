"""Some parts together as one set: built, held to the bounds of their scopes, closed where one is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from authz.model.errors import PolicyError, SnapshotRejected
from authz.policy.host_map import HostMap, OwnedHeaders
from authz.policy.load import Cache, load_lenient
from authz.policy.loaded import Loaded, Reviser
from authz.policy.placement import Home
from authz.policy.scope_bounds import Inspector
from authz.policy.scopes import Bounds, faults_among
from authz.policy.texts import plain_header
from authz.snapshot.build import Builder, Built
from authz.snapshot.overrides import BuiltOverrides
from authz.snapshot.parts import OVERRIDES, SCOPES, Files, Parts, part_of_scope, scope_of_part

MAX_FAULTS = 500
NOT_DOCUMENTS = (SCOPES, OVERRIDES)  # parts that are read by themselves


class Scopes(NamedTuple):
    """Scope documents, read."""

    bounds: tuple[Bounds, ...]
    loaded: Loaded


NO_SCOPES = Scopes((), Loaded())


class WholeBuilder:
    """Builds sets out of parts."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self._cache = Cache()  # of Scope documents
        self._reviser = Reviser()
        self._inspector = Inspector(builder.pace)

    def scopes(self, files: Files) -> Scopes:
        """Read Scope documents.

        Raises:
            SnapshotRejected: with every fault of theirs.
        """
        found, faults = self.scopes_lenient(files)
        if faults:
            raise SnapshotRejected(faults)
        return found

    def scopes_lenient(self, files: Files) -> tuple[Scopes, list[PolicyError]]:
        """Read Scope documents, and return them together with every fault."""
        if not files.contents:
            return NO_SCOPES, list(files.faults)
        loaded, faults = load_lenient(files.contents, self._cache, Home.SCOPES)
        faults = [*files.faults, *faults, *faults_among(loaded.scopes)]
        return Scopes(tuple(map(Bounds, loaded.scopes)), loaded), faults

    def build(self, parts: Parts, scopes: Scopes, loaded_at_us: int) -> Built:
        """Build what some parts are together.

        Args:
            parts: of each scope that was ever good, and of the platform.
            scopes: every scope, whether its part is there or not.

        Raises:
            SnapshotRejected: with the faults of all parts.
        """
        documents = {part: files.contents for part, files in parts.items() if part not in NOT_DOCUMENTS}
        if len(documents) == 1 and not scopes.bounds:
            return self._builder.build(next(iter(documents.values())), loaded_at_us)
        contents = {name: content for files in documents.values() for name, content in files.items()}
        scope_of = scopes_of_files(parts).__getitem__

        def beyond(loaded: Loaded) -> Iterator[PolicyError]:
            return islice(self._inspector.breaches(loaded, scopes.bounds, scope_of), MAX_FAULTS)

        built = self._builder.build(contents, loaded_at_us, beyond)
        loaded = replace(built.loaded, scopes=scopes.loaded.scopes)
        loaded = replace(loaded, revision=self._reviser.revision(loaded))
        return _scoped(replace(built, loaded=loaded, scope_of=scope_of), parts, scopes.bounds)

    def with_overrides(self, built: Built, overrides: BuiltOverrides) -> Built:
        """Put overrides before a set. The revision covers them, too."""
        if overrides.asked is None:
            return built
        revision = self._reviser.revision(built.loaded, overrides.loaded)
        snapshot = built.snapshot
        reading = snapshot.reading
        snapshot = replace(
            snapshot,
            revision=revision,
            overrides=overrides.asked,
            reading=replace(
                reading, time=reading.time or overrides.time, body=reading.body or overrides.body
            ),
            fixed=snapshot.fixed._replace(revision=revision),
        )
        loaded = replace(built.loaded, revision=revision)
        warnings = (*built.warnings, *overrides.warnings)
        return replace(built, snapshot=snapshot, loaded=loaded, warnings=warnings)


def scopes_of_files(parts: Parts) -> Mapping[str, str]:
    """Return the scope of every file, "" for the platform's."""
    return {name: scope_of_part(part) for part, files in parts.items() for name in files.contents}


def _scoped(built: Built, parts: Parts, bounds: Sequence[Bounds]) -> Built:
    snapshot, revision = built.snapshot, built.loaded.revision
    owned = _owned(built.loaded, bounds, built.scope_of)
    snapshot = replace(
        snapshot,
        revision=revision,
        closed=_closed(bounds, parts) or None,
        reading=replace(snapshot.reading, owned_of=owned.of),
        fixed=snapshot.fixed._replace(revision=revision),
    )
    return replace(built, snapshot=snapshot)


def _closed(bounds: Iterable[Bounds], parts: Parts) -> HostMap[str]:
    closed: HostMap[str] = HostMap()
    for bound in bounds:
        if part_of_scope(bound.name) not in parts:
            for host in bound.hosts:
                closed.add(host, bound.name)
    return closed


def _owned(loaded: Loaded, bounds: Iterable[Bounds], scope_of: Callable[[str], str]) -> OwnedHeaders:
    settable: dict[str, set[str]] = {}
    for page in loaded.policies.pages:
        for leaf in page.by_kind.get("Policy", ()):
            if leaf.ties.headers and not leaf.ties.shadow:
                names = (plain_header(name) for name, _ in leaf.ties.headers)
                settable.setdefault(scope_of(page.file), set()).update(names)
    of_scopes: HostMap[frozenset[str]] = HostMap()
    for bound in bounds:
        if bound.name in settable:
            for host in bound.hosts:
                of_scopes.add(host, frozenset(settable[bound.name]))
    return OwnedHeaders(frozenset(settable.get("", ())), of_scopes)
