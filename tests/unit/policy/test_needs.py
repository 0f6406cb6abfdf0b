"""What documents need of an Envoy, and what follows behind one that cannot send it."""

from __future__ import annotations

import pytest

from authz.policy.condition import Compiler
from authz.policy.integration import Input, Proxy
from authz.policy.load import load_lenient
from authz.policy.needs import CODE, MAX_FAULTS, Behind, Integration, behind, needs, unsendable
from tests.support.documents import PROVIDER, document, join, loaded, place_of_mark, policy

COMPILER = Compiler()
ALLOW = "effect: allow, identity: [keys]"


def found(*documents: str) -> list[tuple[Input, str]]:
    """Return every need and where it stands."""
    read, faults = load_lenient({"f.yaml": join(*documents).encode()})
    assert faults == []
    return [(need.input, str(need.document.place(*need.at))) for need in needs(read, COMPILER)]


def told(proxy: Proxy, *documents: str, sends: Input | None = None) -> Behind:
    sent = frozenset() if sends is None else frozenset((sends,))
    return behind(loaded(*documents), COMPILER, Integration(proxy, sent))


def when(expression: str) -> str:
    return policy(f"{ALLOW}, when: §'{expression}'")


def header(expression: str) -> str:
    return document(
        "Policy",
        "p",
        "{hosts: ['*'], rules: [{name: r, effect: allow, identity: [keys]}],"
        f" onAllow: {{headers: {{x-told: §'{expression}'}}}}}}",
    )


def limit(spec: str) -> str:
    return document("Limit", "l", f"{{rate: 5/s, {spec}}}")


@pytest.mark.parametrize(
    ("marked", "needed"),
    [
        (policy(f'{ALLOW}, peers: §["spiffe://prod/ns/web/sa/*"]'), Input.MTLS),
        (policy('effect: deny, peers: §["spiffe://prod/ns/web/sa/*"]'), Input.MTLS),
        (when('peer.principal == "spiffe://prod/a"'), Input.MTLS),
        (when('request.body == b"a"'), Input.BODY),
        (when('context[?"tier"].orValue("") == "gold"'), Input.CONTEXT),
        (when('"a" in metadata'), Input.METADATA),
        (header('context[?"tier"].orValue("")'), Input.CONTEXT),
        (limit("per: [identity.key_id, §peer.principal]"), Input.MTLS),
        (limit("per: [identity.key_id], cost: §'size(request.body)'"), Input.BODY),
        (
            limit("per: [identity.key_id], tiers: [{rate: 1/s, when: §'\"a\" in context'}]"),
            Input.CONTEXT,
        ),
        (policy(f"{ALLOW}, upgrade: [§websocket]"), Input.WEBSOCKET),
        (policy(f"{ALLOW}, upgrade: [§connect-udp]"), Input.UPGRADES),
        (document("Site", "s", "{hosts: ['*'], path: {encodedSlash: §keep}}"), Input.ENCODED_SLASH),
        (document("IdentityProvider", "k", "{apiKey: {in: [{header: §x_key}]}}"), Input.UNDERSCORES),
        (when('request.headers[?"x_a"].orValue("") == "b"'), Input.UNDERSCORES),
        (when('"x_a" in request.headers'), Input.UNDERSCORES),
        (when('"b" in request.header_values[?"x_a"].orValue([])'), Input.UNDERSCORES),
        (when('has(request.headers.x_a) && request.headers.x_a == "b"'), Input.UNDERSCORES),
        (when('request.headers.?x_a.orValue("") == "b"'), Input.UNDERSCORES),
    ],
)
def test_what_not_every_envoy_sends_is_found_where_it_stands(marked: str, needed: Input) -> None:
    others = [PROVIDER] if "[keys]" in marked else []
    assert found(marked.replace("§", ""), *others) == [(needed, place_of_mark(marked))]


@pytest.mark.parametrize("mode", ["enforce", "shadow"])
def test_documents_in_shadow_are_held_to_it_too(mode: str) -> None:
    rule = "{name: r, effect: deny, peers: ['spiffe://prod/a']}"
    shadowed = document("Policy", "p", f"{{mode: {mode}, hosts: ['*'], rules: [{rule}]}}")
    assert [need for need, _ in found(shadowed)] == [Input.MTLS]


PLAIN = (
    PROVIDER,
    document("Site", "s", "{hosts: ['*'], path: {matrixParameters: keep, encodedSlash: refuse}}"),
    limit("per: [client.network, identity.key_id]"),
    policy(f"{ALLOW}, addresses: [10.0.0.0/8], when: '\"x-a\" in request.headers && request.size < 9'"),
    policy(f"{ALLOW}, grpc: [{{service: shop.v1.Orders}}]", "rpc"),
    policy(f'{ALLOW}, when: \'"a_b" in request.query && params[?"a_b"].orValue("") == "c_d"\'', "q"),
)


@pytest.mark.parametrize("proxy", Proxy)
def test_a_set_that_needs_nothing_of_the_kind_is_fine_everywhere(proxy: Proxy) -> None:
    assert told(proxy, *PLAIN) == Behind([], [])


def test_what_an_envoy_cannot_send_is_a_fault_that_says_what_to_do() -> None:
    marked = policy(f"{ALLOW}, peers: §['spiffe://prod/a']")
    answer = told(Proxy.MANAGED, marked.replace("§", ""), PROVIDER)
    assert [str(fault) for fault in answer.faults] == [
        f"set.yaml:{place_of_mark(marked).partition(':')[2]}: `peers` needs the workload that Envoy"
        " authenticated by mTLS, which the Envoy of `authz envoy config` cannot send: ask for a credential"
        " with `identity`, or use `envoy: istio`"
    ]
    assert answer.warnings == []


def test_what_it_sends_if_it_is_set_is_a_warning_until_somebody_says_so() -> None:
    rule = policy(f"{ALLOW}, when: 'size(request.body) > 2'")
    (warning,) = told(Proxy.ISTIO, rule, PROVIDER).warnings
    assert warning.code == CODE
    assert "which Istio sends only where the provider has `includeRequestBodyInCheck`" in warning.what
    assert warning.what.endswith("say `--sends body`")
    assert told(Proxy.ISTIO, rule, PROVIDER, sends=Input.BODY) == Behind([], [])
    (again,) = told(Proxy.ISTIO, rule, PROVIDER, sends=Input.MTLS).warnings
    assert str(again) == str(warning)


def test_saying_so_makes_nobody_send_what_it_cannot() -> None:
    rule = policy(f"{ALLOW}, when: '\"a\" in context'")
    assert len(told(Proxy.ISTIO, rule, PROVIDER, sends=Input.CONTEXT).faults) == 1
    assert unsendable(Proxy.ISTIO, list(Input)) == [Input.CONTEXT, Input.METADATA, Input.UPGRADES]
    assert unsendable(Proxy.GATEWAY, list(Input)) == [Input.METADATA]


def test_what_does_not_compile_is_for_others_to_tell() -> None:
    assert found(policy(f"{ALLOW}, when: 'request.body =='"), PROVIDER) == []


def test_no_more_are_told_than_help_anybody() -> None:
    rules = ", ".join(f"{{name: r{n}, effect: deny, peers: ['spiffe://p/a']}}" for n in range(MAX_FAULTS + 1))
    answer = told(Proxy.MANAGED, document("Policy", "p", f"{{hosts: ['*'], rules: [{rules}]}}"))
    assert len(answer.faults) == MAX_FAULTS
