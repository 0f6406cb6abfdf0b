"""What the documents of a set must agree on."""

from __future__ import annotations

import pytest

from authz.policy.load import load_lenient
from tests.support.documents import (
    PER_CUSTOMER,
    PER_KEY,
    PROVIDER,
    document,
    faults,
    join,
    key,
    loaded,
    place_of_mark,
    policy,
)

ALLOW = "effect: allow, identity: [keys]"
SET = (PROVIDER, PER_KEY, PER_CUSTOMER)


def told(*documents: str) -> list[str]:
    return faults(*documents, *SET)


def setting(header: str) -> str:
    rules = "rules: [{name: r, effect: allow, identity: [keys]}]"
    return document("Policy", "p", f"{{onAllow: {{headers: {{{header}: a}}}}, hosts: [a], {rules}}}")


def a_test(case: str) -> str:
    return document(
        "PolicyTest",
        "t",
        f"{{now: 2026-01-01T00:00:00Z, cases: [{{name: a, request: {{host: a, path: /}}, {case}}}]}}",
    )


def test_a_set_whose_documents_agree_is_accepted() -> None:
    customer = document("Customer", "acme", "{customers: example, limits: {per-customer: {rate: 1/s}}}")
    case = a_test(
        "credential: {key: acme}, expect: {outcome: allow, policy: items, rule: read, limits: [per-key]}"
    )
    rule = policy(f"{ALLOW}, limits: [per-key, per-customer]")
    assert (
        told(rule, customer, key(more=", limits: {per-key: {rate: 1/s}}"), case, setting("x-customer")) == []
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (policy("effect: allow, identity: [§kays]"), "no identity provider `kays`: did you mean `keys`?"),
        (
            policy("effect: deny, identity: [§zzz]"),
            "no identity provider `zzz`: write the document, or remove",
        ),
        (policy(f"{ALLOW}, limits: [§per-kee]"), "there is no limit `per-kee`: did you mean `per-key`?"),
        (key().replace("provider: keys", "provider: §other"), "there is no identity provider `other`"),
        (key(more=", limits: {§x: {rate: 1/s}}"), "there is no limit `x`"),
        (key(more=", limits: {§per-customer: {rate: 1/s}}"), "is not `per` `identity.key_id`"),
        (document("Customer", "a", "{limits: {§per-key: {rate: 1/s}}}"), "is not `per` `identity.customer`"),
        (
            document("Customer", "a", "{customers: §exmple}"),
            "no name space of customers `exmple`: did you mean",
        ),
        (
            document("Limit", "x", "{per: [identity.customer], rate: 1/s, §tiers: [{when: a, rate: 1/s}]}"),
            "tiers need `identity.key_id` in `per`",
        ),
        (setting("§x-api-key"), "`x-api-key` holds the credential of the provider `keys`"),
        (setting("§x_api.key"), "`x_api.key` holds the credential of the provider `keys`"),
        (a_test("credential: {key: §k}, expect: {outcome: deny}"), "there is no API key `k`"),
        (a_test("identity: {provider: §k}, expect: {outcome: deny}"), "there is no identity provider `k`"),
        (a_test("expect: {outcome: deny, policy: §k}"), "there is no policy `k`"),
        (a_test("expect: {outcome: allow, limits: [§k]}"), "there is no limit `k`"),
    ],
)
def test_what_is_not_there_or_does_not_fit_is_refused_at_its_place(text: str, fault: str) -> None:
    (found,) = told(text.replace("§", ""))
    assert fault in found
    assert found.startswith(f"{place_of_mark(text)}: "), found


def test_a_test_may_not_expect_a_rule_that_its_policy_does_not_have() -> None:
    (found,) = told(policy(ALLOW), a_test("expect: {outcome: deny, policy: items, rule: reed}"))
    assert "there is no rule `reed`: did you mean `read`?" in found


def test_names_are_unique_among_their_kind() -> None:
    (found,) = told(policy(ALLOW), policy(ALLOW))
    assert found == "f.yaml:8:18: the name `items` is taken by f.yaml:3:18: choose another"
    assert told(policy(ALLOW, name="keys")) == []


def test_key_ids_are_unique_over_the_set() -> None:
    (found,) = told(key("one"), key("two"))
    assert found == "f.yaml:9:12: the key id `k7Qm2VxP0aZs` is taken by f.yaml:4:12: choose another"


def test_the_names_of_customers_are_unique_in_their_name_space() -> None:
    other = document("IdentityProvider", "other", "{apiKey: {in: [{header: x-other}]}}")
    one = document("Customer", "acme", "{customers: example}")
    two = document("Customer", "acme", "{customers: other}")
    assert told(other, one, two) == []
    (found,) = told(one, one)
    assert "the name `acme` is taken by f.yaml:3:18" in found
    (found,) = told(one, document("Customer", "acme", "{enabled: false}"))
    assert "the name `acme` is taken by f.yaml:3:18" in found


