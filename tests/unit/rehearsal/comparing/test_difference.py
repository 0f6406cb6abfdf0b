from __future__ import annotations

import pytest

from authz.rehearsal.comparing.difference import Difference, Side, difference
from authz.rehearsal.comparing.direction import Effect
from tests.support.documents import PER_CUSTOMER, PER_KEY, PROVIDER, document, key, loaded, policy

OTHER = document("IdentityProvider", "more", "{customers: example, apiKey: {in: [{header: x-more}]}}")
ALLOW = "effect: allow, identity: [keys]"
BASE = (PROVIDER, OTHER, PER_KEY, PER_CUSTOMER)


def told(old: list[str], new: list[str]) -> Difference:
    return difference(Side(loaded(*BASE, *old)), Side(loaded(*BASE, *new)))


def one(old: str, new: str) -> tuple[str, Effect]:
    (change,) = told([old], [new]).changes
    return change.what, change.effect


def rule(text: str, **more: str) -> str:
    return policy(f"effect: allow, paths: [/a], {text}", **more)


@pytest.mark.parametrize(
    ("old", "new", "what", "effect"),
    [
        (
            "methods: [GET], identity: [keys]",
            "methods: [GET], identity: [keys, more]",
            "GET /a on items.example.com: now also `more`",
            Effect.WIDER,
        ),
        (
            "methods: [GET, PUT], identity: [keys]",
            "methods: [GET], identity: [keys]",
            "no longer `PUT`",
            Effect.NARROWER,
        ),
        (
            "methods: [GET], identity: [keys]",
            "identity: [keys]",
            "now every method, no longer only `GET`",
            Effect.WIDER,
        ),
        ("identity: [keys]", "identity: [keys], when: '1 < 2'", "now only when `1 < 2`", Effect.NARROWER),
        (
            "identity: [keys], when: '1 < 2'",
            "identity: [keys], when: '1<3'",
            "when `1 < 2` -> `1<3`",
            Effect.EITHER,
        ),
        (
            "identity: [keys]",
            "identity: [keys], limits: [per-key]",
            "now limited by `per-key`",
            Effect.NARROWER,
        ),
        ("identity: [keys], limits: [per-key]", "identity: [keys]", "now without a limit", Effect.WIDER),
        ("identity: [anonymous]", "identity: [anonymous, keys]", "now also `keys`", Effect.EITHER),
        ("identity: [keys]", "identity: [anyone]", "now also `anyone`; no longer `keys`", Effect.EITHER),
        (
            "identity: [keys], addresses: [10.0.0.0/8]",
            "identity: [keys], addresses: [10.1.0.0/16]",
            "no longer `10.0.0.0/8`",
            Effect.NARROWER,
        ),
        ("identity: [keys], upgrade: [websocket]", "identity: [keys]", "without an upgrade", Effect.EITHER),
    ],
)
def test_a_changed_rule_is_told_by_what_it_lets_through(
    old: str, new: str, what: str, effect: Effect
) -> None:
    said, found = one(rule(old), rule(new))
    assert what in said
    assert found is effect


def test_more_of_a_deny_rule_is_narrower() -> None:
    assert (
        one(policy("effect: deny, paths: [/a]"), policy("effect: deny, paths: [/a, /b]"))[1]
        is Effect.NARROWER
    )
    assert one(policy("effect: deny"), policy("effect: deny, methods: [GET]"))[1] is Effect.WIDER
    assert one(policy("effect: deny"), policy(ALLOW))[1] is Effect.EITHER


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (rule("methods: [GET, PUT], identity: [keys]"), rule("methods: [PUT, GET], identity: [keys]")),
        (rule("identity: [keys], when: '1  <  2'"), rule("identity: [keys], when: 1 < 2")),
        (rule("identity: [keys]", hosts="[a.b, c.d]"), rule("identity: [keys]", hosts="[c.d, a.b]")),
        (
            document("Limit", "l", "{per: [client.network], rate: 5/s}"),
            document("Limit", "l", "{burst: 5, rate: 5/s, per: [client.network], mode: enforce}"),
        ),
    ],
)
def test_another_spelling_is_no_change(old: str, new: str) -> None:
    found = told([old], [new])
    assert found.changes == ()
    assert found.same_access


