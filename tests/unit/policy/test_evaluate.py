"""Steps 3 to 7 of a decision, for rules that are made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.model.decision import Deny, Grant, RuleName
from authz.model.identity import ANONYMOUS, NOBODY, Caller, Identity, IdentityKind, Standing
from authz.model.limit import OnStoreError, Rate
from authz.model.reason import Detail, Reason
from authz.model.request import NOWHERE
from authz.policy.evaluate import Memos, evaluate
from authz.policy.rule import Candidate, LimitRule, Network, PeerPattern, Rule, Tier, Whose
from tests.support.facts import COMPILER, condition, rule
from tests.support.requests import client, request

KEYS = frozenset({"keys"})
ACME = Identity(IdentityKind.API_KEY, "keys", "k1", "k1", "acme", "example", ("read",), {"tier": "gold"})
PROVEN = Caller(ACME, Standing.PROVEN)
INVALID = Caller(ANONYMOUS, Standing.INVALID, Detail.KEY_UNKNOWN)
AMBIGUOUS = Caller(ANONYMOUS, Standing.AMBIGUOUS)
FAILS = condition('request.headers["gone"] == ""')
YES, NO = condition("true"), condition("false")
REQUEST = request()


def judge(*rules: Rule, caller: Caller = NOBODY, **parts: Any) -> Grant | Deny:
    """Evaluate rules as candidates without captures."""
    return evaluate([Candidate(one, {}) for one in rules], request(**parts), caller)


def deny(name: str = "d", **fields: Any) -> Rule:
    return rule(name, allow=False, **fields)


def rules_of(found: Grant | Deny) -> list[str]:
    assert isinstance(found, Grant), found
    return [one.rule for one in found.rules]


def limit(name: str = "l", per: Sequence[str] = ("identity.key_id",), **fields: Any) -> LimitRule:
    made = LimitRule(name, tuple(map(COMPILER.text, per)), Rate(1.0, 2.0))
    return replace(made, **fields)


# --- steps 3 to 6


def test_no_candidate_is_no_matching_policy() -> None:
    assert judge() == Deny(Reason.NO_MATCHING_POLICY)


@pytest.mark.parametrize(
    ("caller", "refusal"),
    [
        (INVALID, Deny(Reason.CREDENTIAL_INVALID, Detail.KEY_UNKNOWN)),
        (AMBIGUOUS, Deny(Reason.CREDENTIAL_AMBIGUOUS)),
    ],
)
def test_a_bad_credential_answers_before_everything_else(caller: Caller, refusal: Deny) -> None:
    others = (rule(providers=KEYS), rule("a", anonymous=True), deny(when=YES), deny(when=FAILS))
    assert judge(*others, caller=caller) == refusal
    assert judge(*others, rule("b", when=NO), caller=caller) == refusal
    assert judge(*others, rule("b", when=FAILS), caller=caller) == refusal


def test_a_bad_credential_passes_by_a_rule_for_anyone_that_holds() -> None:
    found = judge(rule("a", providers=KEYS), rule("b"), caller=INVALID)
    assert rules_of(found) == ["b"]


def test_a_bad_credential_meets_deny_rules_as_nobody() -> None:
    anyone = rule("b")
    assert judge(anyone, deny(anonymous=True), caller=INVALID) == Deny(
        Reason.DENIED_BY_RULE, rule=RuleName("p", "d")
    )
    assert rules_of(judge(anyone, deny(providers=KEYS), caller=INVALID)) == ["b"]


def test_deny_rules_only_are_not_permitted() -> None:
    assert judge(deny(when=NO)) == Deny(Reason.NOT_PERMITTED)


def test_of_several_deny_rules_the_first_by_name_is_named() -> None:
    held = judge(rule(), deny("z"), deny("c"), deny("a", when=FAILS), deny("b", when=NO))
    assert held == Deny(Reason.DENIED_BY_RULE, rule=RuleName("p", "c"))
    failed = judge(rule(), deny("z", when=FAILS), deny("c", when=FAILS), deny("a", when=NO))
    assert failed == Deny(Reason.RULE_ERROR, Detail.RULE_ERROR, RuleName("p", "c"))


def test_a_deny_rule_that_does_not_fit_is_not_evaluated() -> None:
    assert rules_of(judge(rule(), deny(providers=KEYS, when=FAILS))) == ["r"]


def test_missing_is_told_only_where_a_credential_could_help() -> None:
    assert judge(rule(providers=KEYS)) == Deny(Reason.CREDENTIAL_MISSING)
    assert judge(rule(providers=KEYS, when=FAILS)) == Deny(Reason.CREDENTIAL_MISSING)
    assert judge(rule(providers=KEYS), caller=PROVEN) != Deny(Reason.CREDENTIAL_MISSING)
    assert judge(deny(providers=KEYS)) == Deny(Reason.NOT_PERMITTED)
    assert judge(rule(anonymous=True, when=NO)) == Deny(Reason.NOT_PERMITTED)


def test_a_failing_condition_does_not_allow_and_is_told_as_the_detail() -> None:
    assert judge(rule(when=FAILS)) == Deny(Reason.NOT_PERMITTED, Detail.RULE_ERROR)
    assert rules_of(judge(rule("a", when=FAILS), rule("b"))) == ["b"]
    assert judge(rule(providers=KEYS, when=FAILS), caller=PROVEN) == Deny(
        Reason.NOT_PERMITTED, Detail.RULE_ERROR
    )


def test_one_rule_under_two_patterns_counts_once_and_needs_one_that_holds() -> None:
    made = rule(when=condition('params.id == "7"'))
    found = evaluate([Candidate(made, {"id": "8"}), Candidate(made, {"id": "7"})], REQUEST, NOBODY)
    assert rules_of(found) == ["r"]
    missing = evaluate([Candidate(made, {"id": "8"}), Candidate(made, {})], REQUEST, NOBODY)
    assert missing == Deny(Reason.NOT_PERMITTED, Detail.RULE_ERROR)


@pytest.mark.parametrize(
    ("made", "parts", "fits"),
    [
        (rule(peers=(PeerPattern("spiffe://a/b", wildcard=False),)), {"principal": "spiffe://a/b"}, True),
        (rule(peers=(PeerPattern("spiffe://a/b", wildcard=False),)), {"principal": "spiffe://a/b/c"}, False),
        (rule(peers=(PeerPattern("spiffe://a/b/", wildcard=True),)), {"principal": "spiffe://a/b/c"}, True),
        (rule(peers=(PeerPattern("spiffe://a/b/", wildcard=True),)), {"principal": "spiffe://a/b/"}, False),
        (
            rule(peers=(PeerPattern("spiffe://a/b/", wildcard=True),)),
            {"principal": "spiffe://a/b/c/d"},
            False,
        ),
        (rule(peers=(PeerPattern("spiffe://a/b/", wildcard=True),)), {"principal": "c"}, False),
        (rule(peers=(PeerPattern("spiffe://a/b/", wildcard=True),)), {"principal": ""}, False),
        (rule(networks=(Network(4, 0, 255),)), {"client": client("0.0.0.255")}, True),
        (rule(networks=(Network(4, 0, 255),)), {"client": client("0.0.1.0")}, False),
        (rule(networks=(Network(4, 0, 255),)), {"client": client("::ff")}, False),
        (rule(networks=(Network(4, 0, 2**32 - 1), Network(6, 0, 2**128 - 1))), {"client": NOWHERE}, False),
        (rule(upgrade=frozenset({"a", "b"})), {"upgrade": ("a",)}, True),
        (rule(upgrade=frozenset({"a", "b"})), {"upgrade": ("a", "c")}, False),
        (rule(upgrade=frozenset({"a", "b"})), {}, False),
        (rule(), {"upgrade": ("a",)}, False),
    ],
)
def test_an_allow_rule_fits_or_does_not(made: Rule, parts: dict[str, Any], fits: bool) -> None:
    found = evaluate([Candidate(made, {})], request(**parts), NOBODY)
    assert isinstance(found, Grant) is fits


@pytest.mark.parametrize(
    ("upgrade", "asked", "denied"),
    [((), ("a",), True), (("a",), ("a", "c"), True), (("a",), ("c",), False), (("a",), (), False)],
)
def test_a_deny_rule_needs_one_protocol_of_its_own(
    upgrade: tuple[str, ...], asked: tuple[str, ...], denied: bool
) -> None:
    allowing = rule(upgrade=frozenset(asked))
    found = judge(allowing, deny(upgrade=frozenset(upgrade)), upgrade=asked)
    assert isinstance(found, Deny) is denied


# --- step 7: what the allowing rules ask for


def test_headers_are_those_of_every_allowing_rule_and_empty_ones_are_none() -> None:
    headers = (("x-b", COMPILER.text("identity.customer")), ("x-a", COMPILER.text("identity.labels.tier")))
    other = (("x-c", COMPILER.text('identity.labels[?"gone"].orValue("")')),)
    found = judge(rule("a", headers=headers), rule("b", headers=other), caller=PROVEN)
    assert isinstance(found, Grant)
    assert found.headers == (("x-a", "gold"), ("x-b", "acme"))


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        ("a b", None),
        ("~!", None),
        ("a" * 4096, None),
        ("a" * 4097, Detail.HEADER_VALUE_INVALID),
        ("a\nb", Detail.HEADER_VALUE_INVALID),
        ("a\r", Detail.HEADER_VALUE_INVALID),
        ("a\0", Detail.HEADER_VALUE_INVALID),
        ("a\t", Detail.HEADER_VALUE_INVALID),
        (" a", Detail.HEADER_VALUE_INVALID),
        ("a ", Detail.HEADER_VALUE_INVALID),
        ("a\x7f", Detail.HEADER_VALUE_INVALID),
        ("ä", Detail.HEADER_VALUE_INVALID),
        ("a\n", Detail.HEADER_VALUE_INVALID),
    ],
)
def test_a_header_value_is_visible_ascii_or_an_error(value: str, detail: Detail | None) -> None:
    who = Caller(replace(ACME, subject=value), Standing.PROVEN)
    found = judge(rule(headers=(("x", COMPILER.text("identity.subject")),)), caller=who)
    if detail is None:
        assert isinstance(found, Grant)
        assert found.headers == (("x", value),)
    else:
        assert found == Deny(Reason.RULE_ERROR, detail, RuleName("p", "r"))


def test_a_failing_header_is_an_error_before_anything_is_spent() -> None:
    broken = rule("b", headers=(("x", COMPILER.text("identity.labels.gone")),))
    found = judge(rule("a", limits=(limit(),)), broken, caller=PROVEN)
    assert found == Deny(Reason.RULE_ERROR, Detail.RULE_ERROR, RuleName("p", "b"))


def test_a_limit_of_two_rules_is_spent_once() -> None:
    shared = limit()
    found = judge(rule("a", limits=(shared, limit("m"))), rule("b", limits=(shared,)), caller=PROVEN)
    assert isinstance(found, Grant)
    assert [(one.limit, one.bucket, one.cost) for one in found.spends] == [
        ("l", ("l", "example", "k1"), 1.0),
        ("m", ("m", "example", "k1"), 1.0),
    ]


@pytest.mark.parametrize(
    ("made", "detail"),
    [
        (limit(per=("identity.key_id", "identity.subject")), None),
        (limit(per=("identity.key_id", 'identity.labels[?"gone"].orValue("")')), Detail.LIMIT_NAME_EMPTY),
        (limit(per=("identity.labels.gone",)), Detail.RULE_ERROR),
        (limit(cost=COMPILER.number("request.size")), None),
        (limit(cost=COMPILER.number("request.size - 1")), Detail.LIMIT_COST_INVALID),
        (limit(cost=COMPILER.number("1 / request.size")), Detail.LIMIT_COST_INVALID),
        (limit(tiers=(Tier(condition('identity.labels.gone == "x"'), Rate(9.0, 9.0)),)), Detail.RULE_ERROR),
    ],
)
def test_what_cannot_be_spent_is_an_error(made: LimitRule, detail: Detail | None) -> None:
    found = judge(rule(limits=(made,)), caller=PROVEN, size=0)
    assert (
        isinstance(found, Grant)
        if detail is None
        else found == Deny(Reason.RULE_ERROR, detail, RuleName("p", "r"))
    )


def test_the_rate_is_the_callers_own_then_the_first_tier_that_holds_then_the_limits() -> None:
    tiers = (Tier(NO, Rate(3.0, 3.0)), Tier(YES, Rate(4.0, 4.0)), Tier(YES, Rate(5.0, 5.0)))
    own = Caller(replace(ACME, limits={"l": Rate(6.0, 6.0)}), Standing.PROVEN)

    def rate(made: LimitRule, caller: Caller) -> float:
        found = judge(rule(limits=(made,)), caller=caller)
        assert isinstance(found, Grant)
        return found.spends[0].rate.rate_per_s

    assert rate(limit(), PROVEN) == 1.0
    assert rate(limit(tiers=tiers[:1]), PROVEN) == 1.0
    assert rate(limit(tiers=tiers), PROVEN) == 4.0
    assert rate(limit(tiers=tiers), own) == 6.0
    assert rate(limit("other", tiers=tiers), own) == 4.0


@pytest.mark.parametrize(
    ("whose", "caller"),
    [
        (Whose.CUSTOMER, ("customer", "example", "acme")),
        (Whose.NETWORK, ("network", "203.0.113.7/32")),
        (Whose.ANYBODY, ()),
    ],
)
@pytest.mark.parametrize("per", [("identity.key_id",), ("identity.key_id", "request.host")])
def test_a_spend_says_whose_the_bucket_is(
    whose: Whose, caller: tuple[str, ...], per: tuple[str, ...]
) -> None:
    found = judge(rule(limits=(limit(per=per, whose=whose),)), caller=PROVEN)
    assert isinstance(found, Grant)
    assert found.spends[0].caller == caller


@pytest.mark.parametrize("mode", OnStoreError)
def test_a_spend_says_what_becomes_of_it_without_a_store(mode: OnStoreError) -> None:
    found = judge(rule(limits=(limit(on_store_error=mode),)), caller=PROVEN)
    assert isinstance(found, Grant)
    assert found.spends[0].on_store_error is mode


# --- laws over random rules

_WHENS = st.sampled_from(
    [None, YES, NO, FAILS, condition("identity.anonymous"), condition("!identity.anonymous")]
)
_CALLERS = st.sampled_from([NOBODY, PROVEN, INVALID, AMBIGUOUS])


@st.composite
def _rules(draw: st.DrawFn) -> list[Rule]:
    count = draw(st.integers(0, 6))
    return [
        Rule(
            RuleName("p", f"r{order}"),
            draw(st.booleans()),
            providers=draw(st.sampled_from([frozenset(), KEYS, frozenset({"others"})])),
            anonymous=draw(st.booleans()),
            anyone=draw(st.booleans()),
            when=draw(_WHENS),
        )
        for order in range(count)
    ]


def candidates(rules: Sequence[Rule]) -> list[Candidate]:
    return [Candidate(one, {}) for one in rules]


@settings(max_examples=200, deadline=None)
@given(_rules(), _CALLERS, st.randoms(use_true_random=False))
def test_the_order_of_candidates_never_matters(rules: list[Rule], caller: Caller, dice: object) -> None:
    shuffled = candidates(rules)
    dice.shuffle(shuffled)  # type: ignore[attr-defined] # a random.Random
    assert evaluate(shuffled, REQUEST, caller) == evaluate(candidates(rules), REQUEST, caller)


@settings(max_examples=200, deadline=None)
@given(_rules(), _CALLERS, st.integers(0, 6))
def test_a_further_deny_rule_never_widens(rules: list[Rule], caller: Caller, at: int) -> None:
    fewer = [one for one in rules if one.allow or one.name.rule != f"r{at}"]
    if isinstance(evaluate(candidates(rules), REQUEST, caller), Grant):
        assert isinstance(evaluate(candidates(fewer), REQUEST, caller), Grant)


@settings(max_examples=200, deadline=None)
@given(_rules(), _CALLERS, st.integers(0, 6))
def test_one_allow_rule_less_never_widens(rules: list[Rule], caller: Caller, at: int) -> None:
    fewer = [one for one in rules if not one.allow or one.name.rule != f"r{at}"]
    if isinstance(evaluate(candidates(fewer), REQUEST, caller), Grant):
        assert isinstance(evaluate(candidates(rules), REQUEST, caller), Grant)


@settings(max_examples=200, deadline=None)
@given(_rules(), st.lists(_CALLERS, max_size=6))
def test_what_is_remembered_changes_no_decision(rules: list[Rule], callers: list[Caller]) -> None:
    of_identity = [
        replace(one, when_of_identity=one.when is not None and one.when is not FAILS, grant_of_identity=True)
        for one in rules
    ]
    memos = Memos()
    for caller in callers:
        remembered = evaluate(candidates(of_identity), REQUEST, caller, memos)
        if isinstance(remembered, Grant):
            remembered = remembered._replace(lasting=False)  # what may be kept says so; nothing else differs
        assert remembered == evaluate(candidates(rules), REQUEST, caller)
