from __future__ import annotations

import pytest

from authz.model.site import Listener
from authz.request.host import served_hosts
from authz.snapshot.build import Surroundings
from tests.support.policies import PROVIDER, MadeKey, load
from tests.support.rehearsals import KEY, POLICY, SET, asked, cases, results, run, told

PARTNER = "credential: {key: partner}"
SCOPED = 'identity: {provider: partner-keys, customer: acme, scopes: ["items:read"]'


def outcome(
    case: str, *more: str, now: str = "2026-06-01T12:00:00Z", around: Surroundings | None = None
) -> str:
    """Say what came of one case that expects the impossible."""
    odd = "expect: {outcome: deny, reason: bad_request, detail: header_invalid}"
    (found,) = told(*(more or SET), cases(f"{case}, {odd}", now=now), around=around)
    return "; ".join(one.replace("expected deny, ", "").rpartition("got ")[2] for one in found)


def test_a_key_is_as_if_its_token_were_presented() -> None:
    everything = "policy: items, rule: read, headers: {x-customer: acme}, limits: [per-key]"
    case = f"{asked()}, {PARTNER}, expect: {{outcome: allow, status: 200, reason: allowed, {everything}}}"
    assert told(*SET, cases(case)) == [[]]


def test_no_pepper_is_needed_and_a_thousand_times_spends_nothing() -> None:
    case = f"{asked()}, {PARTNER}, expect: {{outcome: allow, limits: [per-key]}}"
    assert told(*SET, cases(*[case] * 3), around=Surroundings()) == [[], [], []]


def test_nobody_is_a_stranger() -> None:
    case = f"{asked()}, expect: {{outcome: deny, status: 401, reason: credential_missing}}"
    assert told(*SET, cases(case)) == [[]]


@pytest.mark.parametrize(
    ("extra", "detail"),
    [
        ("  enabled: false\n", "key_revoked"),
        ("  expiresAt: 2026-06-01T12:00:00Z\n", "key_expired"),
        ("  notBefore: 2026-06-01T12:00:01Z\n", "key_not_yet_valid"),
        ("  addresses: [203.0.113.0/24]\n", "key_address"),
    ],
)
def test_a_key_that_would_be_refused_is(extra: str, detail: str) -> None:
    document = MadeKey("partner", extra=extra).document
    assert outcome(f"{asked()}, {PARTNER}", PROVIDER, POLICY, document) == f"credential_invalid; {detail}"


def test_a_key_of_a_disabled_customer_is_refused_and_so_is_what_a_provider_proves_of_it() -> None:
    customer = "kind: Customer\nmetadata: {name: acme}\nspec: {enabled: false}"
    for who in (PARTNER, SCOPED + "}"):
        assert outcome(f"{asked()}, {who}", *SET, customer) == "credential_invalid; customer_disabled"


def test_the_address_of_a_case_is_the_clients_however_many_proxies_are_trusted() -> None:
    document = MadeKey("partner", extra="  addresses: [203.0.113.0/24]\n").document
    case = f"{asked(more=', address: 203.0.113.7')}, {PARTNER}, expect: {{outcome: allow}}"
    for hops in (0, 2):
        around = Surroundings(listener=Listener(trusted_hops=hops))
        assert told(PROVIDER, POLICY, document, cases(case), around=around) == [[]]


def test_a_key_whose_newest_secret_has_ended_is_expired() -> None:
    document = KEY.document.replace("version: 1,", "version: 1, expiresAt: 2026-06-01T12:00:00Z,")
    assert outcome(f"{asked()}, {PARTNER}", PROVIDER, POLICY, document) == "credential_invalid; key_expired"
    earlier = outcome(f"{asked()}, {PARTNER}", PROVIDER, POLICY, document, now="2026-06-01T11:59:59Z")
    assert earlier == "allow; allowed; none"


def test_a_provider_proves_whom_the_case_describes() -> None:
    everything = "headers: {x-customer: acme}, limits: [per-key]"
    case = f"{asked()}, {SCOPED}}}, expect: {{outcome: allow, {everything}}}"
    assert told(*SET, cases(case)) == [[]]


def test_what_a_provider_proves_has_its_scopes_labels_and_claims() -> None:
    policy = POLICY.replace(
        '"items:read" in identity.scopes',
        'identity.labels.tier == "gold" && identity.claims.team == "x" && identity.subject == "who"'
        ' && identity.labels.region == "eu"',
    )
    customer = "kind: Customer\nmetadata: {name: acme}\nspec: {labels: {region: eu, tier: none}}"
    who = "subject: who, labels: {tier: gold}, claims: {team: x}}"
    case = f"{asked()}, identity: {{provider: partner-keys, customer: acme, {who}, expect: {{outcome: allow}}"
    assert told(PROVIDER, policy, KEY.document, customer, cases(case)) == [[]]


def test_an_identity_counts_only_where_the_rules_name_its_provider() -> None:
    other = PROVIDER.replace("partner-keys", "staff-keys").replace("x-api-key", "x-staff-key")
    who = "identity: {provider: staff-keys}"
    assert outcome(f"{asked()}, {who}", *SET, other) == "credential_missing; none"
    assert outcome(f"{asked('/open', more=', headers: {x-break: a}')}, {who}", *SET, other).startswith(
        "allow"
    )


