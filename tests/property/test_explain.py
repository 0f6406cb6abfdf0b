"""Laws of explanations: the outcome is that of a served check, and follows from the steps that are shown."""

from __future__ import annotations

import json

import msgspec
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.model.decision import Allow
from authz.rehearsal.explaining.explain import explain
from authz.rehearsal.explaining.explanation import Explanation, ReadingPart, RulePart
from authz.rehearsal.scene import NOBODY_CAST, Cast
from authz.snapshot.build import Built
from tests.property.test_shadow import COMMON, KEY, LIMITS, OTHER_KEY, policies, requests
from tests.support.checks import check_request
from tests.support.decisions import NOW_US, Judge
from tests.support.policies import MadeKey, load

patient = settings(max_examples=120, deadline=None)  # a busy machine is no fault of ours

ENDED = MadeKey("ended", extra="  expiresAt: 2026-01-01T00:00:00Z\n")
# Every way in which a rule can speak about a request, fit it, hold and fail; costs, headers, both readings.
WILD = """
kind: Policy
metadata: {name: wild}
spec:
  hosts: [items.example.com, kept.example.com, "{tenant}.wild.example.com", "*.wild.example.com"]
  rules:
    - name: captured
      effect: allow
      paths: ["/t/{id}", "/t/*", "/{id}/x"]
      identity: [anyone]
      when: 'params.id == "x"'
    - name: tenant
      effect: allow
      paths: [/own]
      identity: [partner-keys]
      limits: [tiered]
      when: "params.tenant == identity.customer"
    - {name: peers, effect: allow, paths: ["/p/**"], identity: [anonymous], peers: ["spiffe://a/b/*"]}
    - {name: office, effect: allow, paths: ["/p/**", "/a/**"], identity: [anyone], addresses: [10.0.0.0/8]}
    - {name: live, effect: allow, paths: [/live], identity: [anyone], upgrade: [websocket]}
    - {name: rpc, effect: allow, grpc: [{service: a.B, methods: [Get]}, {service: a.C}], identity: [anyone]}
    - {name: costly, effect: allow, paths: [/cost], identity: [partner-keys, anyone], limits: [costs]}
    - name: fails
      effect: allow
      methods: [GET, POST]
      identity: [anyone]
      when: 'request.headers["gone"] == ""'
    - {name: locked, effect: deny, paths: ["/a/**", "/x"], when: '"lock" in request.query'}
    - {name: broken, effect: deny, methods: [PUT], when: 'request.headers["gone"] == ""'}
    - {name: nobody, effect: deny, paths: ["/p/secret"], identity: [anonymous]}
  onAllow: {headers: {x-who: 'request.headers[?"x-who"].orValue("")', x-must: 'request.headers["x-must"]'}}
---
kind: Limit
metadata: {name: costs}
spec:
  per: ['request.query[?"b"].orValue(["b"])[0]']
  rate: 5/min
  cost: 'request.headers[?"x-cost"].orValue("1") == "9" ? 9 : int(request.headers[?"x-cost"].orValue("1"))'
---
kind: Limit
metadata: {name: tiered}
spec:
  per: [identity.key_id]
  rate: 1/d
  tiers: [{when: '"items:write" in identity.scopes', rate: 50/s, burst: 60}]
---
kind: Site
metadata: {name: kept}
spec: {hosts: [kept.example.com], path: {matrixParameters: keep, encodedSlash: keep}, reasons: full}
"""
SET = load(*COMMON, ENDED.document, WILD)

_name = st.sampled_from(
    ["", "x-cost", "x-who", "x-must", "gone", "content-type", "upgrade", "x-api-key", "cookie"]
)
_value = st.sampled_from(
    [
        "",
        "1",
        "9",
        "-1",
        "x",
        "é",
        "websocket",
        "application/grpc",
        KEY.token,
        ENDED.token,
        f"session={KEY.token}",
    ]
)
# fmt: off
PATHS = [
    "/t/x", "/t/y", "/x/x", "/own", "/p/a", "/p/secret", "/a/b", "/a/b?lock", "/live", "/a.B/Get", "/a.C/X",
    "/cost", "/cost?b=", "/cost?b=c&d", "/", "/x", "/p/a;b=c", "/a%2Fb", "/p/x%2F..", "/t/x;y", "//",
    "/a/./b",
]
# fmt: on
wild = st.builds(
    check_request,
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "put"]),
    host=st.sampled_from(
        ["items.example.com", "kept.example.com", "acme.wild.example.com", "a.b.wild.example.com", "x.org"]
    ),
    path=st.sampled_from(PATHS),
    headers=st.lists(st.tuples(_name, _value).filter(lambda pair: pair[0]), max_size=3).map(
        lambda sent: [*sent, ("x-must", "here")]
    ),
    peer=st.sampled_from(["", "10.1.2.3", "192.0.2.1"]),
    principal=st.sampled_from(["", "spiffe://a/b/c", "spiffe://a/b"]),
)
casts = st.sampled_from([NOBODY_CAST, NOBODY_CAST, Cast(key="k"), Cast(key="o"), Cast(key="ended")])


def explained(built: Built, payload: bytes, cast: Cast = NOBODY_CAST) -> Explanation:
    return explain(built, CheckRequest.FromString(payload), cast, NOW_US)


