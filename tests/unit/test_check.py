"""The decision order of the contract, step by step, from Envoy's bytes to the bytes of the answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest

from authz.limits.memory import NoLimiter
from authz.limits.store import S
from authz.model.decision import Deny, RuleName
from authz.model.limit import Spend, Spent, Store
from authz.response import message
from authz.response.refusal import Refuser
from authz.snapshot.snapshot import not_ready
from tests.support.decisions import DECISION_ID, Answer, Judge
from tests.support.policies import PROVIDER, MadeKey, snapshot

READ = """
kind: Policy
metadata: {name: items}
spec:
  hosts: [items.example.com, "{tenant}.items.example.com"]
  rules:
    - name: read
      effect: allow
      methods: [GET]
      paths: [/api/items, "/api/items/{id}"]
      identity: [partner-keys]
      when: '"items:read" in identity.scopes'
    - name: status
      effect: allow
      paths: [/status]
      identity: [anonymous]
    - name: open
      effect: allow
      paths: ["/open/**"]
      identity: [anyone]
    - name: no-legacy
      effect: deny
      when: request.headers[?"user-agent"].orValue("").startsWith("legacy/")
  onAllow: {headers: {x-auth-customer: identity.customer, x-auth-key-id: identity.key_id}}
"""


def test_every_snapshot_knows_what_tokens_begin_with() -> None:
    assert snapshot(PROVIDER, READ).fixed.token_prefix == b"ak_live_"


@pytest.fixture(scope="module")
def key() -> MadeKey:
    return MadeKey("reader")


@pytest.fixture(scope="module")
def judge(key: MadeKey) -> Judge:
    return Judge(snapshot(PROVIDER, READ, key.document))


def policy(name: str, rules: str, *, hosts: str = "[items.example.com]", rest: str = "") -> str:
    return f"kind: Policy\nmetadata: {{name: {name}}}\nspec:\n  hosts: {hosts}\n  rules: {rules}\n{rest}"


# --- the ground state


def test_without_a_policy_set_everything_is_unavailable() -> None:
    answer = Judge(not_ready("nothing loaded")).ask("/")
    assert (answer.allowed, answer.reason, answer.status) == (False, "not_ready", 503)


def test_a_host_that_no_policy_names_is_refused(judge: Judge) -> None:
    answer = judge.ask("/api/items", host="other.example.com")
    assert (answer.reason, answer.status) == ("no_matching_policy", 403)


def test_a_path_of_no_allow_rule_is_not_permitted_where_a_deny_rule_speaks(judge: Judge) -> None:
    assert judge.ask("/elsewhere").reason == "not_permitted"


def test_garbage_is_a_refusal_and_not_an_error(judge: Judge) -> None:
    answer = judge.answer(b"\xff\xff\xff")
    assert (answer.allowed, answer.status, answer.detail) == (False, 400, "undecodable")


def test_nothing_is_a_refusal(judge: Judge) -> None:
    assert not judge.answer(b"").allowed


# --- identity


def test_a_valid_key_with_the_scope_is_allowed(judge: Judge, key: MadeKey) -> None:
    answer = judge.ask("/api/items", key=key.token)
    assert answer.allowed
    assert answer.rule == "items/read"
    assert answer.headers == {"x-auth-customer": "acme", "x-auth-key-id": key.id}
    assert answer.removed == ["x-api-key"]


def test_headers_are_overwritten_explicitly(judge: Judge, key: MadeKey) -> None:
    for option in judge.ask("/api/items", key=key.token).message.ok_response.headers:
        assert option.HasField("append")
        assert not option.append.value


def test_no_key_is_asked_for_one(judge: Judge) -> None:
    answer = judge.ask("/api/items")
    assert (answer.reason, answer.status) == ("credential_missing", 401)
    assert "Bearer" in answer.headers["www-authenticate"]
    assert "x-api-key" in answer.headers["www-authenticate"]


def test_a_bad_key_is_never_treated_as_none(judge: Judge, key: MadeKey) -> None:
    answer = judge.ask("/api/items", key=key.token[:-1] + "!")
    assert (answer.reason, answer.status) == ("credential_invalid", 401)


def test_two_keys_are_ambiguous_even_if_alike(judge: Judge, key: MadeKey) -> None:
    answer = judge.ask("/api/items", key=key.token, headers=[("x-api-key", key.token)])
    assert answer.reason == "credential_ambiguous"


def test_all_401_of_one_route_are_alike_but_for_the_id(judge: Judge, key: MadeKey) -> None:
    asked = [
        judge.ask("/api/items"),
        judge.ask("/api/items", key="ak_live_nonsense"),
        judge.ask("/api/items", key=key.token[:-1] + ("x" if key.token[-1] != "x" else "y")),
        judge.ask("/api/items", key=key.token, headers=[("x-api-key", key.token)]),
    ]
    assert len({answer.payload for answer in asked}) == 1


def test_a_rule_for_anyone_does_not_look_at_the_credential(judge: Judge) -> None:
    answer = judge.ask("/open/door", key="rubbish")
    assert answer.allowed
    assert answer.rule == "items/open"


def test_a_place_that_no_candidate_names_is_not_read_but_still_emptied(judge: Judge, key: MadeKey) -> None:
    answer = judge.ask("/status", key=key.token)
    assert answer.allowed
    assert answer.removed == ["x-api-key"]
    assert answer.headers == {}


def test_a_bad_credential_and_anyone_gives_the_anonymous_attributes(key: MadeKey) -> None:
    rules = """
    - {name: a-keys, effect: allow, identity: [partner-keys]}
    - {name: b-anyone, effect: allow, identity: [anyone]}
    - {name: c-nobody, effect: deny, identity: [anonymous], when: request.url_path == "/secret"}