def test_another_unit_of_one_rate_is_told_since_clients_see_it() -> None:
    named = rule("identity: [keys], limits: [l]")
    old = document("Limit", "l", "{per: [client.network], rate: 60/min, burst: 9}")
    new = document("Limit", "l", "{per: [client.network], rate: 1/s, burst: 9}")
    assert [change.effect for change in told([named, old], [named, new]).changes] == [Effect.EITHER]


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (rule("identity: [keys]", name="a"), rule("identity: [keys]", name="b"), "renamed, was `a`"),
        (policy(ALLOW), policy(ALLOW).replace("name: read", "name: reading"), "renamed, was `read`"),
        (key("a"), key("b"), "renamed, was `a`"),
    ],
)
def test_a_new_name_is_recognised_and_no_change_of_access(old: str, new: str, what: str) -> None:
    assert one(old, new) == (what, Effect.NONE)


def test_a_new_name_may_matter_where_captures_are_read() -> None:
    headers = "onAllow: {headers: {x-a: params.id}}"
    spec = f"{{hosts: ['*'], rules: [{{name: r, {ALLOW}, paths: ['/{{id}}']}}], {headers}}}"
    old, new = document("Policy", "p", spec), document("Policy", "q", spec)
    assert one(old, new)[1] is Effect.EITHER


def test_policies_come_and_go_rule_by_rule() -> None:
    found = told([], [policy(ALLOW)])
    assert [(c.kind, c.name, c.rule, c.effect) for c in found.changes] == [
        ("Policy", "items", "read", Effect.WIDER)
    ]
    assert found.changes[0].what == "every method on every path on items.example.com: now allowed to keys"
    assert told([policy(ALLOW)], []).effect is Effect.NARROWER


def test_what_others_allow_too_makes_a_rule_that_brings_something_along_hard_to_tell() -> None:
    public = policy("effect: allow, identity: [anyone]", name="public")
    assert told([public], [public, policy(ALLOW)]).effect is Effect.EITHER
    free = policy("effect: allow, identity: [anyone], methods: [GET]")
    assert told([public], [public, free]).effect is Effect.WIDER


def test_shadow_decides_nothing_until_it_is_enforced() -> None:
    tried = document("Policy", "t", f"{{mode: shadow, hosts: [a.b], rules: [{{name: r, {ALLOW}}}]}}")
    assert one_effect([], [tried]) is Effect.NONE
    assert one_effect([tried], [tried.replace("a.b", "c.d")]) is Effect.NONE
    assert one_effect([tried], [tried.replace("shadow", "enforce")]) is Effect.WIDER
    assert one_effect([tried.replace("shadow", "enforce")], [tried]) is Effect.NARROWER


def one_effect(old: list[str], new: list[str]) -> Effect:
    found = told(old, new)
    assert found.changes
    return found.effect


def test_hosts_headers_and_owner_of_a_policy() -> None:
    spec = "{{owner: {}, hosts: [{}], rules: [{{name: r, effect: allow, identity: [keys]}}]{}}}"
    base = document("Policy", "p", spec.format("a", "a.b", ""))
    assert one(base, document("Policy", "p", spec.format("b", "a.b", "")))[1] is Effect.NONE
    assert one(base, document("Policy", "p", spec.format("a", "a.b, c.d", ""))) == (
        "hosts: now also `c.d`",
        Effect.WIDER,
    )
    headers = ", onAllow: {headers: {x-a: identity.customer}}"
    what, effect = one(base, document("Policy", "p", spec.format("a", "a.b", headers)))
    assert (what, effect) == ("onAllow.headers.x-a: now `identity.customer`", Effect.EITHER)


