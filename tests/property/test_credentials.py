"""Whatever is presented: only the token itself proves anything, and nothing raises."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from authz.identity.apikey import ALPHABET, Token, parse_token
from authz.identity.credential import plan
from authz.identity.removal import removal, strip
from authz.identity.resolve import resolve
from authz.model.identity import NOBODY, Caller, CredentialPlace, PlaceKind, Provider, Standing
from authz.model.reason import Detail
from authz.model.request import Request
from tests.support.keys import TOKEN, key, keyring
from tests.support.requests import request

NOW = 1_780_000_000_000_000
PLACES = {
    "header": CredentialPlace(PlaceKind.HEADER, "x-api-key"),
    "scheme": CredentialPlace(PlaceKind.HEADER, "authorization", "bearer"),
    "cookie": CredentialPlace(PlaceKind.COOKIE, "session"),
    "query": CredentialPlace(PlaceKind.QUERY, "api_key"),
}
PROVIDERS = [Provider("partner-keys", "example", tuple(PLACES.values()))]
PLAN, REMOVAL, RING = plan(PROVIDERS), removal(PROVIDERS), keyring(key())

words = st.text(ALPHABET, min_size=1, max_size=16)
junk = st.one_of(
    st.binary(max_size=40), st.text(max_size=20).map(lambda text: text.encode("utf-8", "replace"))
)
fragments = st.lists(
    st.one_of(
        junk,
        st.sampled_from(
            [b"Bearer", b" ", b",", b";", b"=", b'"', b"session", b"session=", b"Basic x", TOKEN.encode()]
        ),
    ),
    max_size=6,
).map(b"".join)
queries = st.lists(
    st.sampled_from(["api_key", "api%5Fkey", "%61pi_key", "=", "&", ";", "%", "+", TOKEN, "a", "\udcff"]),
    max_size=8,
).map("".join)


def caller(seen: Request) -> Caller:
    return resolve(seen, PLAN, RING, NOW)


def only(where: str, text: bytes) -> Request:
    """Return a request with this text in one place."""
    match where:
        case "header":
            return request(headers={"x-api-key": text})
        case "scheme":
            return request(headers={"authorization": b"Bearer " + text})
        case "cookie":
            return request(headers={"cookie": b"a=b; session=" + text})
        case _:
            return request(path="/?api_key=" + text.decode("latin-1"))


@given(
    brand=words,
    env=words,
    key_id=st.text(ALPHABET, min_size=12, max_size=12),
    secret=st.text(ALPHABET, min_size=43, max_size=43),
)
def test_every_token_reads_back(brand: str, env: str, key_id: str, secret: str) -> None:
    token = Token(brand, env, key_id, secret)
    assert parse_token(token.render(), brand, env) == token
    assert secret not in repr(token)


@given(st.text())
def test_no_other_text_is_a_token(text: str) -> None:
    assert isinstance(parse_token(text, "ak", "live"), Detail)
    assert isinstance(parse_token("ak_live_" + text, "ak", "live"), Detail)


@given(where=st.sampled_from(sorted(PLACES)), before=junk, after=junk)
def test_only_the_token_itself_proves_its_key(where: str, before: bytes, after: bytes) -> None:
    assert caller(only(where, TOKEN.encode())).standing is Standing.PROVEN
    assume(before or after)
    around = only(where, before + TOKEN.encode() + after)
    if where == "query" and after[:1] == b"&":
        return  # the next parameter
    if where == "cookie" and after[:1] == b";":
        return  # the next cookie
    assert caller(around).standing in {Standing.INVALID, Standing.AMBIGUOUS}


@given(header=fragments, authorization=fragments, cookie=fragments, query=queries)
def test_what_is_presented_is_never_missing_and_never_reaches_the_upstream(
    header: bytes, authorization: bytes, cookie: bytes, query: str
) -> None:
    headers = {"x-api-key": header, "authorization": authorization, "cookie": cookie}
    seen = request(path=f"/?{query}", headers=headers)
    assert caller(seen).standing is not Standing.MISSING
    stripped = strip(REMOVAL, seen, NOBODY)
    assert not {name for name, _ in stripped.set_headers} & set(stripped.headers)
    left = {name: value for name, value in headers.items() if name not in stripped.headers}
    left |= {name: value.encode() for name, value in stripped.set_headers}
    kept = (part for part in query.split("&") if part.partition("=")[0] not in stripped.query)
    after = request(path="/?" + "&".join(kept), headers=left)
    assert caller(after) is NOBODY
    assert strip(REMOVAL, after, NOBODY).query == ()


@given(first=st.sampled_from(sorted(PLACES)), second=st.sampled_from(sorted(PLACES)), text=words)
def test_two_places_are_always_ambiguous(first: str, second: str, text: str) -> None:
    assume(first != second)
    one, two = only(first, TOKEN.encode()), only(second, text.encode())
    both = request(path=f"/?{one.query or two.query}", headers={**one.headers, **two.headers})
    assert caller(both).standing is Standing.AMBIGUOUS


@given(place=st.integers(0, len(TOKEN) - 1), character=st.characters())
def test_one_changed_character_is_refused(place: int, character: str) -> None:
    assume(character != TOKEN[place])
    text = TOKEN[:place] + character + TOKEN[place + 1 :]
    assert isinstance(RING.verify(text, NOW, request().client), Detail)