"""
    judge = Judge(snapshot(PROVIDER, policy("p", rules), key.document))
    assert judge.ask("/x", key="rubbish").rule == "p/b-anyone"
    assert judge.ask("/secret", key="rubbish").reason == "denied_by_rule"
    assert judge.ask("/secret", key=key.token).rule == "p/a-keys"


def test_a_bad_credential_is_401_where_the_rule_for_anyone_does_not_hold(key: MadeKey) -> None:
    rules = """
    - {name: keys, effect: allow, identity: [partner-keys]}
    - {name: anyone, effect: allow, identity: [anyone], when: request.method == "POST"}
"""
    judge = Judge(snapshot(PROVIDER, policy("p", rules), key.document))
    assert judge.ask("/", key="rubbish").reason == "credential_invalid"
    assert judge.ask("/", method="POST", key="rubbish").allowed


def test_a_valid_caller_fits_a_rule_for_anyone_but_not_one_for_anonymous(key: MadeKey) -> None:
    anyone = policy("p", "[{name: r, effect: allow, identity: [partner-keys, anyone], when: 'true'}]")
    assert Judge(snapshot(PROVIDER, anyone, key.document)).ask("/", key=key.token).allowed
    nobody = policy(
        "p",
        "[{name: a, effect: allow, identity: [anonymous]},"
        " {name: k, effect: allow, identity: [partner-keys], when: 'false'}]",
    )
    judge = Judge(snapshot(PROVIDER, nobody, key.document))
    assert judge.ask("/", key=key.token).reason == "not_permitted"
    assert judge.ask("/").allowed


# --- deny over allow, evaluation errors


def test_deny_wins_over_allow(judge: Judge, key: MadeKey) -> None:
    answer = judge.ask("/api/items", key=key.token, headers=[("user-agent", "legacy/1")])
    assert (answer.reason, answer.status, answer.rule) == ("denied_by_rule", 403, "items/no-legacy")


def test_a_bad_credential_answers_before_deny_rules(judge: Judge) -> None:
    answer = judge.ask("/api/items", key="rubbish", headers=[("user-agent", "legacy/1")])
    assert answer.reason == "credential_invalid"


def test_an_error_in_a_deny_rule_denies(key: MadeKey) -> None:
    rules = """
    - {name: a, effect: allow, identity: [anyone]}
    - {name: d, effect: deny, when: 'request.headers["x-gone"] == "1"'}
