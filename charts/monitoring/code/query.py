"""PromQL over the sidecars that the variables of a dashboard choose."""

from __future__ import annotations

from typing import NamedTuple

# A label that a sample does not have matches `.*`, so installations without namespaces are shown too.
CHOSEN = 'namespace=~"$namespace",job=~"$job",instance=~"$sidecar"'
FAILED = "internal_error|not_ready|overloaded|store_unavailable"  # not the client's doing: see rules.yaml

_WINDOW = "[$__rate_interval]"


class Query(NamedTuple):
    """What one panel asks.

    Args:
        legend: what each series is called; labels stand in `{{...}}`.
        exemplars: whether traces of single checks are shown on it.
    """

    expr: str
    legend: str = ""
    exemplars: bool = False


def of(metric: str, *matchers: str) -> str:
    """Return the samples of a metric of the chosen sidecars.

    Args:
        matchers: more of them, such as `outcome="deny"`.
    """
    return f"{metric}{{{','.join((CHOSEN, *matchers))}}}"


def rate(metric: str, *matchers: str) -> str:
    """Return how fast a counter counts, per second."""
    return f"rate({of(metric, *matchers)}{_WINDOW})"


def increase(metric: str, *matchers: str) -> str:
    """Return how much a counter counted over what the dashboard shows."""
    return f"increase({of(metric, *matchers)}[$__range])"


def total(expr: str, by: str = "") -> str:
    """Return the sum, one for each value of the labels `by`."""
    return f"sum by ({by}) ({expr})" if by else f"sum({expr})"


def most(expr: str, by: str = "") -> str:
    """Return the greatest, one for each value of the labels `by`."""
    return f"max by ({by}) ({expr})" if by else f"max({expr})"


def top(count: int, expr: str) -> str:
    """Return the greatest few series."""
    return f"topk({count}, {expr})"


def share(part: str, whole: str) -> str:
    """Return a part of a whole, 0 to 1; 0 where there is none of that part."""
    return f"(({part}) or 0 * ({whole})) / ({whole})"


def quantile(share_of: float, metric: str, by: str = "") -> str:
    """Return the value of a histogram that so large a share stays below."""
    return f"histogram_quantile({share_of:g}, {total(rate(f'{metric}_bucket'), f'le, {by}' if by else 'le')})"
