from __future__ import annotations

import pytest

from authz.model.errors import ConfigError
from tests.support.explaining import ask, reading, rule, who
from tests.support.policies import PROVIDER, MadeKey, load

KEY = MadeKey("acme-reporting", extra="  labels: {tier: gold}\n")
POLICY = """
kind: Policy
metadata: {name: items}
spec:
  hosts: ["{tenant}.example.com"]
  rules:
    - {name: read, effect: allow, paths: ["/items/{id}"], identity: [partner-keys], limits: [per-key]}
    - {name: open, effect: allow, paths: [/open], identity: [anyone]}
    - {name: no-legacy, effect: deny, when: 'request.headers[?"agent"].orValue("").startsWith("legacy/")'}
  onAllow: {headers: {x-who: identity.customer}}
---
kind: Limit
metadata: {name: per-key}
spec: {per: [identity.key_id], rate: 100/s, burst: 200}
---
kind: Site
metadata: {name: items}
spec:
  hosts: [items.example.com]
  path: {matrixParameters: keep}
  guard: {rate: 20/s, burst: 100}
  reasons: full
  onDeny: {unauthenticated: {redirect: {to: "https://login.example.com/start", returnTo: next}}}
---
kind: Policy
metadata: {name: tried}
spec:
  mode: shadow
  hosts: ["*"]
  rules: [{name: no, effect: deny}]
"""
BUILT = load(PROVIDER, POLICY, KEY.document)


def test_an_allowed_request_shows_each_step() -> None:
    told = ask(BUILT, "/items/7?x=1", key="acme-reporting")
    assert (told.answer.outcome, told.answer.status, told.answer.allowed_by) == (
        "allow",
        200,
        ("items/read",),
    )
    assert told.revision == BUILT.snapshot.revision
    assert told.time == "2026-05-28T20:26:40Z"
    assert rule(told, "read").params == {"tenant": "items", "id": "7"}
    assert rule(told, "read").path == "/items/{id}"
    assert rule(told, "read").host == "{tenant}.example.com"
    assert rule(told, "no-legacy").says == "condition_false"
    assert reading(told).ends == "granted"
    assert who(told).key == "acme-reporting"
    assert who(told).labels == {"tier": "gold"}
    assert [limit.name for limit in told.limits] == ["per-key"]
    assert told.upstream is not None
    assert told.upstream.sets == {"x-who": "acme"}
    assert "x-api-key" in told.upstream.removes
    assert [(shade.policy, shade.outcome, shade.changes) for shade in told.shadow] == [
        ("tried", "deny", True)
    ]


def test_a_refusal_shows_what_the_client_is_told_and_where_it_is_sent() -> None:
    plain = ask(BUILT, "/items/7")
    assert (plain.answer.status, plain.answer.reason, plain.answer.told) == (
        401,
        "credential_missing",
        "credential_missing",
    )
    assert plain.answer.headers["www-authenticate"].startswith("ApiKey")
    assert plain.upstream is None
    sent = ask(BUILT, "/items/7", headers={"accept": "text/html"})
    assert sent.answer.status == 302
    assert sent.answer.headers["location"].startswith(
        "https://login.example.com/start?next=https%3A%2F%2Fitems"
    )


def test_a_request_that_cannot_be_read_meets_no_rule() -> None:
    told = ask(BUILT, "/items//7")
    assert (told.answer.reason, told.answer.detail, told.answer.status) == (
        "bad_request",
        "path_ambiguous",
        400,
    )
    assert told.readings == ()
    assert told.request is not None
    assert (told.request.fault, told.request.sent_path) == ("path_ambiguous", "/items//7")


def test_both_readings_are_shown_and_no_more_than_were_judged() -> None:
    allowed = ask(BUILT, "/open;a=b")
    assert [(one.name, one.path, one.ends) for one in allowed.readings] == [
        ("structural", "/open", "granted"),
        ("data", "/open;a=b", "not_permitted"),
    ]
    refused = ask(BUILT, "/items/7;a=b", key="acme-reporting", headers={"agent": "legacy/1"})
    assert [(one.name, one.ends) for one in refused.readings] == [("structural", "denied_by_rule")]
    assert refused.answer.policy == "items"
    assert refused.why[-1].startswith("That is the structural reading, /items/7")


def test_the_site_in_force_is_named_with_its_place() -> None:
    told = ask(BUILT, "/open")
    assert told.site is not None
    assert (told.site.name, told.site.keeps, told.site.guard, told.site.reasons) == (
        "items",
        ("matrixParameters",),
        "20/s, burst 100",
        "full",
    )
    assert told.site.place == "3.yaml:1:1"
    other = ask(BUILT, "/open", host="other.example.com")
    assert other.site is not None
    assert (other.site.name, other.site.place, other.site.reasons) == ("", "", "coarse")


def test_nothing_is_spent_and_nobody_is_guarded() -> None:
    for _ in range(300):
        assert ask(BUILT, "/items/7", key="acme-reporting").answer.outcome == "allow"
    for _ in range(101):
        assert ask(BUILT, "//").answer.reason == "bad_request"


def test_a_key_or_provider_that_is_not_there_is_told() -> None:
    with pytest.raises(ConfigError, match="there is no ApiKey `nobody`"):
        ask(BUILT, key="nobody")
    with pytest.raises(ConfigError, match="there is no IdentityProvider `nobody`"):
        ask(BUILT, identity={"provider": "nobody"})