"""
    answer = Judge(snapshot(policy("p", rules))).ask("/")
    assert (answer.reason, answer.rule) == ("rule_error", "p/d")


def test_a_deny_rule_that_holds_is_named_before_one_that_fails() -> None:
    rules = """
    - {name: a, effect: allow, identity: [anyone]}
    - {name: b-fails, effect: deny, when: 'request.headers["x-gone"] == "1"'}
    - {name: c-holds, effect: deny, when: "true"}
"""
    answer = Judge(snapshot(policy("p", rules))).ask("/")
    assert (answer.reason, answer.rule) == ("denied_by_rule", "p/c-holds")


def test_an_error_in_an_allow_rule_does_not_allow() -> None:
    rules = """[{name: a, effect: allow, identity: [anyone], when: 'request.headers["x-gone"] == "1"'}]"""
    answer = Judge(snapshot(policy("p", rules))).ask("/")
    assert (answer.reason, answer.detail) == ("not_permitted", "rule_error")


def test_a_missing_credential_is_named_before_what_else_does_not_fit(key: MadeKey) -> None:
    rules = """[{name: a, effect: allow, identity: [partner-keys], addresses: [198.51.100.0/24]}]"""
    assert Judge(snapshot(PROVIDER, policy("p", rules))).ask("/").reason == "credential_missing"


def test_a_wrong_scope_is_not_permitted(key: MadeKey) -> None:
    other = MadeKey("other", scopes="items:list")
    judge = Judge(snapshot(PROVIDER, READ, other.document))
    answer = judge.ask("/api/items", key=other.token)
    assert (answer.reason, answer.status) == ("not_permitted", 403)


def test_all_allowing_rules_are_named_by_name() -> None:
    rules = "[{name: z, effect: allow, identity: [anyone]}, {name: b, effect: allow, identity: [anyone]}]"
    judge = Judge(snapshot(policy("q", rules), policy("p", rules)))
    decision = judge.ask("/").check.decision
    names = [f"{rule.policy}/{rule.rule}" for rule in decision.grant.rules]  # type: ignore[union-attr]
    assert names == ["p/b", "p/z", "q/b", "q/z"]


# --- matching


@pytest.mark.parametrize(
    ("host", "fits"),
    [
        ("items.example.com", True),
        ("ITEMS.example.com.", True),
        ("items.example.com:8443", True),
        ("acme.items.example.com", True),
        ("a.b.items.example.com", False),
        ("example.com", False),
    ],
)
def test_hosts_match_by_their_canonical_form(judge: Judge, host: str, fits: bool) -> None:
    assert judge.ask("/status", host=host).allowed == fits


def test_head_is_judged_as_get(judge: Judge, key: MadeKey) -> None:
    assert judge.ask("/api/items", method="HEAD", key=key.token).allowed


def test_other_methods_are_not_allowed_by_a_get_rule(judge: Judge, key: MadeKey) -> None:
    assert not judge.ask("/api/items", method="DELETE", key=key.token).allowed


@pytest.mark.parametrize(
    ("path", "fits"),
    [("/open", True), ("/open/", True), ("/open/a/b", True), ("/opened", False), ("/Open", False)],
)
def test_two_stars_match_the_place_and_everything_below(judge: Judge, path: str, fits: bool) -> None:
    assert judge.ask(path).allowed == fits


def test_one_segment_captures_never_cross_a_slash(judge: Judge, key: MadeKey) -> None:
    assert judge.ask("/api/items/7", key=key.token).allowed
    assert not judge.ask("/api/items/7/parts", key=key.token).allowed


def test_captures_of_host_and_path_are_bound_and_decoded() -> None:
    rules = """[{name: r, effect: allow, paths: ["/u/{who}"], identity: [anyone],
                 when: 'params.tenant == "acme" && params.who == "a b"'}]"""
    judge = Judge(snapshot(policy("p", rules, hosts='["{tenant}.example.com"]')))
    assert judge.ask("/u/a%20b", host="acme.example.com").allowed
    assert not judge.ask("/u/a%20b", host="else.example.com").allowed


def test_a_rule_with_several_patterns_is_asked_for_each() -> None:
    rules = """[{name: r, effect: allow, paths: ["/{a}/x", "/y/{b}"], identity: [anyone],
                 when: 'params[?"b"].orValue("") == "x"'}]"""
    assert Judge(snapshot(policy("p", rules))).ask("/y/x").allowed


def test_grpc_rules_fit_only_grpc() -> None:
    rules = """
    - {name: r, effect: allow, grpc: [{service: shop.v1.Orders, methods: [Get]}], identity: [anyone]}
