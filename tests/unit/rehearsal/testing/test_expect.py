from __future__ import annotations

import pytest

from authz.check import Call, Check
from authz.model.decision import Allow, Deny, Grant, RuleName
from authz.model.limit import Rate, Spend
from authz.model.reason import Detail, Outcome, Reason
from authz.rehearsal.testing.expect import Got, differences, got_of
from tests.support.rehearsals import expect

RULES = (RuleName("base", "any"), RuleName("items", "read"))
ALLOWED = Got(Outcome.ALLOW, 200, Reason.ALLOWED, None, RULES, {"x-a": "1"}, ("per-customer", "per-key"))
DENIED = Got(Outcome.DENY, 403, Reason.RULE_ERROR, Detail.RULE_ERROR, (RuleName("items", "odd"),))


def told(got: Got, outcome: str = "allow", /, **fields: object) -> list[str]:
    return [str(one) for one in differences(expect(outcome, **fields), got)]


def test_what_is_left_out_is_not_compared() -> None:
    assert told(ALLOWED) == []
    assert told(DENIED, "deny") == []


def test_everything_that_is_as_expected_passes() -> None:
    everything: dict[str, object] = {"status": 403, "reason": Reason.RULE_ERROR, "detail": Detail.RULE_ERROR}
    assert told(DENIED, "deny", policy="items", rule="odd", **everything) == []
    headers: dict[str, object] = {"headers": {"x-a": "1"}, "limits": ("per-key", "per-customer")}
    assert told(ALLOWED, policy="items", rule="read", status=200, reason=Reason.ALLOWED, **headers) == []


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"status": 401}, "status: expected 401, got 403"),
        ({"reason": Reason.NOT_PERMITTED}, "reason: expected not_permitted, got rule_error"),
        ({"detail": Detail.KEY_EXPIRED}, "detail: expected key_expired, got rule_error"),
        ({"policy": "other"}, "policy: expected other, got items"),
        ({"policy": "items", "rule": "even"}, "rule: expected even, got odd"),
        ({"rule": "even"}, "rule: expected even, got odd"),
    ],
)
def test_each_field_of_a_refusal_is_compared(fields: dict[str, object], what: str) -> None:
    assert told(DENIED, "deny", **fields) == [what]


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"headers": {"x-a": "2"}}, "headers.x-a: expected `2`, got `1`"),
        ({"headers": {"x-a": ""}}, "headers.x-a: expected no such header, got `1`"),
        ({"headers": {"x-b": "1"}}, "headers.x-b: expected `1`, got no such header"),
        ({"limits": ("per-key",)}, "limits: expected per-key, got per-customer, per-key"),
        ({"limits": ()}, "limits: expected none, got per-customer, per-key"),
        ({"detail": Detail.KEY_EXPIRED}, "detail: expected key_expired, got none"),
        ({"policy": "other"}, "policy: expected other, got base, items"),
        ({"policy": "items", "rule": "any"}, "rule: expected any, got read"),
    ],
)
def test_each_field_of_an_allow_is_compared(fields: dict[str, object], what: str) -> None:
    assert told(ALLOWED, **fields) == [what]


def test_the_other_outcome_is_a_difference() -> None:
    assert told(ALLOWED, "deny") == ["outcome: expected deny, got allow"]
    assert told(DENIED) == ["outcome: expected allow, got deny"]


def test_of_several_allowing_rules_any_may_be_expected() -> None:
    assert told(ALLOWED, policy="base", rule="any") == []
    assert told(ALLOWED, policy="items", rule="read") == []


def test_a_header_that_is_not_set_may_be_expected_and_names_have_no_case() -> None:
    assert told(ALLOWED, headers={"x-b": "", "X-A": "1"}) == []


def test_a_refusal_says_its_rule_and_an_allow_what_it_would_spend() -> None:
    check = Check(Call(0, b""))
    check.decision = Deny(Reason.DENIED_BY_RULE, rule=RuleName("p", "r"))
    assert got_of(check, 302) == Got(Outcome.DENY, 302, Reason.DENIED_BY_RULE, None, (RuleName("p", "r"),))
    rate = Rate(1.0, 1.0)
    spends = (Spend("z", ("z",), rate, 1.0), Spend("a", ("a",), rate, 1.0))
    check.decision = Allow(Grant(RULES, (("x-a", "1"),), spends))
    assert got_of(check, 200) == Got(
        Outcome.ALLOW, 200, Reason.ALLOWED, None, RULES, {"x-a": "1"}, ("a", "z")
    )
