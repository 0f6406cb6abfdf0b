"""Pods that asked for a sidecar, and those that have none: counted, in bounded numbers.

Pure. Nothing else in a cluster notices a pod that an injector missed: it runs, and everybody gets in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

NAMESPACES_MAX = 100  # whose pods are counted apart; a series each, in every Prometheus, for ever
OTHERS = "(others)"  # no name space can be called so
NAMED_MAX = 5  # pods that a log line names


class Seen(NamedTuple):
    """A pod that carries the label and is not over."""

    namespace: str
    name: str
    containers: Collection[str]  # names of those that run as long as it does


class Count(NamedTuple):
    """Pods of one namespace."""

    labelled: int
    missing: int


class Census(NamedTuple):
    """What one look found."""

    counts: Mapping[str, Count]  # namespace -> its pods; OTHERS: those beyond NAMESPACES_MAX
    missing: int
    examples: tuple[str, ...]  # `namespace/name` of a few pods without a sidecar


def count(pods: Iterable[Seen], required: Collection[str]) -> Census:
    """Count pods by namespace.

    Args:
        pods: each once; read one by one, never held.
        required: names of the containers that a pod with its sidecar has.
    """
    labelled: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    examples: list[str] = []
    wanted = frozenset(required)
    for pod in pods:
        labelled[pod.namespace] += 1
        if not wanted <= set(pod.containers):
            missing[pod.namespace] += 1
            if len(examples) < NAMED_MAX:
                examples.append(f"{pod.namespace}/{pod.name}")
    return Census(_bounded(labelled, missing), missing.total(), tuple(examples))


def _bounded(labelled: Counter[str], missing: Counter[str]) -> dict[str, Count]:
    """Return a row for each namespace, those with missing sidecars first in the number that is kept."""
    order = sorted(labelled, key=lambda name: (-missing[name], name))
    kept, rest = order[:NAMESPACES_MAX], order[NAMESPACES_MAX:]
    counts = {name: Count(labelled[name], missing[name]) for name in kept}
    if rest:
        counts[OTHERS] = Count(sum(labelled[name] for name in rest), sum(missing[name] for name in rest))
    return counts