"""
    judge = Judge(snapshot(policy("p", rules)))
    grpc = [("content-type", "application/grpc+proto")]
    assert judge.ask("/shop.v1.Orders/Get", method="POST", headers=grpc).allowed
    assert not judge.ask("/shop.v1.Orders/Get", method="POST").allowed
    assert not judge.ask("/shop.v1.Orders/List", method="POST", headers=grpc).allowed


def test_upgrades_need_a_rule_that_names_them() -> None:
    rules = """
    - {name: live, effect: allow, paths: [/live], upgrade: [websocket], identity: [anyone]}
    - {name: page, effect: allow, paths: [/page], identity: [anyone]}
"""
    judge = Judge(snapshot(policy("p", rules)))
    upgrade = [("connection", "upgrade"), ("upgrade", "websocket")]
    assert judge.ask("/live", headers=upgrade).allowed
    assert not judge.ask("/live").allowed
    assert not judge.ask("/page", headers=upgrade).allowed
    both = [("connection", "upgrade"), ("upgrade", "websocket, other")]
    assert not judge.ask("/live", headers=both).allowed


def test_peers_and_addresses_narrow_a_rule() -> None:
    rules = """[{name: r, effect: allow, identity: [anyone], peers: ["spiffe://prod/ns/web/sa/*"],
                 addresses: [203.0.113.0/24]}]"""
    judge = Judge(snapshot(policy("p", rules)))
    web = "spiffe://prod/ns/web/sa/api"
    assert judge.ask("/", peer="203.0.113.9", principal=web).allowed
    assert judge.ask("/", peer="::ffff:203.0.113.9", principal=web).allowed
    assert not judge.ask("/", peer="198.51.100.1", principal=web).allowed
    assert not judge.ask("/", peer="203.0.113.9", principal=web + "/more").allowed
    assert not judge.ask("/", peer="203.0.113.9").allowed
    assert not judge.ask("/", peer="", pipe="/run/x", principal=web).allowed


# --- limits

LIMITS = """
kind: Limit
metadata: {name: per-key}
spec: {per: [identity.key_id], rate: 1/s, burst: 2}
---
kind: Limit
metadata: {name: per-customer}
spec: {per: [identity.customer], rate: 3/s}
"""
LIMITED = policy("p", "[{name: r, effect: allow, identity: [partner-keys], limits: [per-key, per-customer]}]")


def test_a_limit_refuses_with_everything_a_client_needs(key: MadeKey) -> None:
    judge = Judge(snapshot(PROVIDER, LIMITS, LIMITED, key.document))
    assert [judge.ask("/", key=key.token).allowed for _ in range(2)] == [True, True]
    answer = judge.ask("/", key=key.token)
    assert (answer.reason, answer.status) == ("rate_limited", 429)
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["ratelimit-policy"] == '"per-key";q=1;w=1, "per-customer";q=3;w=1'
    assert answer.headers["ratelimit"] == '"per-key";r=0;t=1, "per-customer";r=1;t=1'


TWO_RULES = policy(
    "p",
    """
    - {name: b, effect: allow, identity: [partner-keys], limits: [per-key]}
    - {name: a, effect: allow, identity: [partner-keys], limits: [per-customer]}
