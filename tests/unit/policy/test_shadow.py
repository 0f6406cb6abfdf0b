"""What documents in shadow say, for policy sets as they are written."""

from __future__ import annotations

import pytest

from authz.model.errors import SnapshotRejected
from authz.model.shadow import Shade, Would
from authz.policy.shadow import Shadow
from tests.support.decisions import Answer, Judge
from tests.support.policies import PROVIDER, MadeKey, load, snapshot

OTHERS = """
kind: IdentityProvider
metadata: {name: guests}
spec: {customers: example, apiKey: {in: [{header: x-guest-key}]}}
"""
SERVED = """
kind: Policy
metadata: {name: served}
spec:
  hosts: [items.example.com]
  rules:
    - {name: keys, effect: allow, paths: ["/keys/**"], identity: [partner-keys]}
    - {name: open, effect: allow, paths: ["/open/**"], identity: [anyone]}
    - {name: shut, effect: deny, paths: ["/open/shut"]}
    - {name: torn, effect: deny, paths: ["/open/torn"], when: 'request.headers["gone"] == ""'}
"""
KEY = MadeKey("k")
FAILS = """'request.headers["gone"] == ""'"""


def policy(*rules: str, name: str = "tried", more: str = "") -> str:
    """Write a policy in shadow."""
    listed = "".join(f"    - {{{rule}}}\n" for rule in rules)
    return (
        f"kind: Policy\nmetadata: {{name: {name}}}\nspec:\n  mode: shadow\n"
        f'  hosts: ["*.example.com"]\n  rules:\n{listed}{more}'
    )


def limit(name: str, spec: str = "per: [client.network], rate: 1/d", mode: str = "shadow") -> str:
    return f"kind: Limit\nmetadata: {{name: {name}}}\nspec: {{{spec}, mode: {mode}}}\n"


def judge(*documents: str) -> Judge:
    return Judge(snapshot(PROVIDER, OTHERS, KEY.document, *documents))


def ask(tried: str, path: str, key: str = "", **more: str) -> Answer:
    return judge(SERVED, tried).ask(path, key=key, **more)


def said(answer: Answer) -> list[tuple[str, str, bool]]:
    """Return what was said: the outcome, the rule or limit, and whether that changes the reply."""
    return [(shade.would.value, shade.rule or shade.limit, shade.changes) for shade in answer.shadow]


DENY, DENY_FAILS = "name: no, effect: deny", f"name: no, effect: deny, when: {FAILS}"
ALLOW, ALLOW_KEYS = (
    "name: yes, effect: allow, identity: [anyone]",
    "name: yes, effect: allow, identity: [partner-keys]",
)
ALLOW_FAILS = f"{ALLOW}, when: {FAILS}"


@pytest.mark.parametrize(
    ("rule", "path", "key", "told"),
    [
        # decided: allow
        (DENY, "/open/a", "", ("deny", "no", True)),
        (DENY_FAILS, "/open/a", "", ("error", "no", True)),
        (ALLOW, "/open/a", "", ("allow", "yes", False)),
        (ALLOW_FAILS, "/open/a", "", ("error", "yes", False)),
        (f"{ALLOW}, when: 'false'", "/open/a", "", ("none", "", False)),
        (f"{DENY}, when: 'false'", "/open/a", "", ("none", "", False)),
        (ALLOW_KEYS, "/keys/a", KEY.token, ("allow", "yes", False)),
        (f"{DENY}, identity: [partner-keys]", "/keys/a", KEY.token, ("deny", "no", True)),
        # decided: denied by a rule, or by a rule that failed
        (DENY, "/open/shut", "", ("deny", "no", False)),
        (ALLOW, "/open/shut", "", ("allow", "yes", False)),
        (ALLOW, "/open/torn", "", ("allow", "yes", False)),
        # decided: nobody allowed
        (ALLOW, "/none", "", ("allow", "yes", True)),
        (DENY, "/none", "", ("deny", "no", False)),
        (ALLOW, "/keys/a", "", ("allow", "yes", True)),
        ("name: yes, effect: allow, identity: [anonymous]", "/keys/a", "", ("allow", "yes", True)),
        # decided: a bad credential
        (ALLOW, "/keys/a", "wrong", ("allow", "yes", True)),
        ("name: yes, effect: allow, identity: [anonymous]", "/keys/a", "wrong", ("none", "", False)),
        (f"{DENY}, identity: [anonymous]", "/keys/a", "wrong", ("deny", "no", False)),
        # a credential that was not read
        ("name: yes, effect: allow, identity: [guests]", "/open/a", "", ("undecidable", "yes", False)),
        (ALLOW_KEYS, "/none", KEY.token, ("undecidable", "yes", False)),
        (f"{DENY}, identity: [guests]", "/open/a", "", ("none", "", False)),
    ],
)
def test_a_policy_says_what_it_would_have_done(
    rule: str, path: str, key: str, told: tuple[str, str, bool]
) -> None:
    assert said(ask(policy(rule), path, key)) == [told]


