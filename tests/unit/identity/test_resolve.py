"""From a request to a Caller."""

from __future__ import annotations

import pytest

from authz.identity.credential import plan
from authz.identity.resolve import resolve, same_site
from authz.model.identity import ANONYMOUS, NOBODY, Caller, CredentialPlace, PlaceKind, Provider, Standing
from authz.model.reason import Detail
from authz.model.request import Request
from tests.support.keys import SECRET, TOKEN, key, keyring, token
from tests.support.requests import request

NOW = 1_780_000_000_000_000
HEADER = CredentialPlace(PlaceKind.HEADER, "x-api-key")
BEARER = CredentialPlace(PlaceKind.HEADER, "authorization", "bearer")
COOKIE = CredentialPlace(PlaceKind.COOKIE, "session")
PARTNERS = Provider("partner-keys", "example", (HEADER, BEARER, COOKIE))
HELD = key()


def caller(seen: Request, *providers: Provider) -> Caller:
    return resolve(seen, plan(providers or (PARTNERS,)), keyring(HELD), NOW)


def invalid(detail: Detail) -> Caller:
    return Caller(ANONYMOUS, Standing.INVALID, detail)


def test_a_good_token_proves_the_keys_own_identity_and_says_where_it_stood() -> None:
    proven = caller(request(headers={"authorization": f"Bearer {TOKEN}"}))
    assert proven == Caller(HELD.identity, Standing.PROVEN, None, BEARER)
    assert proven.identity is HELD.identity


def test_no_credential_is_missing() -> None:
    assert caller(request()) is NOBODY
    assert resolve(request(headers={"x-api-key": TOKEN}), plan(()), keyring(HELD), NOW) is NOBODY


def test_two_credentials_are_ambiguous() -> None:
    seen = request(headers={"x-api-key": TOKEN, "authorization": f"Bearer {TOKEN}"})
    assert caller(seen) == Caller(ANONYMOUS, Standing.AMBIGUOUS)


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("", Detail.CREDENTIAL_MALFORMED),
        (f"{TOKEN} ", Detail.CREDENTIAL_MALFORMED),
        (f" {TOKEN}", Detail.CREDENTIAL_NOT_OWNED),
        ("eyJh.eyJz.c2ln", Detail.CREDENTIAL_NOT_OWNED),
        (token(secret=SECRET[1:] + "B"), Detail.KEY_SECRET_WRONG),
        (token(key_id="zzzzzzzzzzzz"), Detail.KEY_UNKNOWN),
    ],
)
def test_a_credential_that_proves_nothing_is_invalid_and_never_missing(text: str, detail: Detail) -> None:
    assert caller(request(headers={"x-api-key": text})) == invalid(detail)


def test_a_key_of_a_provider_that_is_not_named_is_invalid() -> None:
    others = Provider("others", "example", (HEADER,))
    assert caller(request(headers={"x-api-key": TOKEN}), others) == invalid(Detail.CREDENTIAL_NOT_OWNED)


def test_a_key_in_a_place_that_only_another_named_provider_reads_is_invalid() -> None:
    others = Provider("others", "example", (CredentialPlace(PlaceKind.HEADER, "x-other-key"),))
    seen = request(headers={"x-other-key": TOKEN})
    assert caller(seen, PARTNERS, others) == invalid(Detail.CREDENTIAL_NOT_OWNED)


def test_a_place_that_two_providers_share_accepts_the_owners_key() -> None:
    others = Provider("others", "example", (HEADER,))
    assert caller(request(headers={"x-api-key": TOKEN}), others, PARTNERS).standing is Standing.PROVEN


@pytest.mark.parametrize(
    ("method", "headers", "accepted"),
    [
        ("GET", {}, True),
        ("HEAD", {}, True),
        ("OPTIONS", {}, True),
        ("GET", {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}, True),
        ("POST", {}, False),
        ("PATCH", {}, False),
        ("POST", {"sec-fetch-site": "same-origin"}, True),
        ("DELETE", {"sec-fetch-site": "same-origin", "origin": "https://evil.example"}, True),
        ("POST", {"sec-fetch-site": "same-site"}, False),
        ("POST", {"sec-fetch-site": "none"}, False),
        ("POST", {"sec-fetch-site": ""}, False),
        ("POST", {"sec-fetch-site": "Same-Origin"}, False),
        ("POST", {"sec-fetch-site": "same-origin,same-origin"}, False),
        ("POST", {"sec-fetch-site": "cross-site", "origin": "https://items.example.com"}, False),
        ("POST", {"origin": "https://items.example.com"}, True),
        ("POST", {"origin": "http://items.example.com"}, False),
        ("POST", {"origin": "https://items.example.com:8443"}, False),
        ("POST", {"origin": "https://items.example.com.evil.example"}, False),
        ("POST", {"origin": "null"}, False),
        ("POST", {"origin": ""}, False),
    ],
)
def test_a_cookie_that_changes_something_must_come_from_our_own_pages(
    method: str, headers: dict[str, str], accepted: bool
) -> None:
    seen = request(method, headers={"cookie": f"session={TOKEN}", **headers})
    expected = Caller(HELD.identity, Standing.PROVEN, None, COOKIE)
    assert caller(seen) == (expected if accepted else invalid(Detail.COOKIE_CROSS_SITE))


def test_a_header_needs_no_origin() -> None:
    assert caller(request("POST", headers={"x-api-key": TOKEN})).standing is Standing.PROVEN


def test_a_caller_does_not_show_the_secret() -> None:
    for text in (TOKEN, TOKEN + "x"):
        assert SECRET not in repr(caller(request(headers={"x-api-key": text})))


def test_a_websocket_of_another_site_cannot_use_a_cookie() -> None:
    asked = request(headers={"sec-fetch-site": "cross-site"}, upgrade=("websocket",))
    assert not same_site(asked)
    assert same_site(request(headers={"sec-fetch-site": "same-origin"}, upgrade=("websocket",)))