""",
)


def refused_by(answer: Answer) -> RuleName | None:
    decision = answer.check.decision
    assert isinstance(decision, Deny)
    return decision.rule


def test_a_refusal_by_a_limit_names_the_rule_that_spends_it(key: MadeKey) -> None:
    other = MadeKey("other")
    judge = Judge(snapshot(PROVIDER, LIMITS, TWO_RULES, key.document, other.document))
    asked = [judge.ask("/", key=key.token) for _ in range(3)]
    assert [answer.allowed for answer in asked] == [True, True, False]
    assert refused_by(asked[2]) == RuleName("p", "b")
    assert json.loads(asked[2].body)["limits"] == ["per-key"]
    assert judge.ask("/", key=other.token).allowed
    for name in (key, other):  # of several that refuse, the first rule by name
        assert refused_by(judge.ask("/", key=name.token)) == RuleName("p", "a")


class NoStore:
    """A store that does not answer, for one limit that refuses then."""

    def __init__(self, limit: str) -> None:
        self._limit = limit

    def spend(self, waiting: Sequence[S], then: Callable[[Sequence[S]], None]) -> None:
        for check in waiting:
            check.settle(tuple(map(self._spent, check.spends)))
        then(waiting)

    def spend_in_shadow(self, trials: Sequence[S], then: Callable[[Sequence[S]], None]) -> None:
        self.spend(trials, then)

    def _spent(self, spend: Spend) -> Spent:
        failed = spend.limit == self._limit
        return Spent(spend.limit, not failed, 0, 0, 0, spend.rate, Store.OUTAGE, failed)


@pytest.mark.parametrize(("limit", "rule"), [("per-key", "b"), ("per-customer", "a")])
def test_without_its_store_a_limit_that_refuses_then_is_named_in_the_record_alone(
    key: MadeKey, limit: str, rule: str
) -> None:
    judge = Judge(snapshot(PROVIDER, LIMITS, TWO_RULES, key.document), NoStore(limit))
    answer = judge.ask("/", key=key.token)
    assert (answer.reason, answer.status) == ("store_unavailable", 503)
    assert refused_by(answer) == RuleName("p", rule)
    assert limit.encode() not in answer.payload
    assert "retry-after" not in answer.headers


def test_who_passes_is_told_of_limits_only_where_that_is_asked_for(key: MadeKey) -> None:
    served = snapshot(PROVIDER, LIMITS, LIMITED, key.document)
    silent, telling = Judge(served), Judge(served, refuser=Refuser("sidecar-1", on_allow=True))
    for answer in [judge.ask("/", key=key.token) for judge in (silent, telling, silent)]:
        told = [o.header.key for o in answer.message.ok_response.response_headers_to_add]
        assert answer.allowed
        assert list(answer.message.ok_response.headers_to_remove) == ["x-api-key"]
        assert told in ([], ["ratelimit-policy", "ratelimit"])
    before = message.cached_allow.cache_info()
    telling.ticks_us += 10_000_000
    counted = telling.ask("/", key=key.token).message.ok_response.response_headers_to_add
    assert counted[1].header.value == '"per-key";r=1;t=2, "per-customer";r=2;t=1'
    after = message.cached_allow.cache_info()
    assert (after.misses, after.hits) == (before.misses, before.hits + 1)


def test_where_limits_are_off_nothing_is_told_of_them(key: MadeKey) -> None:
    served = snapshot(PROVIDER, LIMITS, LIMITED, key.document)
    judge = Judge(served, NoLimiter(), refuser=Refuser("sidecar-1", on_allow=True))
    answers = [judge.ask("/", key=key.token) for _ in range(5)]
    assert all(answer.allowed for answer in answers)
    assert not answers[0].message.ok_response.response_headers_to_add
    assert {spent.store for answer in answers for spent in answer.check.decision.spent} == {Store.OFF}


def test_a_limit_recovers(key: MadeKey) -> None:
    judge = Judge(snapshot(PROVIDER, LIMITS, LIMITED, key.document))
    for _ in range(3):
        judge.ask("/", key=key.token)
    judge.ticks_us += 1_000_000
    assert judge.ask("/", key=key.token).allowed


def test_many_keys_of_one_customer_share_its_bucket() -> None:
    keys = [MadeKey(f"k{number}") for number in range(5)]
    judge = Judge(snapshot(PROVIDER, LIMITS, LIMITED, *(key.document for key in keys)))
    assert sum(judge.ask("/", key=key.token).allowed for key in keys) == 3


def test_a_refused_request_of_step_6_spends_nothing(key: MadeKey) -> None:
    rules = """
    - {name: r, effect: allow, identity: [partner-keys], limits: [per-key], when: request.method == "GET"}
