"""Steps 3 to 7 of a decision, for the candidates of one request: a Grant or a Deny.

    no candidate                       -> no_matching_policy
    a bad credential, unless `anyone`  -> credential_invalid | credential_ambiguous
    a deny rule holds, or fails        -> denied_by_rule | rule_error
    no allow rule holds                -> credential_missing | not_permitted
    what the allowing rules ask for    -> a Grant, or rule_error

Source: section 3 of the contract. Nothing here reads a clock or spends a token.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b

from authz.model.decision import Deny, Grant, RuleName
from authz.model.identity import Caller, Identity, Standing
from authz.model.limit import Rate, Spend
from authz.model.reason import Detail, Reason
from authz.model.request import Request
from authz.policy.condition import EvaluationFailed, Truth
from authz.policy.memo import Memo
from authz.policy.rule import Candidate, LimitRule, Rule, Whose
from authz.policy.vocabulary import Facts

# Visible ASCII, spaces inside: anything else could end the header or be read differently by an upstream.
_HEADER_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_HEADER_VALUE_MAX = 4096

# Longer parts of a bucket's name are hashed: a path of 8 KiB in each of 100,000 names would take 800 MB.
_NAME_PART_MAX = 128

_PROVEN = Standing.PROVEN
_CUSTOMER, _ANYBODY = Whose.CUSTOMER, Whose.ANYBODY  # looked up once: a member of an enum costs 40 ns
_BAD_CREDENTIAL = {
    Standing.INVALID: Reason.CREDENTIAL_INVALID,
    Standing.AMBIGUOUS: Reason.CREDENTIAL_AMBIGUOUS,
}


class Memos:
    """What one snapshot has worked out already; see `memo.py`."""

    __slots__ = ("grants", "truths")

    def __init__(self) -> None:
        self.truths: Memo[tuple[Rule, Identity], Truth] = Memo()
        self.grants: Memo[tuple[Identity, tuple[Rule, ...]], Grant | Deny] = Memo()


def evaluate(
    candidates: Sequence[Candidate], request: Request, caller: Caller, memos: Memos | None = None
) -> Grant | Deny:
    """Decide everything but limits.

    Args:
        memos: of the snapshot that the candidates come from; without them everything is evaluated.
    """
    if not candidates:
        return Deny(Reason.NO_MATCHING_POLICY)
    memos = memos or Memos()
    identity = caller.identity
    # Asked first: the hash of an enum's member costs 0.25 us.
    bad = None if caller.standing is _PROVEN else _BAD_CREDENTIAL.get(caller.standing)
    granted, failed = _allowing(candidates, request, identity, memos, anyone_only=bad is not None)
    if bad is not None and not granted:
        return Deny(bad, caller.detail)
    refusal = denying(candidates, request, identity, memos)
    if refusal is not None:
        return refusal
    if not granted:
        return _not_allowed(candidates, caller, failed=failed is not None)
    return _grant(granted, request, identity, memos)


def alone(candidates: Sequence[Candidate], request: Request, caller: Caller, memos: Memos) -> Grant | Deny:
    """Return what some rules say by themselves, whatever others have decided: for policies in shadow.

    Returns:
        A Grant; a refusal by a deny rule, or by what an allowing rule asks for; or `not_permitted`, with the
        allow rule whose condition failed, if one did.
    """
    identity = caller.identity
    refusal = denying(candidates, request, identity, memos)
    if refusal is not None:
        return refusal
    bad = caller.standing in _BAD_CREDENTIAL
    granted, failed = _allowing(candidates, request, identity, memos, anyone_only=bad)
    if granted:
        return _grant(granted, request, identity, memos)
    if failed is not None:
        return Deny(Reason.NOT_PERMITTED, Detail.RULE_ERROR, failed.rule.name)
    return Deny(Reason.NOT_PERMITTED)


def _allowing(
    candidates: Sequence[Candidate], request: Request, identity: Identity, memos: Memos, *, anyone_only: bool
) -> tuple[list[Candidate], Candidate | None]:
    """Return the allow rules that hold, by name, each once; and the first whose condition failed."""
    granted: dict[Rule, Candidate] = {}
    failed: Candidate | None = None
    for candidate in candidates:
        rule = candidate.rule
        if not rule.allow or (anyone_only and not rule.anyone) or rule in granted:
            continue
        if rule.fits(request, identity):
            truth = _holds(candidate, request, identity, memos)
            if truth is Truth.YES:
                granted[rule] = candidate
            elif truth is Truth.FAILED and (failed is None or rule.name < failed.rule.name):
                failed = candidate
    if len(granted) < 2:
        return list(granted.values()), failed
    return sorted(granted.values(), key=_name), failed


def _name(candidate: Candidate) -> RuleName:
    return candidate.rule.name


def denying(
    candidates: Sequence[Candidate], request: Request, identity: Identity, memos: Memos
) -> Deny | None:
    """Return the refusal of the first deny rule, by name, that holds; else of the first that failed.

    Args:
        identity: of the caller as resolved; whoever is not proven is anonymous.
    """
    held: Candidate | None = None
    failed: Candidate | None = None
    for candidate in candidates:
        rule = candidate.rule
        if rule.allow or not rule.fits(request, identity):
            continue
        truth = _holds(candidate, request, identity, memos)
        if truth is Truth.YES and (held is None or rule.name < held.rule.name):
            held = candidate
        elif truth is Truth.FAILED and (failed is None or rule.name < failed.rule.name):
            failed = candidate
    if held is not None:
        return Deny(Reason.DENIED_BY_RULE, rule=held.rule.name)
    return Deny(Reason.RULE_ERROR, Detail.RULE_ERROR, failed.rule.name) if failed is not None else None


def _holds(candidate: Candidate, request: Request, identity: Identity, memos: Memos) -> Truth:
    rule = candidate.rule
    when = rule.when
    if when is None:
        return Truth.YES
    if not rule.when_of_identity:
        return when.holds(Facts(request, identity, candidate.params))
    known = memos.truths.get((rule, identity))
    if known is None:
        known = when.holds(Facts(request, identity, candidate.params))
        memos.truths.keep((rule, identity), known)
    return known


def _not_allowed(candidates: Sequence[Candidate], caller: Caller, *, failed: bool) -> Deny:
    if caller.standing is Standing.MISSING and any(c.rule.allow and c.rule.providers for c in candidates):
        return Deny(Reason.CREDENTIAL_MISSING)
    return Deny(Reason.NOT_PERMITTED, Detail.RULE_ERROR if failed else None)


def _grant(granted: list[Candidate], request: Request, identity: Identity, memos: Memos) -> Grant | Deny:
    """Return what the allowing rules ask for, from the memo where it follows from the identity alone."""
    rules = tuple([candidate.rule for candidate in granted])
    for rule in rules:
        if not rule.grant_of_identity:
            return _new_grant(granted, request, identity)
    key = (identity, rules)
    known = memos.grants.get(key)
    if known is None:
        known = _new_grant(granted, request, identity)
        if isinstance(known, Grant):
            known = known._replace(lasting=True)
        memos.grants.keep(key, known)
    return known


def _new_grant(granted: list[Candidate], request: Request, identity: Identity) -> Grant | Deny:
    """Work out headers and spends before anything is spent; the first fault refuses."""
    headers: dict[str, str] = {}
    spends: dict[str, Spend] = {}
    spenders: list[RuleName] = []
    for rule, params in granted:
        facts = Facts(request, identity, params)
        try:
            for name, expression in rule.headers:
                if name not in headers:
                    headers[name] = expression.text(facts)
        except EvaluationFailed:
            return Deny(Reason.RULE_ERROR, Detail.RULE_ERROR, rule.name)
        for limit in rule.limits:
            if limit.name not in spends:
                spend = spend_of(limit, facts)
                if isinstance(spend, Detail):
                    return Deny(Reason.RULE_ERROR, spend, rule.name)
                spends[limit.name] = spend
                spenders.append(rule.name)
    if not all(map(settable, headers.values())):
        return Deny(Reason.RULE_ERROR, Detail.HEADER_VALUE_INVALID, granted[0].rule.name)
    return Grant(
        tuple(candidate.rule.name for candidate in granted),
        tuple(sorted(item for item in headers.items() if item[1])),
        tuple(spends.values()),
        spenders=tuple(spenders),
    )


def settable(value: str) -> bool:
    """Whether a header may carry a value; the empty one sets none."""
    return not value or (len(value) <= _HEADER_VALUE_MAX and _HEADER_VALUE.fullmatch(value) is not None)


def spend_of(limit: LimitRule, facts: Facts) -> Spend | Detail:
    """Name the bucket of one limit for one check, its rate and the cost; a Detail says why it cannot be."""
    try:
        values = [_bounded(part.text(facts)) for part in limit.per]
    except EvaluationFailed:
        return Detail.RULE_ERROR
    if not all(values):
        return Detail.LIMIT_NAME_EMPTY
    rate = _rate(limit, facts)
    if rate is None:
        return Detail.RULE_ERROR
    cost = limit.fixed_cost
    if limit.cost is not None:
        try:
            cost = limit.cost.number(facts)
        except EvaluationFailed:
            return Detail.LIMIT_COST_INVALID
    bucket = (limit.name, facts.identity.namespace, *values)
    caller = () if limit.whose is _ANYBODY else _caller(limit, facts)
    return Spend(limit.name, bucket, rate, cost, caller, limit.on_store_error)


def _caller(limit: LimitRule, facts: Facts) -> tuple[str, ...]:
    """Name what every bucket of one caller shares: see `Spend.caller`."""
    if limit.whose is _CUSTOMER:
        return ("customer", facts.identity.namespace, facts.identity.customer)
    return ("network", facts.request.client.network)


def _bounded(value: str) -> str:
    """Return a part of a bucket's name, or its hash where a client could make it long."""
    if len(value) <= _NAME_PART_MAX:
        return value
    return blake2b(value.encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()


def _rate(limit: LimitRule, facts: Facts) -> Rate | None:
    """The caller's own rate wins over tiers, the first tier that holds over the limit's; None: one failed."""
    own = facts.identity.limits.get(limit.name)
    if own is not None:
        return own
    for tier in limit.tiers:
        truth = tier.when.holds(facts)
        if truth is Truth.YES:
            return tier.rate
        if truth is Truth.FAILED:
            return None
    return limit.rate
