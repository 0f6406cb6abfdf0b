"""From documents to rules that can be asked: conditions compiled, patterns indexed, names resolved.

Everything that is wrong is collected; a set with one fault is not served. Of a set that follows another only
what differs is compiled, and of its index only what differs is made anew (`workshop.py`, `index.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from authz.model.errors import PolicyError
from authz.model.site import Site
from authz.policy.agreement import disagreements
from authz.policy.condition import Compiler
from authz.policy.cutting import Cuttings, Exchange, cut_policies
from authz.policy.host import HostPattern, parse_host
from authz.policy.index import Index
from authz.policy.leaf import Leaf
from authz.policy.loaded import Document, Documents, Loaded
from authz.policy.path import PathPattern
from authz.policy.rule import LimitRule, Rule
from authz.policy.shadow import Shadow
from authz.policy.shape import Model
from authz.policy.sites import SiteIndex
from authz.policy.workshop import Cut, Findings, MadeLimit, Placed, Workshop, network

__all__ = ["Ruleset", "compile_set", "network"]

_Spec = TypeVar("_Spec", bound=Model)


@dataclass(frozen=True, slots=True)
class _Indexes:
    """What a set's policies are found by."""

    enforced: Index = field(default_factory=Index)
    shadow: Index = field(default_factory=Index)  # policies in shadow
    limited: Index = field(default_factory=Index)  # enforcing rules with limits in shadow


@dataclass(slots=True)
class Ruleset:
    """A compiled policy set. Usable only if `faults` is empty."""

    index: Index = field(default_factory=Index)
    sites: SiteIndex = field(default_factory=SiteIndex)
    shadow: Shadow | None = None  # documents in `mode: shadow`; None where there are none
    limits: Mapping[str, LimitRule] = field(default_factory=dict)  # every limit, by name
    settable: frozenset[str] = frozenset()  # headers that some enforcing policy sets
    names: frozenset[str] = frozenset()  # variables that some expression names
    faults: list[PolicyError] = field(default_factory=list)
    warnings: list[PolicyError] = field(default_factory=list)
    indexes: _Indexes = field(default_factory=_Indexes)
    cuttings: Cuttings = field(default_factory=Cuttings)


def compile_set(
    loaded: Loaded,
    compiler: Compiler | None = None,
    processes: int = 1,
    *,
    workshop: Workshop | None = None,
    before: Ruleset | None = None,
    pace: Callable[[], None] = lambda: None,
) -> Ruleset:
    """Compile a policy set; its faults are in the result.

    Args:
        processes: so many keep buckets of their own: each limit gets this one's share of its rate.
        workshop: instead of both, kept by the caller: it compiles no document twice.
        before: an earlier set of the same workshop, whatever it was; it is not touched.
    """
    return _Set(loaded, workshop or Workshop(compiler, processes, processes), pace).compile(before)