"""
    judge = Judge(snapshot(PROVIDER, LIMITS, policy("p", rules), key.document))
    for _ in range(5):
        assert judge.ask("/", method="POST", key=key.token).reason == "not_permitted"
    assert judge.ask("/", key=key.token).allowed


def test_tiers_and_overrides_choose_the_rate() -> None:
    limit = """
kind: Limit
metadata: {name: per-key}
spec:
  per: [identity.key_id]
  rate: 1/s
  tiers: [{when: 'identity.labels[?"tier"] == optional.of("gold")', rate: 5/s}]
"""
    rules = policy("p", "[{name: r, effect: allow, identity: [partner-keys], limits: [per-key]}]")
    plain = MadeKey("plain")
    gold = MadeKey("gold", extra="  labels: {tier: gold}\n")
    own = MadeKey("own", extra="  labels: {tier: gold}\n  limits: {per-key: {rate: 2/s, burst: 7}}\n")
    documents = [key.document for key in (plain, gold, own)]
    judge = Judge(snapshot(PROVIDER, limit, rules, *documents))
    passed = [sum(judge.ask("/", key=key.token).allowed for _ in range(10)) for key in (plain, gold, own)]
    assert passed == [1, 5, 7]


def test_a_customers_labels_and_rates_hold_for_its_keys() -> None:
    limit = "kind: Limit\nmetadata: {name: per-customer}\nspec: {per: [identity.customer], rate: 1/s}"
    customer = """
kind: Customer
metadata: {name: acme}
spec: {labels: {tier: gold}, limits: {per-customer: {rate: 4/s}}}
"""
    rules = policy(
        "p",
        "[{name: r, effect: allow, identity: [partner-keys], limits: [per-customer],"
        " when: 'identity.labels.tier == \"gold\"'}]",
    )
    key = MadeKey("one")
    judge = Judge(snapshot(PROVIDER, limit, customer, rules, key.document))
    assert sum(judge.ask("/", key=key.token).allowed for _ in range(6)) == 4


def test_a_disabled_customers_keys_are_invalid() -> None:
    customer = "kind: Customer\nmetadata: {name: acme}\nspec: {enabled: false}"
    key = MadeKey("one")
    judge = Judge(snapshot(PROVIDER, customer, READ, key.document))
    assert judge.ask("/api/items", key=key.token).reason == "credential_invalid"


def test_costs_come_from_the_request_and_are_bounded(key: MadeKey) -> None:
    limit = """