def test_a_credential_beside_one_that_the_request_has_is_ambiguous() -> None:
    case = f"{asked(more=', headers: {x-api-key: other}')}, {PARTNER}"
    assert outcome(case) == "credential_ambiguous; none"


def test_hosts_of_a_listener_and_guards_of_a_site_say_nothing_to_tests() -> None:
    site = "kind: Site\nmetadata: {name: s}\nspec: {hosts: [items.example.com], guard: {rate: 1/h, burst: 1}}"
    case = f"{asked()}, expect: {{outcome: deny, reason: credential_missing}}"
    around = Surroundings(listener=Listener(hosts=served_hosts(["other.example.com"])))
    assert told(*SET, site, cases(*[case] * 5), around=around) == [[]] * 5


def test_the_status_is_what_the_client_sees() -> None:
    site = """
    kind: Site
    metadata: {name: s}
    spec:
      hosts: [items.example.com]
      onDeny: {unauthenticated: {redirect: {to: "https://login.example.com/"}}}
    """
    browser = asked(more=", headers: {accept: text/html}")
    case = f"{browser}, expect: {{outcome: deny, status: 302, reason: credential_missing}}"
    assert told(*SET, site, cases(case)) == [[]]


def test_a_cost_above_the_burst_is_refused_as_it_would_be() -> None:
    policy = POLICY.replace("rate: 1/h", 'rate: 1/h, cost: "2"')
    assert (
        outcome(f"{asked()}, {PARTNER}", PROVIDER, policy, KEY.document) == "rate_limited; cost_exceeds_burst"
    )


def test_principal_upgrade_scheme_and_grpc_reach_the_rules() -> None:
    policy = """
    kind: Policy
    metadata: {name: p}
    spec:
      hosts: [items.example.com]
      rules:
        - {name: peer, effect: allow, paths: [/peer], identity: [anyone], peers: ["spiffe://prod/ns/web/sa/*"]}
        - {name: live, effect: allow, paths: [/live], identity: [anyone], upgrade: [websocket]}
        - {name: rpc, effect: allow, grpc: [{service: shop.v1.Orders}], identity: [anyone]}
        - {name: plain, effect: allow, paths: [/plain], identity: [anyone], when: request.scheme == "http"}
        - name: late
          effect: allow
          paths: [/late]
          identity: [anyone]
          when: request.time > timestamp("2026-06-01T11:00:00Z")
    """
    allowed = "expect: {outcome: allow, policy: p, rule:"
    grpc = ", method: POST, headers: {content-type: application/grpc}"
    assert (
        told(
            PROVIDER,
            policy,
            cases(
                f"{asked('/peer', more=', principal: spiffe://prod/ns/web/sa/a')}, {allowed} peer}}",
                f"{asked('/peer')}, expect: {{outcome: deny, reason: not_permitted}}",
                f"{asked('/live', more=', upgrade: websocket')}, {allowed} live}}",
                f"{asked('/live')}, expect: {{outcome: deny, reason: not_permitted}}",
                f"{asked('/shop.v1.Orders/Get', more=grpc)}, {allowed} rpc}}",
                f"{asked('/shop.v1.Orders/Get', more=', method: POST')}, expect: {{outcome: deny}}",
                f"{asked('/plain', more=', scheme: http')}, {allowed} plain}}",
                f"{asked('/plain')}, expect: {{outcome: deny}}",
                f"{asked('/late')}, {allowed} late}}",
            ),
        )
        == [[]] * 9
    )


def test_a_failing_case_says_where_it_stands_and_what_came() -> None:
    case = f"{asked('/open')}, expect: {{outcome: allow}}"
    (result,) = results(*SET, cases(case))
    assert (result.place.file, result.place.line) == ("4.yaml", 7)
    assert [str(one) for one in result.differences] == ["outcome: expected allow, got deny"]
    assert result.got is not None
    assert result.got.rules[0] == ("items", "broken")
    assert not result.passed


def test_a_case_that_crashes_fails_and_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    from authz.rehearsal.testing import run as module

    def crash(*_: object) -> None:
        raise ZeroDivisionError

    built = load(
        *SET, cases(f"{asked()}, expect: {{outcome: deny}}", f"{asked('/x')}, expect: {{outcome: deny}}")
    )
    monkeypatch.setattr(module, "play", crash)
    first, second = run(built)
    assert first.got is second.got is None
    assert (
        str(first.differences[0])
        == "run: expected an answer, got a crash (ZeroDivisionError): please report it"
    )


def test_what_is_served_keeps_nothing_of_a_rehearsal() -> None:
    built = load(*SET, cases(f"{asked()}, {PARTNER}, expect: {{outcome: allow}}"))
    assert [result.passed for result in run(built)] == [True]
    memos = built.snapshot.memos
    assert [key for key, _ in memos.truths._known.items()] == []
    assert [key for key, _ in memos.grants._known.items()] == []


def test_a_document_is_looked_through_once_for_the_places_of_all_its_cases() -> None:
    from authz.policy import page as module

    case = f"{asked()}, expect: {{outcome: deny}}"
    found = results(*SET, cases(*[case] * 5))
    before = module._source.cache_info().misses
    assert [result.place.line for result in found] == [7, 8, 9, 10, 11]
    assert module._source.cache_info().misses - before == 1