@pytest.mark.parametrize(
    ("deny", "told"),
    [
        (DENY, ("deny", "no", True)),
        (DENY_FAILS, ("error", "no", True)),
        (f"{DENY}, when: request.method != ''", ("deny", "no", True)),
        (f"{DENY}, when: identity.anonymous", ("undecidable", "guests", False)),
        (f"{DENY}, identity: [anonymous]", ("undecidable", "guests", False)),
    ],
)
def test_of_an_unread_credential_only_a_deny_rule_that_ignores_the_caller_is_sure(
    deny: str, told: tuple[str, str, bool]
) -> None:
    guests = "name: guests, effect: allow, identity: [guests]"
    assert said(ask(policy(guests, deny), "/open/a")) == [told]


def test_an_enforcing_deny_rule_would_still_refuse_whoever_shows_a_bad_key() -> None:
    anyone = policy("name: yes, effect: allow, paths: [/keys/a], identity: [anyone]")
    blocked = SERVED + "    - {name: blocked, effect: deny, paths: [/keys/a]}\n"
    assert said(judge(SERVED, anyone).ask("/keys/a", key="wrong")) == [("allow", "yes", True)]
    assert said(judge(blocked, anyone).ask("/keys/a", key="wrong")) == [("allow", "yes", False)]


def test_what_was_not_judged_by_rules_is_asked_of_nobody() -> None:
    for path, host in (("/open/../a", "items.example.com"), ("/open/a", "items .example.com")):
        answer = ask(policy(DENY), path, host=host)
        assert (answer.reason, answer.shadow) == ("bad_request", ())
    assert ask(policy("name: no, effect: deny, paths: [/other]"), "/open/a").shadow == ()


def test_a_request_with_two_readings_is_sure_only_of_what_denies_everybody() -> None:
    kept = """
kind: Site
metadata: {name: kept}
spec: {hosts: [items.example.com], path: {matrixParameters: keep}}
"""
    for rule, told in (
        ("name: no, effect: deny, paths: [/open/a]", ("deny", "no", True)),
        ('name: no, effect: deny, paths: ["/open/a;x"]', ("deny", "no", True)),
        ("name: no, effect: deny, paths: [/open/a], when: identity.anonymous", ("undecidable", "", False)),
        (ALLOW, ("undecidable", "", False)),
    ):
        answer = judge(SERVED, kept, policy(rule)).ask("/open/a;x")
        assert answer.allowed
        assert said(answer) == [told]


def test_a_header_that_cannot_be_made_is_an_error_that_would_refuse() -> None:
    for header, told in (
        ('request.headers["gone"]', ("error", "yes", True)),
        ('"a\\n"', ("error", "yes", True)),
        ('"fine"', ("allow", "yes", False)),
    ):
        more = f"  onAllow: {{headers: {{x-a: '{header}'}}}}\n"
        answer = ask(policy(ALLOW, more=more), "/open/a")
        assert said(answer) == [told]
        assert "x-a" not in answer.headers


def test_a_header_that_an_enforcing_rule_sets_first_is_never_made_by_the_policy_in_shadow() -> None:
    """One expression over what each rule captures: only one of the two fails."""
    header = "  onAllow: {headers: {x-a: 'params.name'}}\n"
    served = SERVED + "    - {name: a, effect: allow, paths: ['/b/{name}'], identity: [anyone]}\n" + header
    tried = policy("name: yes, effect: allow, paths: ['/b/{other}'], identity: [anyone]", more=header)
    answer = judge(served, tried).ask("/b/x")
    assert (answer.headers, said(answer)) == ({"x-a": "x"}, [("error", "yes", False)])
    first = tried.replace("{name: tried}", "{name: early}")  # before `served`, so that it would set it
    assert said(judge(served, first).ask("/b/x")) == [("error", "yes", True)]


def test_several_policies_answer_for_themselves_by_name() -> None:
    answer = judge(SERVED, policy(DENY, name="b"), policy(ALLOW, name="a")).ask("/open/a")
    assert [(shade.policy, shade.would.value) for shade in answer.shadow] == [("a", "allow"), ("b", "deny")]


# --- limits


def limited(*names: str) -> str:
    """Return the served policy with a rule that names limits."""
    rule = (
        f"{{name: often, effect: allow, paths: [/often], identity: [anyone], limits: [{', '.join(names)}]}}"
    )
    return f"{SERVED}    - {rule}\n"


def test_a_limit_in_shadow_refuses_nobody_and_says_when_it_would() -> None:
    served = judge(limited("tried"), limit("tried"))
    first, second = served.ask("/often"), served.ask("/often")
    assert (first.allowed, second.allowed) == (True, True)
    assert said(first) == [("allow", "tried", False)]
    assert said(second) == [("deny", "tried", True)]
    spent = second.shadow[0].spent
    assert spent is not None
    assert (spent.remaining, spent.retry_ms) == (0, 86_400_000)


def test_each_limit_in_shadow_draws_by_itself() -> None:
    wide = limit("wide", "per: [client.network], rate: 1/d, burst: 3")
    served = judge(limited("tried", "wide"), limit("tried"), wide)
    told = [said(served.ask("/often")) for _ in range(4)]
    assert told[1] == [("deny", "tried", True), ("allow", "wide", False)]
    assert told[3] == [("deny", "tried", True), ("deny", "wide", True)]


