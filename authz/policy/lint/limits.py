"""Limits that count nothing, never refuse, refuse what nobody meant, or that anybody gets around."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import NamedTuple

from cel.expr import checked_pb2

from authz.model.errors import PolicyError
from authz.policy.condition import Compiler
from authz.policy.hazard import tree_of
from authz.policy.inspection import Expr, children
from authz.policy.kind_limit import LimitSpec
from authz.policy.kind_policy import Rule
from authz.policy.loaded import Document, Loaded
from authz.policy.shape import RateSpec

# What a client writes into a request at will. Not among them: host and path, which have to lead somewhere.
_OF_REQUEST = ("headers", "header_values", "query", "body", "id", "size", "time")
_CHOSEN = frozenset(("client.port", *[f"request.{name}" for name in _OF_REQUEST]))
_IMPLIES = {"identity.key_id": "identity.customer", "client.address": "client.network"}
_BOOL = checked_pb2.Type.PrimitiveType.BOOL


class _Limit(NamedTuple):
    """One limit, and every rule that spends it.

    Args:
        cost: in tokens, where it is written as a number.
        chosen: positions in `per` of what a client writes at will.
    """

    document: Document[LimitSpec]
    rules: tuple[Rule, ...]
    cost: float | None
    chosen: tuple[int, ...]


def about_limits(loaded: Loaded, compiler: Compiler) -> Iterator[PolicyError]:
    """Yield a warning for each limit that is not what it seems."""
    rules: dict[str, list[Rule]] = {}
    for policy in loaded.policies.tied(lambda ties: bool(ties.limits)):
        for rule in policy.spec.rules:
            for name in rule.limits or ():
                rules.setdefault(name, []).append(rule)
    limits = {
        document.name: _Limit(
            document,
            tuple(rules.get(document.name, ())),
            _number(document.spec.cost),
            tuple(_chosen(document.spec, compiler)),
        )
        for document in loaded.limits
    }
    for limit in limits.values():
        yield from _costs(limit)
        yield from _short(limit)
        yield from _dodged(limit, limits)
        yield from _outvoted(limit, limits)
    yield from _unreached(loaded, limits)
    yield from _hopeless(loaded, limits)


def _number(source: str) -> float | None:
    try:
        return float(source)
    except ValueError:
        return None


def _costs(limit: _Limit) -> Iterator[PolicyError]:
    document = limit.document
    if limit.cost == 0.0:
        what = "a cost of 0 takes nothing, so this limit refuses nobody: raise it, or remove the limit"
        yield document.fault(what, "spec", "cost", code="limit-never-refuses")
    if document.spec.cost.strip() == "request.size":
        what = (
            "`request.size` is -1 where it is not known, and a cost below 0 refuses the request: write"
            " `request.size > 0 ? request.size : 1`"
        )
        yield document.fault(what, "spec", "cost", code="expression-can-fail")


def _short(limit: _Limit) -> Iterator[PolicyError]:
    """A bucket smaller than a second's worth; the default never is."""
    document, spec = limit.document, limit.document.spec
    rates: list[tuple[tuple[str | int, ...], RateSpec]] = [(("spec",), spec)]
    rates += [(("spec", "tiers", number), tier) for number, tier in enumerate(spec.tiers or ())]
    for at, part in rates:
        rate = part.to_rate()
        if rate.burst_tokens < rate.rate_per_s:
            what = (
                f"a burst of {part.burst} is the whole bucket, not what comes on top of the rate, and"
                f" `{part.rate}` is more than that in a second: raise it, or leave it out"
            )
            yield document.fault(what, *at, "burst", code="burst-below-rate")


def _dodged(limit: _Limit, limits: Mapping[str, _Limit]) -> Iterator[PolicyError]:
    """A new bucket for everybody who changes a header; harmless where another limit counts them, too."""
    for rule in limit.rules if limit.chosen else ():
        others = [limits[name] for name in rule.limits or () if name in limits]
        if not any(not one.chosen and one.document.spec.mode == "enforce" for one in others):
            what = (
                "the client chooses this, and whoever sends another value has a fresh bucket: add a limit per"
                f" `identity.key_id` or `client.network` to the rule `{rule.name}`, beside this one"
            )
            yield limit.document.fault(what, "spec", "per", limit.chosen[0], code="bucket-of-choice")
            return


