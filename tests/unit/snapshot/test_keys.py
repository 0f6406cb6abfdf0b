"""Keys, customers and providers of documents as nouns."""

from __future__ import annotations

from authz.identity.apikey import digest
from authz.identity.keyring import Key
from authz.model.identity import CredentialPlace, IdentityKind, PlaceKind
from authz.model.limit import Rate
from authz.policy.load import load
from authz.policy.rule import Network
from authz.snapshot.keys import keys, providers
from tests.support.policies import PEPPER, PROVIDER, MadeKey, documents

LIMITS = """
kind: Limit
metadata: {name: per-key}
spec: {per: [identity.key_id, identity.customer], rate: 1/s}
---
kind: Limit
metadata: {name: per-customer}
spec: {per: [identity.customer], rate: 1/s}
"""
ACME = """
kind: Customer
metadata: {name: acme}
spec:
  enabled: false
  labels: {tier: gold, region: eu}
  limits: {per-customer: {rate: 60/min}, per-key: {rate: 2/s}}
"""


def made(*texts: str) -> list[Key]:
    loaded = load(documents(PROVIDER, LIMITS, *texts))
    return list(keys(loaded, providers(loaded)))


def test_a_key_is_what_its_document_says() -> None:
    extra = (
        "  notBefore: 2026-01-01T00:00:00Z\n  expiresAt: 2027-01-01T00:00:00.5Z\n"
        "  addresses: [203.0.113.0/24]\n  labels: {tier: silver}\n  enabled: false\n"
    )
    source = MadeKey("k", scopes="a, b", extra=extra)
    (found,) = made(source.document)
    assert (found.id, found.provider, found.enabled, found.customer_enabled) == (
        source.id,
        "partner-keys",
        False,
        True,
    )
    assert (found.not_before_us, found.expires_at_us) == (1_767_225_600_000_000, 1_798_761_600_500_000)
    assert found.networks == (Network(4, 0xCB007100, 0xCB0071FF),)
    who = found.identity
    assert (who.kind, who.provider, who.subject, who.key_id) == (
        IdentityKind.API_KEY,
        "partner-keys",
        source.id,
        source.id,
    )
    assert (who.customer, who.namespace, who.scopes, dict(who.labels)) == (
        "acme",
        "example",
        ("a", "b"),
        {"tier": "silver"},
    )
    (secret,) = found.secrets
    assert secret.version == 1
    assert secret.expires_at_us is None
    assert secret.digest == digest(PEPPER, source.id, 1, source.token.split("_")[3][:43])


def test_a_key_has_the_labels_and_rates_of_its_customer_under_its_own() -> None:
    own = MadeKey("own", extra="  labels: {tier: silver}\n  limits: {per-key: {rate: 9/s, burst: 90}}\n")
    plain = MadeKey("plain")
    stranger = MadeKey("stranger", customer="else")
    by_id = {found.id: found for found in made(ACME, own.document, plain.document, stranger.document)}
    first, second, third = (by_id[each.id].identity for each in (own, plain, stranger))
    assert dict(first.labels) == {"tier": "silver", "region": "eu"}
    assert dict(second.labels) == {"tier": "gold", "region": "eu"}
    assert dict(third.labels) == {}
    assert dict(first.limits) == {"per-customer": Rate(1.0, 60.0, 60), "per-key": Rate(9.0, 90.0)}
    assert dict(second.limits) == {"per-customer": Rate(1.0, 60.0, 60), "per-key": Rate(2.0, 2.0)}
    assert dict(third.limits) == {}
    assert [by_id[each.id].customer_enabled for each in (own, plain, stranger)] == [False, False, True]


def test_a_customer_of_another_name_space_is_somebody_else() -> None:
    other = PROVIDER.replace("partner-keys", "other-keys").replace(
        "customers: example", "customers: elsewhere"
    )
    elsewhere = ACME.replace("  enabled: false", "  customers: elsewhere\n  enabled: false")
    (found,) = made(other.replace("x-api-key", "x-other"), elsewhere, MadeKey("k").document)
    assert found.customer_enabled
    assert dict(found.identity.labels) == {}


def test_equal_labels_are_shared() -> None:
    first, second = made(*(MadeKey(name, extra="  labels: {a: b}\n").document for name in ("x", "y")))
    assert first.identity.labels is second.identity.labels


def test_a_provider_has_its_places_and_a_name_space() -> None:
    loaded = load(
        documents(PROVIDER, PROVIDER.replace("partner-keys", "b").replace("  customers: example\n", ""))
    )
    found = providers(loaded)
    assert found["partner-keys"].namespace == "example"
    assert found["b"].namespace == "b"
    assert found["b"].places == (
        CredentialPlace(PlaceKind.HEADER, "x-api-key"),
        CredentialPlace(PlaceKind.HEADER, "authorization", "bearer"),
        CredentialPlace(PlaceKind.COOKIE, "session"),
        CredentialPlace(PlaceKind.QUERY, "api_key"),
    )