kind: Limit
metadata: {name: per-key}
spec: {per: [identity.key_id], rate: 10/s, cost: 'request.size'}
"""
    rules = policy("p", "[{name: r, effect: allow, identity: [partner-keys], limits: [per-key]}]")
    judge = Judge(snapshot(PROVIDER, limit, rules, key.document))
    assert judge.ask("/", key=key.token, size=10).allowed
    assert judge.ask("/", key=key.token, size=0).allowed
    huge = judge.ask("/", key=key.token, size=11)
    assert (huge.reason, huge.detail) == ("rate_limited", "cost_exceeds_burst")
    assert "retry-after" not in huge.headers
    negative = judge.ask("/", key=key.token, size=-1)
    assert (negative.reason, negative.detail) == ("rule_error", "limit_cost_invalid")


def test_a_bucket_s_name_is_short_whatever_a_client_sends() -> None:
    limit = "kind: Limit\nmetadata: {name: each}\nspec: {per: [request.url_path], rate: 1/d}"
    rules = '[{name: a, effect: allow, paths: ["/**"], identity: [anonymous], limits: [each]}]'
    judge = Judge(snapshot(limit, policy("p", rules)))
    long_path = "/" + "a" * 8000
    first, again, other = judge.ask(long_path), judge.ask(long_path), judge.ask(long_path + "b")
    assert (first.allowed, again.reason, other.allowed) == (True, "rate_limited", True)
    assert first.check.grant is not None
    assert sum(map(len, first.check.grant.spends[0].bucket)) < 200


def test_an_empty_name_of_a_bucket_is_an_error_and_spends_nothing() -> None:
    limit = "kind: Limit\nmetadata: {name: l}\nspec: {per: [identity.key_id], rate: 1/s}"
    rules = policy("p", "[{name: r, effect: allow, identity: [anyone], limits: [l]}]")
    answer = Judge(snapshot(limit, rules)).ask("/")
    assert (answer.reason, answer.detail) == ("rule_error", "limit_name_empty")


# --- what the upstream sees


def test_a_client_cannot_set_our_headers_under_any_spelling(judge: Judge, key: MadeKey) -> None:
    spoofed = [
        ("x-auth-customer", "evil"),
        ("x_auth_customer", "evil"),
        ("x.auth.customer", "evil"),
        ("x-authz-anything", "evil"),
    ]
    answer = judge.ask("/api/items", key=key.token, headers=spoofed)
    assert answer.headers["x-auth-customer"] == "acme"
    assert {"x_auth_customer", "x.auth.customer", "x-authz-anything", "x-api-key"} == set(answer.removed)


def test_a_header_that_we_do_not_set_this_time_is_removed(judge: Judge) -> None:
    answer = judge.ask("/status", headers=[("x-auth-customer", "evil")])
    assert answer.allowed
    assert "x-auth-customer" in answer.removed


def test_a_cookie_credential_leaves_the_other_cookies(judge: Judge, key: MadeKey) -> None:
    answer = judge.ask("/api/items", headers=[("cookie", f"theme=dark; session={key.token}; lang=en")])
    assert answer.allowed
    assert answer.headers["cookie"] == "theme=dark; lang=en"


def test_a_query_credential_is_removed_by_its_name(judge: Judge, key: MadeKey) -> None:
    answer = judge.ask(f"/api/items?api_key={key.token}&x=1")
    assert answer.allowed
    assert list(answer.message.ok_response.query_parameters_to_remove) == ["api_key"]


def test_a_header_value_that_cannot_be_sent_is_an_error() -> None:
    rest = '  onAllow: {headers: {x-who: \'request.headers[?"x-name"].orValue("")\'}}\n'
    judge = Judge(snapshot(policy("p", "[{name: r, effect: allow, identity: [anyone]}]", rest=rest)))
    assert judge.ask("/", headers=[("x-name", "ann")]).headers == {"x-who": "ann"}
    assert judge.ask("/").headers == {}
    odd = judge.ask("/", headers=[("x-name", "ä".encode())])
    assert (odd.reason, odd.detail) == ("rule_error", "header_value_invalid")
    assert judge.ask("/", headers=[("x-name", "a" * 5000)]).reason == "rule_error"


@pytest.mark.parametrize("slip", ["{}", "Token {}", "ApiKey {}", "Bearer{}"])
def test_a_live_key_with_a_wrong_scheme_is_no_credential_and_still_goes_no_further(
    judge: Judge, key: MadeKey, slip: str
) -> None:
    headers = [("authorization", slip.format(key.token))]
    assert judge.ask("/api/items", headers=headers).reason == "credential_missing"
    assert "authorization" in judge.ask("/open/door", headers=headers).removed
    assert "authorization" not in judge.ask("/open/door", headers=[("authorization", "Basic YTpi")]).removed


# --- refusals


def test_a_refusal_is_a_problem_document(judge: Judge) -> None:
    answer = judge.ask("/elsewhere")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-authz-reason"] == "forbidden"
    assert answer.headers["x-authz-decision-id"] == DECISION_ID
    assert json.loads(answer.body) == {
        "type": "about:blank",
        "title": "Forbidden",
        "status": 403,
        "reason": "forbidden",
        "decision_id": DECISION_ID,
        "sidecar": "sidecar-1",
    }
    assert answer.message.status.code == 7


def test_a_refused_grpc_call_gets_one_line_of_text(judge: Judge) -> None:
    answer = judge.ask("/a.B/C", method="POST", headers=[("content-type", "application/grpc")])
    assert "content-type" not in answer.headers
    assert answer.body == f"forbidden: Forbidden, decision {DECISION_ID}"


SITE = """
kind: Site
metadata: {name: items}
spec:
  hosts: [items.example.com]
  reasons: full
  onDeny:
    unauthenticated: {redirect: {to: "https://login.example.com/start", returnTo: next}}
    default: {headers: {cache-control: no-store}}