class _Set:
    """The work of one compilation."""

    def __init__(self, loaded: Loaded, workshop: Workshop, pace: Callable[[], None]) -> None:
        self._loaded = loaded
        self._workshop = workshop
        self._pace = pace

    def compile(self, before: Ruleset | None) -> Ruleset:
        loaded, workshop = self._loaded, self._workshop
        before = before or Ruleset()
        limits: list[MadeLimit] = self._made(loaded.limits, workshop.limit)
        known = {limit.rule.name: limit for limit in limits}
        cuttings, exchange = cut_policies(loaded.policies, known, workshop, before.cuttings, self._pace)
        self._pace()
        sites: list[Site] = self._made(loaded.sites, workshop.site)
        indexes = self._indexes(cuttings, exchange, before)
        self._pace()
        result = Ruleset(index=indexes.enforced, indexes=indexes, cuttings=cuttings)
        for document, site in zip(loaded.sites, sites, strict=True):
            for host in document.spec.hosts:
                result.sites.add(parse_host(host), site)
        ties = loaded.policies.group.ties
        if any(limit.tried for limit in limits) or any(one.shadow for one in ties):
            result.shadow = Shadow(indexes.shadow, indexes.limited)
        result.limits = {name: limit.rule for name, limit in known.items()}
        # A policy in shadow sets no header: it owns none.
        result.settable = frozenset(name for one in ties if not one.shadow for name, _ in one.headers)
        result.names = cuttings.names.union(*[limit.findings.names for limit in limits])
        findings = [limit.findings for limit in limits]
        self._find(result, loaded.limits, dict(zip(loaded.limits.leaves, findings, strict=True)))
        self._find(result, loaded.policies, cuttings.telling)
        self._pace()
        result.faults += disagreements(loaded.policies)
        return result

    def _made(self, documents: Documents[_Spec], make: Callable[[Document[_Spec]], Any]) -> list[Any]:
        """Return what has become of each document of one kind."""
        workshop = self._workshop
        stale = [leaf for leaf in documents.leaves if leaf.maker is not workshop]
        for document in documents.of(stale):
            document.leaf.made = make(document)
            document.leaf.maker = workshop
            self._pace()
        self._pace()
        return [leaf.made for leaf in documents.leaves]

    def _indexes(self, cuttings: Cuttings, exchange: Exchange, before: Ruleset) -> _Indexes:
        """Return the indexes of these policies, sharing with those before whatever stays."""
        if 2 * len(exchange.gone) > len(before.cuttings.placings):
            change = _Change(_Indexes(), self._pace)
            change.place(cuttings.placings)
            return change.indexes()
        change = _Change(before.indexes, self._pace)
        change.take(exchange.gone)
        change.place(exchange.come)
        return change.indexes()

    def _find(self, result: Ruleset, documents: Documents[_Spec], findings: Mapping[Leaf, Findings]) -> None:
        """Take over what was found in the documents of one kind, at its place in the files."""
        for document in documents.of(findings.keys()):
            found, page = findings[document.leaf], document.page
            result.faults += [page.placed(document.number, fault) for fault in found.faults]
            result.warnings += [page.placed(document.number, warning) for warning in found.warnings]


class _Change:
    """What is done to the indexes of one set to have those of the next."""

    def __init__(self, before: _Indexes, pace: Callable[[], None]) -> None:
        self._before = before
        self._pace = pace
        self._drafts: dict[Index, Index] = {}

    def take(self, cuts: Mapping[Leaf, Cut]) -> None:
        """Take policies away: rules of one pattern at once, since many may stand there."""
        gone: dict[tuple[Index, HostPattern, PathPattern], set[Rule]] = {}
        for leaf, cut in cuts.items():
            for index, placed in self._places(cut, leaf):
                for host in leaf.ties.hosts:
                    for path in placed.paths:
                        gone.setdefault((index, host, path), set()).add(placed.rule)
        for (index, host, path), rules in gone.items():
            self._draft(index).remove(rules, host, path)
            self._pace()
        self._name_providers(cuts, -1)

    def place(self, cuts: Mapping[Leaf, Cut]) -> None:
        """Place policies."""
        for leaf, cut in cuts.items():
            for index, placed in self._places(cut, leaf):
                for host in leaf.ties.hosts:
                    self._draft(index).add(placed.rule, host, placed.paths)
            self._pace()
        self._name_providers(cuts, 1)

    def indexes(self) -> _Indexes:
        """Return what has become of the indexes."""
        for draft in self._drafts.values():
            draft.seal()
        before = self._before
        indexes = (before.enforced, before.shadow, before.limited)
        return _Indexes(*[self._drafts.get(index, index) for index in indexes])

    def _places(self, cut: Cut, leaf: Leaf) -> Iterator[tuple[Index, Placed]]:
        """Yield every index that has a rule."""
        for placed in cut.placed:
            yield self._before.shadow if leaf.ties.shadow else self._before.enforced, placed
            if placed.rule.shadow_limits and not leaf.ties.shadow:
                yield self._before.limited, placed

    def _name_providers(self, leaves: Iterable[Leaf], count: int) -> None:
        for leaf in leaves:
            if not leaf.ties.shadow:
                for host in leaf.ties.hosts:
                    self._draft(self._before.enforced).name_providers(host, leaf.ties.providers, count)

    def _draft(self, index: Index) -> Index:
        draft = self._drafts.get(index)
        if draft is None:
            draft = self._drafts[index] = Index(index)
        return draft
