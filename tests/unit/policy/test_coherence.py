"""What the fields of one document must agree on."""

from __future__ import annotations

import pytest

from tests.support.documents import (
    PER_CUSTOMER,
    PER_KEY,
    PROVIDER,
    document,
    faults,
    key,
    place_of_mark,
    policy,
)

ALLOW = "effect: allow, identity: [anyone]"
CASE = "request: {host: a, path: /}, expect: {outcome: deny}"


def cases(text: str) -> str:
    return document("PolicyTest", "x", f"{{now: 2026-01-01T00:00:00Z, cases: [{text}]}}")


def told(text: str) -> list[str]:
    """Return the faults of a set whose documents follow the one that is looked at."""
    return faults(text, PROVIDER, PER_KEY, PER_CUSTOMER)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            policy("§effect: allow").replace("{name: read, §", "§{name: read, "),
            "the allow rule `read` must say `identity`: provider names, `anonymous` or `anyone`",
        ),
        (policy("effect: deny, §limits: [per-key]"), "a deny rule spends nothing: remove `limits`"),
        (policy(f"{ALLOW}, grpc: [{{service: a.B}}], §paths: [/a]"), "`grpc` stands instead of `paths`"),
        (policy(f"{ALLOW}, grpc: [{{service: a.B}}], §methods: [GET]"), "`grpc` stands instead of `methods`"),
        (
            policy(f"{ALLOW}, paths: ['/a', §'/b/{{t}}']", hosts="[x.example, '{t}.example']"),
            "`{t}` is captured by the host already: name one otherwise",
        ),
        (policy(f"{ALLOW}}}, {{name: §read, {ALLOW}"), "two rules are named `read`: rename one"),
        (
            document(
                "Policy",
                "p",
                f"{{onAllow: {{headers: {{x-a: a, §x_a: b}}}}, hosts: [a], rules: [{{name: r, {ALLOW}}}]}}",
            ),
            "`x-a` is set twice (`_` and `.` count as `-`): remove one",
        ),
        (document("Site", "x", "{hosts: [a], onDeny: {default: §{}}}"), "`spec.onDeny.default` says nothing"),
        (
            document("Site", "x", "{hosts: [a], onDeny: {limited: {headers: {a-b: c, §a.b: c}}}}"),
            "`a-b` is set twice",
        ),
        (
            document("IdentityProvider", "x", "§{customers: a}"),
            "exactly one of `apiKey` and `jwt`: write one",
        ),
        (
            document("IdentityProvider", "§anyone", "{apiKey: {in: [{header: a}]}}"),
            "no provider may be named `anyone`",
        ),
        (
            document("IdentityProvider", "§anonymous", "{apiKey: {in: [{header: a}]}}"),
            "no provider may be named `anonymous`",
        ),
        (
            document("IdentityProvider", "x", "{apiKey: {in: [§{header: a, cookie: b}]}}"),
            "a place is exactly one of `header`, `cookie` and `query`: write one",
        ),
        (document("IdentityProvider", "x", "{apiKey: {in: [§{scheme: a}]}}"), "a place is exactly one of"),
        (
            document("IdentityProvider", "x", "{apiKey: {in: [{cookie: a, §scheme: b}]}}"),
            "`scheme` goes with `header` only: remove it",
        ),
        (
            document(
                "IdentityProvider", "x", "{apiKey: {in: [{header: a, scheme: B}, §{header: a, scheme: b}]}}"
            ),
            "this place stands twice: remove one",
        ),
        (
            key(more=", notBefore: 2027-01-01T00:00:00Z, expiresAt: §2027-01-01T01:00:00+01:00"),
            "the key ends before it begins: move `expiresAt` after `notBefore`",
        ),
        (cases(f"{{name: a, {CASE}}}, {{name: §a, {CASE}}}"), "two cases are named `a`: rename one"),
        (
            cases(f"{{name: a, credential: {{key: k}}, §identity: {{provider: keys}}, {CASE}}}"),
            "a case has `credential` or `identity`, not both: remove one",
        ),
    ],
)
def test_fields_that_do_not_go_together_are_refused_at_their_place(text: str, fault: str) -> None:
    assert text.count("§") == 1
    found = told(text.replace("§", ""))
    assert any(one.startswith(f"{place_of_mark(text)}: ") and fault in one for one in found), found


def test_two_secrets_have_two_versions() -> None:
    secret = key().partition("secrets: [")[2].partition("]")[0]
    (found,) = told(key().replace(f"[{secret}]", f"[{secret}, {secret}]"))
    assert found.endswith("two secrets have version 1: a rotation counts up")
    assert (
        told(key().replace(f"[{secret}]", f"[{secret}, {secret.replace('version: 1', 'version: 2')}]")) == []
    )


def test_one_capture_may_stand_in_several_paths_of_a_rule() -> None:
    assert told(policy(f"{ALLOW}, paths: ['/a/{{id}}', '/b/{{id}}']", hosts="['{t}.example']")) == []


def test_a_rule_for_grpc_says_no_more() -> None:
    assert told(policy(f"{ALLOW}, grpc: [{{service: shop.v1.Orders, methods: [Get]}}]")) == []


JWT = "issuer: 'https://id.example', audiences: [a], algorithms: [RS256], in: [{header: authorization}]"


@pytest.mark.parametrize(
    ("jwks", "fault"),
    [
        ("{}", "a key set is exactly one of `url` and `file`: write one"),
        ("{url: 'https://a/', file: /b}", "a key set is exactly one of `url` and `file`: write one"),
        ("{url: 'http://a/'}", "a key set is fetched over https only"),
    ],
)
def test_tokens_are_checked_though_not_supported_yet(jwks: str, fault: str) -> None:
    found = told(document("IdentityProvider", "x", f"{{jwt: {{{JWT}, jwks: {jwks}}}}}"))
    assert any(fault in one for one in found), found
    assert any("`jwt` is not supported yet: remove the provider" in one for one in found), found
