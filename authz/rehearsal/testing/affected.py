"""Which cases a change can make come out otherwise: the others need not be asked again.

It is sound because of what an answer is made from. Rules, headers and providers come from the policies of the
case's own host, for a policy places its rules under its hosts and nowhere else (`policy/index.py`); who asks
from the key that the case names; all else from Sites, providers, customers and limits. So a case that passed
passes again unless one of these changed:

    the case itself                                   it is asked
    a policy, one of whose hosts it asks for          it is asked; old and new hosts count
    its key                                           it is asked
    any Site, provider, customer, limit               every case is asked

What a policy does to the headers of others' hosts (a client's copy of a header that it sets is taken away)
is no part of what tests compare. Settings are alike as long as the process lives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TypeVar

from authz.policy.group import Change
from authz.policy.host import HostPattern, parse_host
from authz.policy.kind_policy import PolicySpec
from authz.policy.kind_test import TestCase
from authz.policy.loaded import AnyDocument, Document, Documents, Loaded
from authz.policy.shape import Model
from authz.request.host import canonical_host

# Host patterns of changed policies to compare each case with: more cost as much as asking the cases.
PATTERNS_MAX = 64

_Spec = TypeVar("_Spec", bound=Model)


class Affected:
    """What may have changed from a set whose tests passed to another.

    Args:
        passed: a set in which every case came out as expected; None where none is known.
    """

    def __init__(self, passed: Loaded | None, now: Loaded) -> None:
        before = passed or Loaded()
        hosts = list(_hosts(_changed(before.policies, now.policies)))
        self._all = passed is None or len(hosts) > PATTERNS_MAX or _others_changed(before, now)
        self._hosts = hosts
        self._keys = {key.name for key in _changed(before.keys, now.keys)}
        self._tests = {test.name for test in _changed(before.tests, now.tests)}
        self._known: dict[str, bool] = {}

    def test(self, name: str) -> bool:
        """Whether every case of a test is to be asked."""
        return self._all or name in self._tests

    def case(self, case: TestCase) -> bool:
        """Whether a case of a test that did not change is to be asked."""
        if case.credential is not None and case.credential.key in self._keys:
            return True
        host = case.request.host
        known = self._known.get(host)
        if known is None:
            known = self._known[host] = self._host(canonical_host(host))
        return known

    def _host(self, host: str) -> bool:
        return not host or any(pattern.matches(host) for pattern in self._hosts)


def _others_changed(before: Loaded, now: Loaded) -> bool:
    changes: Iterator[AnyDocument] = chain(
        _changed(before.sites, now.sites),
        _changed(before.providers, now.providers),
        _changed(before.customers, now.customers),
        _changed(before.limits, now.limits),
    )
    return next(changes, None) is not None


def _changed(before: Documents[_Spec], now: Documents[_Spec]) -> Iterator[Document[_Spec]]:
    """Yield every document that only one of two sets has; one that was changed is two.

    What counts is what is written, not where: a row holds kind and name as well. What did not change stays
    the same leaf, so of 10,000 documents few rows are compared.
    """
    if before.group is not now.group:
        gone, come = now.group.since(before.group) or _compared(before, now)
        rows = {leaf.row for leaf in gone} ^ {leaf.row for leaf in come}
        yield from before.of({leaf for leaf in gone if leaf.row in rows})
        yield from now.of({leaf for leaf in come if leaf.row in rows})


def _compared(before: Documents[_Spec], now: Documents[_Spec]) -> Change:
    old, new = frozenset(before.leaves), frozenset(now.leaves)
    return Change(old - new, new - old)


def _hosts(policies: Iterable[Document[PolicySpec]]) -> Iterator[HostPattern]:
    for policy in policies:
        yield from map(parse_host, policy.spec.hosts)
