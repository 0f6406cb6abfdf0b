"""What came of a case, and how it differs from what its test expects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from authz.check import Check
from authz.model.decision import Allow, RuleName
from authz.model.reason import Detail, Outcome, Reason
from authz.policy.kind_test import TestExpect


class Got(NamedTuple):
    """What came of one request.

    Args:
        rules: those that decided, by name; every allowing one, or the one that refused.
        headers: for the upstream, from onAllow.
        limits: whose tokens would be spent, sorted.
    """

    outcome: Outcome
    status: int
    reason: Reason
    detail: Detail | None = None
    rules: tuple[RuleName, ...] = ()
    headers: Mapping[str, str] = {}
    limits: tuple[str, ...] = ()


class Difference(NamedTuple):
    """One field of `expect` that came out otherwise; texts as people read them."""

    field: str
    expected: str
    got: str

    def __str__(self) -> str:
        return f"{self.field}: expected {self.expected}, got {self.got}"


def got_of(check: Check, status: int) -> Got:
    """Say what came of a check that was answered with a status."""
    decision = check.decision
    if isinstance(decision, Allow):
        grant = decision.grant
        limits = tuple(sorted(spend.limit for spend in grant.spends))
        return Got(Outcome.ALLOW, status, Reason.ALLOWED, None, grant.rules, dict(grant.headers), limits)
    rules = (decision.rule,) if decision.rule is not None else ()
    return Got(Outcome.DENY, status, decision.reason, decision.detail, rules)


def differences(expect: TestExpect, got: Got) -> Iterator[Difference]:
    """Yield every field that was expected otherwise; what `expect` leaves out is not compared.

    Of several allowing rules any may be expected: which of them a record names first follows from names.
    A header expected to be the empty text is expected not to be set.
    """
    if expect.outcome != got.outcome.value:
        yield Difference("outcome", expect.outcome, got.outcome.value)
    if expect.status is not None and expect.status != got.status:
        yield Difference("status", str(expect.status), str(got.status))
    if expect.reason is not None and expect.reason is not got.reason:
        yield Difference("reason", expect.reason.value, got.reason.value)
    if expect.detail is not None and expect.detail is not got.detail:
        yield Difference("detail", expect.detail.value, got.detail.value if got.detail else "none")
    yield from _rule(expect, got)
    for name, value in (expect.headers or {}).items():
        found = got.headers.get(name.lower(), "")
        if value != found:
            yield Difference(f"headers.{name}", _header(value), _header(found))
    if expect.limits is not None and tuple(sorted(expect.limits)) != got.limits:
        yield Difference("limits", _names(sorted(expect.limits)), _names(got.limits))


def _rule(expect: TestExpect, got: Got) -> Iterator[Difference]:
    policies = [rule.policy for rule in got.rules]
    if expect.policy is not None and expect.policy not in policies:
        yield Difference("policy", expect.policy, _names(dict.fromkeys(policies)))
    elif expect.rule is not None:
        rules = [rule.rule for rule in got.rules if expect.policy in (None, rule.policy)]
        if expect.rule not in rules:
            yield Difference("rule", expect.rule, _names(dict.fromkeys(rules)))


def _names(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _header(value: str) -> str:
    return f"`{value}`" if value else "no such header"