@patient
@given(policies(), requests)
def test_the_outcome_is_that_of_a_served_check_and_follows_from_the_steps(policy: str, asked: bytes) -> None:
    built = load(*COMMON, LIMITS.replace("MODE", "enforce"), policy.replace("MODE", "enforce"))
    same_as_served(built, asked)


@patient
@given(wild)
def test_of_a_set_with_everything_in_it_too(asked: bytes) -> None:
    same_as_served(SET, asked)


def same_as_served(built: Built, asked: bytes) -> None:
    served = Judge(built.snapshot).answer(asked)
    told = explained(built, asked)
    assert (told.answer.outcome == "allow") == served.allowed
    assert (told.answer.status, told.answer.reason) == (served.status, served.reason)
    assert "/".join(filter(None, (told.answer.policy, told.answer.rule))) == served.rule
    if served.allowed:
        assert told.upstream is not None
        sets = told.upstream.sets
        assert list(sets) == sorted(served.headers)
        assert all(sets[name] == value or "***" in sets[name] for name, value in served.headers.items())
        assert list(told.upstream.removes) == served.removed
        assert sorted(told.answer.allowed_by) == sorted(_allowing(told.readings[-1]))
    assert concluded(told) == served.reason, told
    assert all(rule.host and rule.place for one in told.readings for rule in one.candidates)
    decision = served.check.decision
    spends = decision.grant.spends if isinstance(decision, Allow) else ()
    if spends:
        buckets = [(one.limit, one.cost, one.bucket[1:]) for one in spends]
        assert [(limit.name, limit.cost, limit.bucket) for limit in told.limits] == buckets


@patient
@given(wild, casts)
def test_the_outcome_of_a_played_caller_follows_from_the_steps(asked: bytes, cast: Cast) -> None:
    told = explained(SET, asked, cast)
    assert concluded(told) == told.answer.reason, told


@patient
@given(wild, casts)
def test_no_credential_is_in_any_explanation(asked: bytes, cast: Cast) -> None:
    text = msgspec.json.encode(explained(SET, asked, cast)).decode()
    for made in (KEY, OTHER_KEY, ENDED):
        assert made.token not in text
        assert made.token.split("_")[-1][:20] not in text
    assert json.loads(text)["v"] == 1


def concluded(told: Explanation) -> str:
    """Decide from what is shown alone, as section 3 of the contract says."""
    if told.request is not None and told.request.fault:
        return "bad_request"
    for reading in told.readings:
        reason = _of(reading)
        if not reason and (told.headers_failed or any(limit.failure for limit in told.limits)):
            # Only the last reading's are shown, and both readings have the same headers and limits here.
            reason = "rule_error"
        assert reading.ends == (reason or "granted")
        if reason:
            return reason
    return "rate_limited" if any(limit.passes is False for limit in told.limits) else "allowed"


def _of(reading: ReadingPart) -> str:
    who = reading.identity
    assert who is not None
    if not reading.candidates:
        return "no_matching_policy"
    allows = [rule for rule in reading.candidates if rule.effect == "allow"]
    held = [rule for rule in allows if rule.says == "holds"]
    if who.standing in ("invalid", "ambiguous") and not held:
        return f"credential_{who.standing}"
    denies = [rule for rule in reading.candidates if rule.effect == "deny"]
    for says, reason in (("holds", "denied_by_rule"), ("condition_failed", "rule_error")):
        if any(rule.says == says for rule in denies):
            return reason
    assert all(_fits(rule) for rule in held)
    if held:
        return ""
    return "credential_missing" if who.standing == "missing" else "not_permitted"


def _fits(rule: RulePart) -> bool:
    return all(fit.fits for fit in rule.fits) and (rule.when is None or rule.when.value == "true")


def _allowing(reading: ReadingPart) -> set[str]:
    return {
        f"{rule.policy}/{rule.rule}"
        for rule in reading.candidates
        if rule.effect == "allow" and rule.says == "holds"
    }


def test_the_laws_above_meet_every_reason_that_rules_give() -> None:
    """They would also hold of requests that are all refused alike."""
    asked = [
        check_request(host="items.example.com", path="/t/x", headers=[("x-must", "a")]),
        check_request(host="items.example.com", path="/t/x"),
        check_request(host="items.example.com", path="/cost", headers=[("x-must", "a"), ("x-cost", "9")]),
        check_request(host="items.example.com", path="/cost?b=", headers=[("x-must", "a")]),
        check_request(host="items.example.com", path="/own", headers=[("gone", "1")]),
        check_request(host="items.example.com", path="/t/y", method="PUT"),
        check_request(host="items.example.com", path="/a/b?lock"),
        check_request(host="items.example.com", path="/own", headers=[("x-api-key", "no")]),
        check_request(host="items.example.com", path="/own", headers=[("x-api-key", "no,no")]),
        check_request(host="x.org", path="/"),
        check_request(host="items.example.com", path="/live"),
        check_request(host="items.example.com", path="//"),
    ]
    told = [explained(SET, payload) for payload in asked]
    assert [one.answer.reason for one in told] == [
        "allowed",
        "rule_error",
        "rate_limited",
        "rule_error",
        "credential_missing",
        "rule_error",
        "denied_by_rule",
        "credential_invalid",
        "credential_ambiguous",
        "no_matching_policy",
        "not_permitted",
        "bad_request",
    ]
    for one, payload in zip(told, asked, strict=True):
        assert one.why
        same_as_served(SET, payload)
