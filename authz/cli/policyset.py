"""A policy set as commands read it: every fault of every part, or the whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from authz.model.errors import Place, PolicyError
from authz.policy.clustering import faults_on_cluster
from authz.policy.compile import compile_set
from authz.policy.condition import Compiler
from authz.policy.load import load_lenient
from authz.policy.loaded import Loaded
from authz.policy.needs import Integration, behind
from authz.policy.scope_bounds import breaches
from authz.snapshot.build import Builder, Built, Surroundings
from authz.snapshot.overrides import BuiltOverrides, OverridesBuilder
from authz.snapshot.ownership import Ownership, split
from authz.snapshot.parts import OVERRIDES, SCOPES, Files, Parts, Reading, scope_of_part
from authz.snapshot.sources import Directories, Sources
from authz.snapshot.whole import NO_SCOPES, Scopes, WholeBuilder


class PartFault(NamedTuple):
    """A fault, and the part of the set in which it stands."""

    part: str
    fault: PolicyError


class PolicySet(NamedTuple):
    """What stands in some directories.

    Args:
        built: everything together, overrides included; None where there are faults.
        loaded: the documents of policies and scopes, as far as they could be read.
        overrides: the documents of the overrides, likewise.
        faults: sorted by place.
        warnings: of compiling, sorted by place.
        of_proxy: warnings about the Envoy that will ask, sorted by place.
        compiler: which has compiled every condition.
    """

    built: Built | None
    loaded: Loaded
    overrides: Loaded
    faults: list[PartFault]
    warnings: list[PolicyError]
    of_proxy: list[PolicyError]
    compiler: Compiler


def read_set(
    named: Directories, around: Surroundings | None = None, integration: Integration | None = None
) -> PolicySet:
    """Read and check a set as `serve` would, but go on past the first room that finds faults.

    A set of which `serve` would serve a part is faulty here: this is for those who write it.

    Args:
        integration: whose Envoy will ask; None where nobody says, and any may.
    """
    return _Reader(Sources(named).read(), around or Surroundings(), integration).read()


class _Reader:
    def __init__(self, reading: Reading, around: Surroundings, integration: Integration | None) -> None:
        self._reading = reading
        self._integration = integration
        self._whole = WholeBuilder(Builder(around))
        self._clustered = around.clustered
        self._compiler = Compiler()
        self._faults: list[PartFault] = []
        self._warnings: list[PolicyError] = []
        self._of_proxy: list[PolicyError] = []

    def read(self) -> PolicySet:
        scopes = self._scopes()
        ownership = Ownership(self._reading.policies.roots, scopes.bounds)
        parts = split(self._reading.policies, ownership)
        loaded = self._documents(parts, scopes, ownership)
        overrides = self._overrides()
        built = None if self._faults else self._built(parts, scopes, overrides)
        return PolicySet(
            built,
            built.loaded if built is not None else loaded,
            overrides.loaded,
            sorted(self._faults, key=_place_of),
            sorted([*self._warnings, *overrides.warnings], key=_by_place),
            sorted(self._of_proxy, key=_by_place),
            self._compiler,
        )

    def _scopes(self) -> Scopes:
        if self._reading.scopes is None:
            return NO_SCOPES
        scopes, faults = self._whole.scopes_lenient(self._reading.scopes)
        self._add(SCOPES, faults)
        return scopes

    def _documents(self, parts: Parts, scopes: Scopes, ownership: Ownership) -> Loaded:
        for part, files in parts.items():
            self._add(part, [*files.faults, *_absent(part, files, scopes)])
        contents = self._reading.policies.contents
        if not contents:
            return Loaded()
        loaded, faults = load_lenient(contents)
        compiled = compile_set(loaded, self._compiler)
        faults += [*compiled.faults, *breaches(loaded, scopes.bounds, ownership.scope_of)]
        if self._clustered:
            faults += faults_on_cluster(loaded)
        faults += self._behind(loaded)
        for fault in faults:
            self._add(ownership.part_of(fault.place.file), [fault])
        self._warnings += [*loaded.warnings, *compiled.warnings]
        return loaded

    def _overrides(self) -> BuiltOverrides:
        if self._reading.overrides is None:
            return BuiltOverrides()
        built, faults = OverridesBuilder().build_lenient(self._reading.overrides)
        self._add(OVERRIDES, [*faults, *self._behind(built.loaded)])
        return built

    def _behind(self, loaded: Loaded) -> list[PolicyError]:
        if self._integration is None:
            return []
        found = behind(loaded, self._compiler, self._integration)
        self._of_proxy += found.warnings
        return found.faults

    def _built(self, parts: Parts, scopes: Scopes, overrides: BuiltOverrides) -> Built:
        files = self._reading.scopes
        parts = {**parts, SCOPES: files} if files is not None else parts
        return self._whole.with_overrides(self._whole.build(parts, scopes, 0), overrides)

    def _add(self, part: str, faults: Iterable[PolicyError]) -> None:
        self._faults += [PartFault(part, fault) for fault in faults]


def _absent(part: str, files: Files, scopes: Scopes) -> Iterator[PolicyError]:
    """A scope without documents is closed when it is served."""
    name = scope_of_part(part)
    if name and not files.contents and not files.faults:
        scope = next(bound.document for bound in scopes.bounds if bound.name == name)
        what = f"no documents in the directory `{scope.spec.directory}`: its hosts would answer 503"
        yield scope.fault(what, "spec", "directory")


def _place_of(fault: PartFault) -> tuple[Place, str]:
    return _by_place(fault.fault)


def _by_place(fault: PolicyError) -> tuple[Place, str]:
    return fault.place, fault.what