def test_a_limit_in_shadow_is_charged_only_when_the_request_passed() -> None:
    strict = limit("strict", "per: [client.network], rate: 1/d", "enforce")
    served = judge(limited("tried", "strict"), limit("tried", "per: [client.network], rate: 9/d"), strict)
    assert said(served.ask("/often")) == [("allow", "tried", False)]
    refused = served.ask("/often")
    assert (refused.reason, refused.shadow) == ("rate_limited", ())


@pytest.mark.parametrize(
    ("spec", "detail"),
    [
        ("per: ['request.headers[\"gone\"]'], rate: 1/d", "rule_error"),
        ("per: [identity.customer], rate: 1/d", "limit_name_empty"),
        ("per: [client.network], rate: 1/d, cost: '-request.size'", "limit_cost_invalid"),
    ],
)
def test_a_bucket_that_cannot_be_named_is_an_error_and_refuses_nobody(spec: str, detail: str) -> None:
    answer = judge(limited("tried"), limit("tried", spec)).ask("/often", size=5)
    assert answer.allowed
    assert answer.shadow == (Shade(Would.ERROR, limit="tried", detail=detail, changes=True),)  # type: ignore[arg-type] # a Detail is its text


def test_limits_of_a_policy_in_shadow_are_drawn_when_it_would_allow_what_passed() -> None:
    counted = policy(f"{ALLOW}, limits: [strict]")
    served = judge(SERVED, counted, limit("strict", mode="enforce"))
    assert said(served.ask("/none")) == [("allow", "yes", True)]  # refused, so nothing is drawn
    assert said(served.ask("/open/a")) == [("allow", "yes", False), ("allow", "strict", False)]
    assert said(served.ask("/open/a")) == [("allow", "yes", True), ("deny", "strict", False)]


def test_while_the_limit_is_in_shadow_too_neither_alone_would_refuse() -> None:
    served = judge(SERVED, policy(f"{ALLOW}, limits: [tried]"), limit("tried"))
    served.ask("/open/a")
    assert said(served.ask("/open/a")) == [("allow", "yes", False), ("deny", "tried", False)]


def test_whoever_names_a_limit_it_is_drawn_once() -> None:
    names = f"{ALLOW}, limits: [strict, tried]"
    documents = (policy(names, name="a"), policy(names, name="b"))
    buckets = (limit("strict", "per: [client.network], rate: 2/d", "enforce"), limit("tried"))
    served = judge(limited("tried"), *documents, *buckets)
    answer = served.ask("/often")
    assert [shade.limit for shade in answer.shadow] == ["", "", "tried", "strict"]
    spent = answer.shadow[3].spent
    assert spent is not None
    assert spent.remaining == 1
    served.ask("/often")
    assert [shade.changes for shade in served.ask("/often").shadow] == [True, True, True, False]


def test_a_limit_that_an_enforcing_rule_spends_already_is_not_tried_again() -> None:
    strict = limit("strict", "per: [client.network], rate: 9/d", "enforce")
    answer = judge(limited("strict"), policy(f"{ALLOW}, limits: [strict]"), strict).ask("/often")
    assert said(answer) == [("allow", "yes", False)]


def test_a_bucket_in_shadow_is_never_the_enforced_one_of_that_name() -> None:
    """One limiter lives through a reload in which the limit changes its mode."""
    before = judge(limited("tried"), limit("tried"))
    for _ in range(3):
        before.ask("/often")
    after = judge(limited("tried"), limit("tried", mode="enforce"))
    after._limiter = before._limiter
    assert [after.ask("/often").reason for _ in range(2)] == ["allowed", "rate_limited"]


# --- sets


def test_a_set_without_documents_in_shadow_has_nothing_to_ask() -> None:
    assert snapshot(PROVIDER, KEY.document, SERVED).shadow is None
    assert isinstance(snapshot(PROVIDER, SERVED, OTHERS, policy(DENY)).shadow, Shadow)
    assert isinstance(snapshot(PROVIDER, limited("tried"), limit("tried")).shadow, Shadow)


def test_a_policy_in_shadow_owns_no_header_and_no_provider_and_agrees_with_everybody() -> None:
    guests = "name: guests, effect: allow, identity: [guests]"
    tried = policy(guests, more="  onAllow: {headers: {x-a: '\"tried\"', x-b: '\"b\"'}}\n")
    served = SERVED + "  onAllow: {headers: {x-a: '\"served\"'}}\n"
    answer = judge(served, tried).ask("/open/a", headers=[("x-b", "mine"), ("x-guest-key", "mine")])
    assert answer.headers == {"x-a": "served"}
    assert not {"x-b", "x-guest-key"} & set(answer.removed)


def test_what_is_wrong_in_shadow_is_as_wrong_as_elsewhere() -> None:
    for text in (policy(f"{DENY}, when: 'nothing.there'"), policy(f"{ALLOW}, limits: [gone]")):
        with pytest.raises(SnapshotRejected, match=r"`nothing`|`gone`|nothing\.there"):
            load(PROVIDER, SERVED, text)
