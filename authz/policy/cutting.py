"""The policies of a set, compiled and bound to their limits: of those of a set before, whatever stays.

What a policy becomes depends on itself and on the limits that it names. So between two sets only those are
looked at that changed, or that name a limit that did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from authz.policy.group import Change, Group
from authz.policy.kind_policy import PolicySpec
from authz.policy.leaf import Leaf
from authz.policy.loaded import Document, Documents
from authz.policy.workshop import Cut, Findings, MadeLimit, Workshop

_Named = Mapping[frozenset[str], tuple[MadeLimit, ...]]  # names of limits -> those that there are


@dataclass(frozen=True, slots=True)
class Cuttings:
    """The compiled policies of one set.

    Args:
        placings: every policy, and what it was compiled to.
        telling: what was found, where it is a fault or a warning.
        named: every combination of limits that some policy names, and those of them that there are.
        counts: how many policies name each combination of variables.
    """

    group: Group = field(default_factory=lambda: Group(()))
    placings: Mapping[Leaf, Cut] = field(default_factory=dict)
    telling: Mapping[Leaf, Findings] = field(default_factory=dict)
    named: _Named = field(default_factory=dict)
    counts: Counter[frozenset[str]] = field(default_factory=Counter)

    @property
    def names(self) -> frozenset[str]:
        """Return every variable that some expression names."""
        return frozenset().union(*self.counts)


class Exchange(NamedTuple):
    """What makes the compiled policies of one set those of another."""

    gone: Mapping[Leaf, Cut]
    come: Mapping[Leaf, Cut]


def cut_policies(
    policies: Documents[PolicySpec],
    limits: Mapping[str, MadeLimit],
    workshop: Workshop,
    before: Cuttings,
    pace: Callable[[], None],
) -> tuple[Cuttings, Exchange]:
    """Compile the policies that are new, and bind those whose limits are.

    Args:
        limits: by name.
        before: of an earlier set of the same workshop, whatever it was; it is not touched.

    Returns: the policies, and how they differ from those before.
    """
    group = policies.group
    named = {
        names: tuple([limits[name] for name in sorted(names) if name in limits])
        for names in {ties.limits for ties in group.ties}
    }
    gone, come = _change(group, named, before)
    pace()
    _compile(policies.of([leaf for leaf in come if leaf.maker is not workshop]), workshop, pace)
    exchange = Exchange(
        {leaf: before.placings[leaf] for leaf in gone},
        {leaf: _bound(leaf, named[leaf.ties.limits], pace) for leaf in come},
    )
    pace()
    return _exchanged(group, named, before, exchange), exchange


def _change(group: Group, named: _Named, before: Cuttings) -> tuple[Set[Leaf], Set[Leaf]]:
    """Return the policies that are not what they were: as they were, and as they are now."""
    change = group.since(before.group)
    if change is None:
        old, new = before.placings.keys(), dict.fromkeys(group.leaves).keys()
        change = Change(frozenset(old - new), frozenset(new - old))
    rebound = {names for names, bound in before.named.items() if named.get(names, bound) != bound}
    if not rebound:
        return change
    stale = {leaf for leaf in group.leaves if leaf.ties.limits in rebound}
    return change.gone | (stale - change.come), change.come | stale


def _compile(documents: Iterable[Document[PolicySpec]], workshop: Workshop, pace: Callable[[], None]) -> None:
    for document in documents:
        document.leaf.made = workshop.policy(document)
        document.leaf.maker = workshop
        pace()


def _bound(leaf: Leaf, wanted: tuple[MadeLimit, ...], pace: Callable[[], None]) -> Cut:
    cut: Cut = leaf.made  # type: ignore[assignment]  # the workshop made it
    if cut.limits != wanted:
        leaf.made = cut = cut.bound(wanted)
        pace()
    return cut


def _exchanged(group: Group, named: _Named, before: Cuttings, exchange: Exchange) -> Cuttings:
    placings, telling, counts = dict(before.placings), dict(before.telling), before.counts.copy()
    for leaf, cut in exchange.gone.items():
        del placings[leaf]
        telling.pop(leaf, None)
        counts[cut.findings.names] -= 1
    for leaf, cut in exchange.come.items():
        placings[leaf] = cut
        counts[cut.findings.names] += 1
        if cut.findings.faults or cut.findings.warnings:
            telling[leaf] = cut.findings
    return Cuttings(group, placings, telling, named, +counts)
