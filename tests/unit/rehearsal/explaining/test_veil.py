from __future__ import annotations

import msgspec
import pytest

from authz.model.identity import CredentialPlace, PlaceKind
from authz.rehearsal.explaining.veil import Veil
from tests.support.explaining import ask
from tests.support.policies import PROVIDER, MadeKey, load

PLACES = (
    CredentialPlace(PlaceKind.HEADER, "x-partner", "bearer"),
    CredentialPlace(PlaceKind.COOKIE, "session"),
    CredentialPlace(PlaceKind.QUERY, "k"),
)
SECRET = "swordfish-77"
JWT = "eyJhbGciOiJSUzI1NiJ9." + "eyJzdWIiOiJhIn0" * 40 + ".c2ln"


def veil(*headers: tuple[str, str], target: str = "/") -> Veil:
    return Veil([(name, value.encode()) for name, value in headers], target, PLACES)


@pytest.mark.parametrize(
    "made",
    [
        veil(("X-Partner", f"Bearer {SECRET}")),
        veil(("authorization", f"Basic {SECRET}")),
        veil(("x-auth-token", SECRET)),
        veil(("cookie", f"a=b; session={SECRET}")),
        veil(("cookie", f'theme="{SECRET}"')),
        veil(target=f"/?a=b&k={SECRET}"),
        veil(target=f"/?api%5Fkey={SECRET}"),
        veil(target="/?k=swordfish%2D77"),
    ],
)
def test_a_credential_is_covered_wherever_it_stands(made: Veil) -> None:
    assert made.cover(SECRET) == "***"
    assert made.cover(f"x={SECRET}&y") == "x=***&y"
    assert SECRET not in repr(made)


def test_the_beginning_of_a_long_one_is_enough() -> None:
    made = veil(("authorization", f"Bearer {JWT}"))
    assert made.cover(f'the value "{JWT[:100]}...') == 'the value "***'


def test_what_is_escaped_on_its_way_into_json_is_covered_too() -> None:
    made = veil(("x-api-key", "swörd\tfish"))
    assert made.cover('a "sw\\u00f6rd\\tfish" b') == 'a "***" b'


def test_short_ones_are_covered_where_they_stand_alone_and_cover_no_words() -> None:
    made = veil(("x-partner", "Bearer abc"))
    assert made.cover("abc") == "***"
    assert made.cover("abcde is a Bearer of x-partner") == "abcde is a Bearer of x-partner"
    assert made.cover("bearer") == "bearer"
    assert made.cover("") == ""


def test_what_has_the_form_of_a_token_is_covered_whoever_sent_it() -> None:
    token = MadeKey("k").token
    assert veil().cover(f"/items/{token}") == f"/items/{token[:21]}***"


def test_nothing_of_a_real_request_shows_a_credential() -> None:
    """A policy may copy what it likes into headers, bucket names and conditions."""
    policy = """
kind: Policy
metadata: {name: p}
spec:
  hosts: [items.example.com]
  rules:
    - name: r
      effect: allow
      identity: [anyone]
      when: >-
        request.headers["x-api-key"] != "" && request.query["api_key"][0] != "" && "cookie" in request.headers
      limits: [l]
  onAllow: {headers: {x-copy: 'request.headers["x-api-key"]', x-two: 'request.headers["cookie"]'}}
---
kind: Limit
metadata: {name: l}
spec: {per: ['request.headers["x-api-key"]'], rate: 1/s}
"""
    built = load(PROVIDER, policy)
    told = ask(
        built,
        f"/?api_key={SECRET}",
        headers={"x-api-key": SECRET, "cookie": f"session={SECRET}", "authorization": f"Bearer {JWT}"},
    )
    text = msgspec.json.encode(told).decode()
    assert told.answer.outcome == "allow"
    assert SECRET not in text
    assert JWT[:20] not in text
    assert told.upstream is not None
    assert told.upstream.sets["x-copy"] == "***"