@pytest.mark.parametrize(
    ("old", "new", "effect"),
    [
        ("", ", enabled: false", Effect.NARROWER),
        (", enabled: false", "", Effect.WIDER),
        (", expiresAt: 2027-01-01T00:00:00Z", ", expiresAt: 2026-01-01T00:00:00Z", Effect.NARROWER),
        (", expiresAt: 2027-01-01T00:00:00Z", "", Effect.WIDER),
        (", notBefore: 2027-01-01T00:00:00Z", "", Effect.WIDER),
        ("", ", addresses: [10.0.0.0/8]", Effect.NARROWER),
        (", addresses: [10.0.0.0/8]", ", addresses: [10.0.0.0/8, 11.0.0.0/8]", Effect.WIDER),
        (", scopes: [a]", ", scopes: [a, b]", Effect.EITHER),
        (", labels: {tier: gold}", "", Effect.EITHER),
        (", enabled: false", ", enabled: false, scopes: [a]", Effect.NONE),
        ("", ", limits: {per-key: {rate: 5/s}}", Effect.EITHER),
    ],
)
def test_a_changed_key(old: str, new: str, effect: Effect) -> None:
    assert told([policy(ALLOW), key(more=old)], [policy(ALLOW), key(more=new)]).effect is effect


def test_a_key_comes_goes_and_is_rotated() -> None:
    assert one_effect([], [key()]) is Effect.WIDER
    assert one_effect([key()], []) is Effect.NARROWER
    assert one_effect([], [key(more=", enabled: false")]) is Effect.NONE
    rotated = key().replace(
        "secrets: [",
        "secrets: [{version: 2, pepper: e09102e2, digest: MoFSZtaD4A8M8Zqv88J1kuAVp7O4wz7aOgIxwCA0Vbg}, ",
    )
    assert one_effect([key()], [rotated]) is Effect.WIDER
    assert "digest" not in told([key()], [rotated]).changes[0].what
    denying = policy("effect: deny, identity: [keys]")
    assert one_effect([denying], [denying, key()]) is Effect.EITHER


def test_customers_limits_and_the_rest() -> None:
    customer = document("Customer", "acme", "{enabled: false}")
    assert one_effect([], [customer]) is Effect.NARROWER
    assert one_effect([], [document("Customer", "acme", "{}")]) is Effect.NONE
    limit = document("Limit", "l", "{per: [client.network], rate: 5/s}")
    using = policy(f"{ALLOW}, limits: [l]")
    assert one_effect([limit], [limit.replace("5/s", "9/s")]) is Effect.NONE
    assert one_effect([using, limit], [using, limit.replace("5/s", "9/s")]) is Effect.WIDER
    assert one_effect([using, limit], [using, limit.replace("5/s", "4/s")]) is Effect.NARROWER
    assert one_effect([using, limit], [using, limit.replace("5/s", "5/s, mode: shadow")]) is Effect.WIDER
    site = document("Site", "s", "{hosts: ['*']}")
    assert one_effect([], [site]) is Effect.EITHER
    assert one_effect([site], [site.replace("['*']", "['*'], reasons: full")]) is Effect.EITHER
    assert (
        one_effect([], [document("IdentityProvider", "q", "{apiKey: {in: [{query: k}]}}")]) is Effect.EITHER
    )
    assert (
        one_effect([], [document("IdentityProvider", "q", "{apiKey: {in: [{header: x-k}]}}")]) is Effect.NONE
    )


def test_tests_and_remarks_are_no_access() -> None:
    case = "{name: a, request: {host: a.b, path: /}, expect: {outcome: deny}}"
    test = document("PolicyTest", "t", f"{{now: 2026-06-01T12:00:00Z, cases: [{case}]}}")
    assert told([], [test]).changes[0].what == "1 cases added"
    assert told([test], []).same_access
    assert told([test], [test.replace("name: a", "name: b")]).same_access
    assert (
        told(
            [policy(ALLOW)], [policy(ALLOW).replace("{name: items}", "{name: items, labels: {a: b}}")]
        ).changes
        == ()
    )


def test_overrides_only_take_away() -> None:
    base, brake = loaded(*BASE), loaded(policy("effect: deny"))
    found = difference(Side(base), Side(base, brake))
    assert [(c.kind, c.effect) for c in found.changes] == [("Override", Effect.NARROWER)]
    assert difference(Side(base, brake), Side(base)).effect is Effect.WIDER