def test_a_customer_says_its_name_space_where_the_set_has_several() -> None:
    other = document("IdentityProvider", "other", "{apiKey: {in: [{header: x-other}]}}")
    (found,) = told(other, document("Customer", "acme", "{enabled: false}"))
    assert found.startswith("f.yaml:9:7: `spec.customers` is missing, and the set has `example`, `other`")
    (found,) = faults(document("Customer", "acme", "{enabled: false}"))
    assert "the set has no identity provider" in found


def test_a_key_belongs_to_a_provider_that_takes_keys() -> None:
    jwt = "{issuer: 'https://a/', audiences: [a], algorithms: [RS256], in: [{header: a}], jwks: {file: /a}}"
    found = told(document("IdentityProvider", "tokens", f"{{jwt: {jwt}}}"), key().replace("keys,", "tokens,"))
    assert any("the provider `tokens` does not take API keys: name one with `apiKey`" in one for one in found)


def test_a_key_needs_no_customer_document() -> None:
    assert told(key()) == []


@pytest.mark.parametrize(
    ("one", "two", "equal"),
    [
        ("a.example", "a.example", True),
        ("'*.example'", "'{n}.example'", True),
        ("'*'", "'*'", True),
        ("'*.example'", "example", False),
        ("'*.a.example'", "'*.example'", False),
    ],
)
def test_two_sites_may_not_rank_alike(one: str, two: str, equal: bool) -> None:
    found = told(
        document("Site", "one", f"{{hosts: [{one}]}}"), document("Site", "two", f"{{hosts: [x, {two}]}}")
    )
    assert [fault.split(": ")[0] for fault in found] == (["f.yaml:9:19"] if equal else [])


def test_a_cookie_that_holds_a_credential_keeps_policies_from_setting_cookies() -> None:
    cookie = document("IdentityProvider", "web", "{apiKey: {in: [{cookie: session}]}}")
    (found,) = told(cookie, setting("cookie"))
    assert "`cookie` holds the credential of the provider `web`" in found


def test_a_key_in_the_query_is_worth_a_warning() -> None:
    query = document(
        "IdentityProvider", "web", "{customers: example, apiKey: {in: [{header: a}, {query: api_key}]}}"
    )
    (warning,) = loaded(query).warnings
    assert str(warning) == (
        "set.yaml:4:55: a key in the query (`api_key`) ends up in logs and histories: prefer a header"
    )


def test_a_limit_that_no_rule_uses_is_worth_a_warning() -> None:
    rule = policy(f"{ALLOW}, limits: [per-key]")
    (warning,) = loaded(*SET, rule, a_test("expect: {outcome: allow, limits: [per-customer]}")).warnings
    assert str(warning) == (
        "set.yaml:13:18: no rule uses the limit `per-customer`: name it in `limits` of a rule, or remove it"
    )
    assert loaded(*SET, rule, policy(f"{ALLOW}, limits: [per-customer]", name="other")).warnings == ()


def test_a_limit_is_not_called_unused_where_not_every_document_could_be_read() -> None:
    broken = policy("effect: permit, limits: [per-key]")
    unread, found = load_lenient({"f.yaml": join(PROVIDER, PER_KEY, broken).encode()})
    assert len(found) == 1
    assert unread.warnings == ()


@pytest.mark.parametrize(
    ("method", "mend"),
    [
        ("DELTE", "did you mean `DELETE`?"),
        ("GTE", "did you mean `GET`?"),
        ("PROPFND", "did you mean `PROPFIND`?"),
        ("PURGE", "see that it is spelled as requests have it"),
    ],
)
def test_a_method_that_is_not_well_known_is_worth_a_warning(method: str, mend: str) -> None:
    (warning,) = loaded(PROVIDER, policy(f"{ALLOW}, methods: [GET, {method}]")).warnings
    assert str(warning).startswith("set.yaml:9:")
    assert warning.what == f"unusual method `{method}`: {mend}"


def test_well_known_methods_are_not_unusual() -> None:
    methods = "GET, POST, PUT, PATCH, DELETE, OPTIONS, PROPFIND, MKCOL, LOCK, REPORT"
    assert loaded(PROVIDER, policy(f"{ALLOW}, methods: [{methods}]")).warnings == ()


def test_warnings_are_bounded() -> None:
    limits = [document("Limit", f"l{n}", "{per: [identity.key_id], rate: 1/s}") for n in range(501)]
    assert len(loaded(*limits).warnings) == 500


def test_near_misses_are_not_searched_among_thousands() -> None:
    many = [policy("effect: deny", name=f"p{n}") for n in range(201)]
    found = told(*many, a_test("expect: {outcome: deny, policy: p2o1}"))
    assert found[0].endswith("there is no policy `p2o1`: write the document, or remove the name")
