from __future__ import annotations

import pytest

from authz.model.decision import Allow
from authz.model.limit import Rate
from authz.rehearsal.explaining.grants import written_rate
from tests.support.decisions import Judge
from tests.support.explaining import ask
from tests.support.policies import PROVIDER, MadeKey, load

PLAIN, OWN, GOLD = (
    MadeKey("plain"),
    MadeKey("own", extra="  limits: {tiered: {rate: 7/min}}\n"),
    MadeKey("gold", extra="  labels: {tier: gold}\n"),
)
POLICY = """
kind: Policy
metadata: {name: p}
spec:
  hosts: [items.example.com]
  rules:
    - {name: a, effect: allow, identity: [partner-keys], limits: [tiered]}
    - {name: b, effect: allow, identity: [anyone], limits: [tiered, costs], paths: [/costs, /failed]}
    - {name: c, effect: allow, identity: [anyone], paths: [/costs], limits: [costs]}
  onAllow: {headers: {x-a: 'request.headers[?"a"].orValue("")'}}
---
kind: Limit
metadata: {name: tiered}
spec:
  per: [identity.key_id]
  rate: 1/s
  tiers: [{when: 'identity.labels[?"tier"].orValue("") == "gold"', rate: 5/h, burst: 9}]
---
kind: Limit
metadata: {name: costs}
spec: {per: [request.host, 'request.headers["n"]'], rate: 2/s, burst: 4, cost: 'int(request.headers["n"])'}
"""
BUILT = load(PROVIDER, POLICY, PLAIN.document, OWN.document, GOLD.document)


@pytest.mark.parametrize(
    ("key", "rate", "burst", "source"),
    [
        ("plain", "1/s", 1.0, "limit"),
        ("gold", "5/h", 9.0, "tier 1"),
        ("own", "7/min", 7.0, "key or customer"),
    ],
)
def test_a_rate_says_where_it_comes_from(key: str, rate: str, burst: float, source: str) -> None:
    (told,) = ask(BUILT, key=key).limits
    assert (told.name, told.rate, told.burst, told.rate_from, told.rules) == (
        "tiered",
        rate,
        burst,
        source,
        ("p/a",),
    )
    assert told.bucket == ("example", {"plain": PLAIN, "gold": GOLD, "own": OWN}[key].id)
    assert (told.cost, told.passes) == (1.0, True)


def test_a_limit_of_several_rules_is_drawn_from_once() -> None:
    told = ask(BUILT, "/costs", key="plain", headers={"n": "3"})
    assert [(limit.name, limit.rules, limit.cost) for limit in told.limits] == [
        ("tiered", ("p/a", "p/b"), 1.0),
        ("costs", ("p/b", "p/c"), 3.0),
    ]


@pytest.mark.parametrize("paths", ['["/{a}/x", "/b/{a}"]', '["/b/{a}", "/{a}/x"]'])
def test_of_several_matches_of_a_rule_the_one_that_decided_names_bucket_and_header(paths: str) -> None:
    """Which of them comes first is the index's to say, so it is asked."""
    built = load(
        f"""
kind: Policy
metadata: {{name: p}}
spec:
  hosts: [items.example.com]
  rules: [{{name: r, effect: allow, identity: [anyone], paths: {paths}, limits: [l]}}]
  onAllow: {{headers: {{x-a: params.a}}}}
---
kind: Limit
metadata: {{name: l}}
spec: {{per: [params.a], rate: 1/s}}
"""
    )
    told = ask(built, "/b/x")
    decision = Judge(built.snapshot).ask("/b/x").check.decision
    assert isinstance(decision, Allow)
    assert [limit.bucket for limit in told.limits] == [spend.bucket[1:] for spend in decision.grant.spends]
    assert told.upstream is not None
    assert told.upstream.sets == dict(decision.grant.headers)


def test_what_costs_more_than_a_bucket_holds_never_passes() -> None:
    told = ask(BUILT, "/costs", key="plain", headers={"n": "5"})
    assert (told.answer.reason, told.answer.detail) == ("rate_limited", "cost_exceeds_burst")
    assert [limit.passes for limit in told.limits] == [True, False]
    assert told.why == ("Limit costs: the request costs 5, and the bucket never holds more than 4.",)


@pytest.mark.parametrize(
    ("key", "headers", "failures"),
    [
        ("", {"n": "1"}, {"tiered": "`per: identity.key_id` is empty", "costs": ""}),
        ("plain", {}, {"tiered": "", "costs": '`per: request.headers["n"]`: Key not found in map : "n"'}),
        ("plain", {"n": ""}, {"tiered": "", "costs": '`per: request.headers["n"]` is empty'}),
        (
            "plain",
            {"n": "x"},
            {"tiered": "", "costs": '`cost: int(request.headers["n"])`: cannot convert string to int'},
        ),
        (
            "plain",
            {"n": "-1"},
            {
                "tiered": "",
                "costs": '`cost: int(request.headers["n"])`: its value is of another type than it must be',
            },
        ),
    ],
)
def test_a_limit_that_cannot_be_asked_says_which_expression_failed(
    key: str, headers: dict[str, str], failures: dict[str, str]
) -> None:
    told = ask(BUILT, "/failed", key=key, headers=headers)
    assert told.answer.reason == "rule_error"
    assert {limit.name: limit.failure for limit in told.limits} == failures
    (failed,) = [name for name, failure in failures.items() if failure]
    assert told.why == (f"Limit {failed} cannot be asked: {failures[failed]}.",)


def test_a_header_that_cannot_be_set_says_why() -> None:
    told = ask(BUILT, key="plain", headers={"a": "é"})
    assert (told.answer.reason, told.answer.detail) == ("rule_error", "header_value_invalid")
    (failed,) = told.headers_failed
    assert failed == (
        'policy p, header `x-a: request.headers[?"a"].orValue("")`:'
        " its value is too long, or not visible ASCII"
    )
    assert told.why == (f"A header for the application cannot be set: {failed}.",)


def test_what_the_application_sees_is_told_but_no_cookie() -> None:
    told = ask(
        OPEN, "/open?api_key=abcdefgh&b=c", headers={"cookie": "session=1; other=2", "a": "seen"}
    ).upstream
    assert told is not None
    assert told.sets == {"cookie": "***", "x-a": "seen"}
    assert told.removes == ("x-api-key",)
    assert told.removes_query == ("api_key",)
    assert ask(OPEN, "/closed").upstream is None


OPEN = load(
    PROVIDER,
    """
kind: Policy
metadata: {name: p}
spec:
  hosts: [items.example.com]
  rules:
    - {name: open, effect: allow, identity: [anyone], paths: [/open]}
    - {name: closed, effect: allow, identity: [partner-keys], paths: [/closed]}
  onAllow: {headers: {x-a: 'request.headers[?"a"].orValue("")'}}
""",
)


def test_rates_are_written_as_documents_write_them() -> None:
    assert written_rate(Rate(100.0, 1.0)) == "100/s"
    assert written_rate(Rate(2.0, 1.0, 60)) == "120/min"
    assert written_rate(Rate(1 / 86400, 1.0, 86400)) == "1/d"