def _outvoted(limit: _Limit, limits: Mapping[str, _Limit]) -> Iterator[PolicyError]:
    """Together or not at all: one limit that refuses without its store refuses for all of them."""
    if limit.document.spec.on_store_error != "allow" or not limit.rules:
        return
    deny = {name for name, one in limits.items() if one.document.spec.on_store_error == "deny"}
    found = [sorted(deny.intersection(rule.limits or ())) for rule in limit.rules]
    if all(found):
        what = (
            f"without a store this never allows anything: wherever it is spent `{found[0][0]}` is spent too,"
            " which denies then; write one of both otherwise"
        )
        yield limit.document.fault(what, "spec", "onStoreError", code="store-error-outvoted")


def _unreached(loaded: Loaded, limits: Mapping[str, _Limit]) -> Iterator[PolicyError]:
    """A limit beside which another one always is as full, or fuller."""
    ties = chain(loaded.keys.group.ties, loaded.customers.group.ties)
    overridden = frozenset(chain.from_iterable(one.limits for one in ties))
    plain = {
        name: limit
        for name, limit in limits.items()
        if name not in overridden and not limit.document.spec.tiers and limit.document.spec.mode == "enforce"
    }
    for child in plain.values():
        for name in (child.rules[0].limits or ()) if child.rules else ():
            parent = plain.get(name, child)
            if parent is not child and _holds_back(parent, child):
                what = (
                    f"`{parent.document.name}` refuses before this limit can, in every rule that spends it:"
                    " give this one a lower rate or burst, or remove it"
                )
                yield child.document.fault(what, "metadata", "name", code="limit-never-refuses")
                break


def _holds_back(parent: _Limit, child: _Limit) -> bool:
    """Whether whatever one limit counts another one counts too, in buckets that are no larger.

    Of two that are alike only the later by name is told.
    """
    ours, theirs = child.document.spec, parent.document.spec
    rate, other = ours.to_rate(), theirs.to_rate()
    smaller = (other.rate_per_s, other.burst_tokens) != (rate.rate_per_s, rate.burst_tokens)
    per, wider = (_implied({text.strip() for text in spec.per}) for spec in (ours, theirs))
    return (
        other.rate_per_s <= rate.rate_per_s
        and other.burst_tokens <= rate.burst_tokens
        and wider <= per
        and ours.cost.strip() == theirs.cost.strip()
        and (smaller or wider < per or parent.document.name < child.document.name)
        and all(parent.document.name in (rule.limits or ()) for rule in child.rules)
    )


def _implied(per: set[str]) -> set[str]:
    """Return what names a bucket, and what follows from it: a key has one customer."""
    return per | {_IMPLIES[text] for text in per if text in _IMPLIES}


def _hopeless(loaded: Loaded, limits: Mapping[str, _Limit]) -> Iterator[PolicyError]:
    """Tiers and overrides whose bucket never holds what one request costs; of a limit, compiling tells."""
    costly = {name: limit.cost for name, limit in limits.items() if limit.cost is not None and limit.cost > 1}
    for name, cost in costly.items():
        document = limits[name].document
        for number, tier in enumerate(document.spec.tiers or ()):
            if tier.to_rate().burst_tokens < cost:
                yield document.fault(_EXCEEDS, "spec", "tiers", number, code="cost-exceeds-burst")
    for documents in (loaded.keys, loaded.customers):
        for holder in documents.tied(lambda ties: not ties.limits.isdisjoint(costly)):
            for name, own in (holder.spec.limits or {}).items():
                if own.to_rate().burst_tokens < costly.get(name, 0.0):
                    yield holder.fault(_EXCEEDS, "spec", "limits", name, code="cost-exceeds-burst")


_EXCEEDS = (
    "one request costs more than this bucket holds, so nothing passes: write `burst`; left out, it is the"
    " number of this rate"
)


def _chosen(spec: LimitSpec, compiler: Compiler) -> Iterator[int]:
    for number, source in enumerate(spec.per):
        compiled = compiler.text(source)
        if compiled.inspection.names.isdisjoint(_CHOSEN):
            continue
        checked = tree_of(compiled)
        if checked is None or _follows(checked.expr, checked):
            yield number


def _follows(node: Expr, checked: checked_pb2.CheckedExpr) -> bool:
    """Whether as many values may come out as a client may write. A choice between two has two."""
    if checked.type_map[node.id].primitive == _BOOL:
        return False
    if node.HasField("ident_expr"):
        return node.ident_expr.name in _CHOSEN
    call = node.call_expr
    parts = list(call.args)[1:] if call.function == "_?_:_" else children(node)
    return any(_follows(part, checked) for part in parts)
