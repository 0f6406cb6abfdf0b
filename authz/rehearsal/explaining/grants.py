"""What an allowed request costs and what becomes of it: buckets, and what the application sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from authz.model.identity import Identity
from authz.model.limit import Rate, Spend
from authz.model.reason import Detail
from authz.model.request import Request
from authz.policy.condition import EvaluationFailed, Expression, Truth
from authz.policy.evaluate import settable, spend_of
from authz.policy.rule import Candidate, LimitRule
from authz.policy.vocabulary import Facts
from authz.rehearsal.explaining.explanation import LimitPart, UpstreamPart
from authz.rehearsal.explaining.veil import COVER

_WINDOWS = {1: "s", 60: "min", 3600: "h", 86400: "d"}


def limits_of(granted: Sequence[Candidate], request: Request, identity: Identity) -> tuple[LimitPart, ...]:
    """Return the buckets that the allowing rules draw from, each limit once; nothing is drawn."""
    found: dict[str, LimitPart] = {}
    for rule, params in granted:
        facts = Facts(request, identity, params)
        for limit in rule.limits:
            if limit.name not in found:
                rules = tuple(
                    sorted(
                        {
                            f"{one.rule.name.policy}/{one.rule.name.rule}"
                            for one in granted
                            if limit in one.rule.limits
                        }
                    )
                )
                found[limit.name] = _limit(limit, rules, facts)
    return tuple(found.values())


def _limit(limit: LimitRule, rules: tuple[str, ...], facts: Facts) -> LimitPart:
    spend = spend_of(limit, facts)
    if isinstance(spend, Detail):
        return LimitPart(limit.name, rules, failure=_failure(limit, spend, facts))
    return LimitPart(
        name=limit.name,
        rules=rules,
        bucket=spend.bucket[1:],
        rate=written_rate(spend.rate),
        burst=spend.rate.burst_tokens,
        cost=spend.cost,
        rate_from=_rate_from(limit, spend, facts),
        passes=spend.cost <= spend.rate.burst_tokens,
    )


def written_rate(rate: Rate) -> str:
    """Return a rate as documents write it."""
    return f"{rate.rate_per_s * rate.window_s:g}/{_WINDOWS.get(rate.window_s, 's')}"


def _rate_from(limit: LimitRule, spend: Spend, facts: Facts) -> str:
    if limit.name in facts.identity.limits:
        return "key or customer"
    for number, tier in enumerate(limit.tiers, 1):
        if tier.when.holds(facts) is Truth.YES:
            return f"tier {number}"
    return "limit"


def _failure(limit: LimitRule, detail: Detail, facts: Facts) -> str:
    """Say which expression of a limit gave nothing usable."""
    for part in limit.per:
        why = failed_text(part, facts)
        if why:
            return f"`per: {part.source}`: {why}"
        if detail is Detail.LIMIT_NAME_EMPTY and not part.text(facts):
            return f"`per: {part.source}` is empty"
    for number, tier in enumerate(limit.tiers, 1):
        if tier.when.holds(facts) is Truth.FAILED:
            return f"tier {number} `{tier.when.source}`: {tier.when.inquire(facts).failure}"
    cost = limit.cost
    return f"`cost: {cost.source}`: {cost.failure(facts)}" if cost is not None else ""


def failed_text(expression: Expression, facts: Facts) -> str:
    """Return why an expression gives no text, or ""."""
    try:
        expression.text(facts)
    except EvaluationFailed:
        return expression.failure(facts)
    return ""


def failed_headers(granted: Sequence[Candidate], request: Request, identity: Identity) -> Iterator[str]:
    """Yield, in words, each header of `onAllow` that refuses the request; of equal names the first counts."""
    seen: set[str] = set()
    for rule, params in granted:
        facts = Facts(request, identity, params)
        for name, expression in rule.headers:
            if name not in seen:
                why = failed_text(expression, facts) or _unsettable(expression, facts)
                if why:
                    yield f"policy {rule.name.policy}, header `{name}: {expression.source}`: {why}"
            seen.add(name)


def _unsettable(expression: Expression, facts: Facts) -> str:
    fits = settable(expression.text(facts))
    return "" if fits else "its value is too long, or not visible ASCII"


def upstream_of(response: Any) -> UpstreamPart:
    """Return what an allowing CheckResponse does to the request."""
    answer = response.ok_response
    headers: Mapping[str, str] = {option.header.key: option.header.value for option in answer.headers}
    return UpstreamPart(
        sets={name: COVER if name == "cookie" else value for name, value in sorted(headers.items())},
        removes=tuple(answer.headers_to_remove),
        removes_query=tuple(answer.query_parameters_to_remove),
    )
