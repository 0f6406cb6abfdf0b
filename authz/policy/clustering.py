"""What a set must keep to where its buckets lie in a Redis Cluster.

All that is spent for one check is spent by one script, and a script sees one slot. So every bucket of a check
must lie with the others: those of a customer by the customer, those of somebody unknown by the network. A
bucket that two kinds of callers draw from cannot lie with both.
Source: "Cluster" in the contract on limits.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from itertools import islice

from authz.model.errors import PolicyError
from authz.policy.kind_policy import PolicySpec
from authz.policy.loaded import Document, Loaded
from authz.policy.rule import Whose
from authz.policy.workshop import whose

MAX_FAULTS = 500  # more tell nobody more

_NOBODYS = (
    "the limit `{}` is not supported yet on Cluster, since its buckets are no one caller's: name"
    " `identity.customer`, `identity.key_id` or `client.network` in `per`, or use one Redis or Sentinel"
)
_MIXED = (
    "the limit `{}` is not supported yet on Cluster in this rule: it is per `client.network`, which a rule"
    " for `anonymous` alone may spend: write one for those, and another limit for the others"
)


def faults_on_cluster(loaded: Loaded) -> list[PolicyError]:
    """Return why a set cannot be served from a Cluster; empty where its limits are exact there.

    Limits and policies in shadow are held to it too: they stand there to be enforced one day.
    """
    return list(islice(_faults(loaded), MAX_FAULTS))


def _faults(loaded: Loaded) -> Iterator[PolicyError]:
    of_networks = set()
    for limit in loaded.limits:
        kind = whose(limit.spec.per)
        if kind is Whose.ANYBODY:
            yield limit.fault(_NOBODYS.format(limit.name), "spec", "per")
        elif kind is Whose.NETWORK:
            of_networks.add(limit.name)
    for policy in loaded.policies.tied(lambda ties: not ties.limits_of_known.isdisjoint(of_networks)):
        yield from _mixed(policy, of_networks)


def _mixed(policy: Document[PolicySpec], of_networks: Set[str]) -> Iterator[PolicyError]:
    for index, rule in enumerate(policy.spec.rules):
        if not rule.anonymous_alone:
            for item, name in enumerate(rule.limits or ()):
                if name in of_networks:
                    yield policy.fault(_MIXED.format(name), "spec", "rules", index, "limits", item)