"""


def test_a_site_sends_browsers_to_log_in(key: MadeKey) -> None:
    judge = Judge(snapshot(PROVIDER, READ, SITE, key.document))
    html = [("accept", "text/html,*/*")]
    answer = judge.ask("/api/items?a=1&api_key=x&b=2", headers=html)
    assert answer.status == 302
    assert answer.headers["location"] == (
        "https://login.example.com/start?next=http%3A%2F%2Fitems.example.com%2Fapi%2Fitems%3Fa%3D1%26b%3D2"
    )
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-authz-reason"] == "credential_invalid"
    assert answer.message.status.code == 16
    assert judge.ask("/api/items").status == 401
    assert judge.ask("/elsewhere", headers=html).headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path", ["/nowhere?api_key=hush&b=2", "/status/x?api%5Fkey=hush&b=2", "/api/items?api_key=hush&b=2"]
)
def test_a_redirect_carries_no_credential_whatever_the_route_looks_for(key: MadeKey, path: str) -> None:
    site = """
kind: Site
metadata: {name: items}
spec:
  hosts: [items.example.com]
  onDeny: {default: {redirect: {to: "https://login.example.com/start", returnTo: next}}}
"""
    header_keys = """
kind: IdentityProvider
metadata: {name: header-keys}
spec: {apiKey: {in: [{header: x-other-key}]}}
"""
    other = policy("other", "[{name: read, effect: allow, paths: [/api/items], identity: [header-keys]}]")
    by_query = policy("by-query", "[{name: q, effect: allow, paths: [/q], identity: [partner-keys]}]")
    judge = Judge(snapshot(PROVIDER, header_keys, site, other, by_query, key.document))
    answer = judge.ask(path, headers=[("accept", "text/html")])
    assert answer.status == 302
    assert "hush" not in answer.headers["location"]
    assert answer.headers["location"].endswith("%3Fb%3D2")


def test_a_redirect_never_grows_beyond_what_browsers_take(key: MadeKey) -> None:
    judge = Judge(snapshot(PROVIDER, READ, SITE, key.document))
    answer = judge.ask("/api/items?q=" + "%25" * 20_000, headers=[("accept", "text/html")])
    assert answer.headers["location"] == "https://login.example.com/start"


def test_a_site_may_keep_both_readings_of_a_path(key: MadeKey) -> None:
    site = "kind: Site\nmetadata: {name: s}\nspec: {hosts: ['*'], path: {matrixParameters: keep}}"
    rules = """
    - {name: everything, effect: allow, paths: ["/**"], identity: [anonymous]}
    - {name: not-admin, effect: deny, paths: ["/admin/**"]}
"""
    judge = Judge(snapshot(site, policy("p", rules)))
    assert judge.ask("/items;v=1").allowed
    assert judge.ask("/admin;v=1/x").reason == "denied_by_rule"
    assert not judge.ask("/public/..;/admin").allowed


def test_values_of_the_request_do_not_fill_the_memory_of_answers() -> None:
    rest = '  onAllow: {headers: {x-who: \'request.headers[?"x-name"].orValue("")\'}}\n'
    judge = Judge(snapshot(policy("p", "[{name: r, effect: allow, identity: [anyone]}]", rest=rest)))
    before = message.cached_allow.cache_info().currsize
    for number in range(20):
        assert judge.ask("/", headers=[("x-name", f"n{number}" * 500)]).allowed
    assert message.cached_allow.cache_info().currsize == before


def test_answers_to_one_identity_are_built_once(judge: Judge, key: MadeKey) -> None:
    first = judge.ask("/api/items", key=key.token).payload
    before = message.cached_allow.cache_info().misses
    assert judge.ask("/api/items/7", key=key.token).payload == first
    assert message.cached_allow.cache_info().misses == before
