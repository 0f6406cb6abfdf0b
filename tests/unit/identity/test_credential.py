"""Exactly one credential, in exactly one place, exactly as it stands."""

from __future__ import annotations

import time

import pytest

from authz.identity.credential import Absence, Found, find, plan
from authz.model.identity import CredentialPlace, PlaceKind, Provider
from tests.support.keys import TOKEN
from tests.support.requests import request

HEADER = CredentialPlace(PlaceKind.HEADER, "x-api-key")
BEARER = CredentialPlace(PlaceKind.HEADER, "authorization", "bearer")
DASHED = CredentialPlace(PlaceKind.HEADER, "authorization", "x-key")
COOKIE = CredentialPlace(PlaceKind.COOKIE, "session")
QUERY = CredentialPlace(PlaceKind.QUERY, "api_key")
EVERYWHERE = Provider("partner-keys", "example", (HEADER, BEARER, COOKIE, QUERY))


def sight(
    place: CredentialPlace,
    headers: dict[str, str | bytes] | None = None,
    path: str = "/",
    repeated: frozenset[str] = frozenset(),
) -> str | Absence:
    seen = request(path=path, headers=headers, repeated=repeated)
    found = find(plan([Provider("p", "p", (place,))]), seen)
    if isinstance(found, Absence):
        return found
    assert found.place is place
    return found.text


def test_no_provider_means_no_look() -> None:
    assert find(plan([]), request(headers={"x-api-key": TOKEN})) is Absence.NONE


def test_a_request_without_any_credential_has_none() -> None:
    seen = request(path="/?a=1&b%20=2", headers={"authorization": "Basic eA==", "cookie": "a=b; sessions=1"})
    assert find(plan([EVERYWHERE]), seen) is Absence.NONE


@pytest.mark.parametrize(
    ("headers", "path", "place"),
    [
        ({"x-api-key": TOKEN}, "/", HEADER),
        ({"authorization": f"Bearer {TOKEN}"}, "/", BEARER),
        ({"cookie": f"a=b; session={TOKEN}"}, "/", COOKIE),
        ({}, f"/?a=b&api_key={TOKEN}", QUERY),
    ],
)
def test_one_credential_is_found_wherever_it_stands(
    headers: dict[str, str], path: str, place: CredentialPlace
) -> None:
    found = find(plan([EVERYWHERE]), request(path=path, headers=dict(headers)))
    assert found == Found(place, TOKEN, frozenset({"partner-keys"}))


def test_two_places_are_ambiguous_whether_or_not_the_values_are_alike() -> None:
    planned = plan([EVERYWHERE])
    for other in (TOKEN, "", "x"):
        for headers, path in (
            ({"x-api-key": TOKEN, "authorization": f"Bearer {other}"}, "/"),
            ({"x-api-key": TOKEN, "cookie": f"session={other}"}, "/"),
            ({"x-api-key": TOKEN}, f"/?api_key={other}"),
            ({"authorization": f"Bearer {TOKEN}", "cookie": f"session={other}"}, "/"),
        ):
            assert find(planned, request(path=path, headers=dict(headers))) is Absence.AMBIGUOUS


def test_a_place_that_two_providers_share_is_one_and_knows_both() -> None:
    planned = plan([Provider("a", "a", (HEADER,)), Provider("b", "b", (HEADER,))])
    found = find(planned, request(headers={"x-api-key": TOKEN}))
    assert found == Found(HEADER, TOKEN, frozenset({"a", "b"}))


def test_a_header_alone_is_taken_as_it_stands() -> None:
    for text in (TOKEN, "", " ", f" {TOKEN}", f"{TOKEN}\t", f'"{TOKEN}"'):
        assert sight(HEADER, {"x-api-key": text}) == text
    assert sight(HEADER, {"x-api-key": b"\xff\xe2\x80\x8b"}) == "\xff\xe2\x80\x8b"


@pytest.mark.parametrize("text", [f"{TOKEN},{TOKEN}", f"{TOKEN}, x", f"{TOKEN},", ",", f",{TOKEN}"])
def test_a_comma_in_a_header_is_a_second_value(text: str) -> None:
    assert sight(HEADER, {"x-api-key": text}) is Absence.AMBIGUOUS


def test_a_repeated_header_is_ambiguous_even_if_no_comma_tells() -> None:
    assert sight(HEADER, {"x-api-key": TOKEN}, repeated=frozenset({"x-api-key"})) is Absence.AMBIGUOUS
    assert sight(HEADER, {"x-api-key": TOKEN}, repeated=frozenset({"accept"})) == TOKEN


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_case_of_a_scheme_does_not_matter(scheme: str) -> None:
    assert sight(BEARER, {"authorization": f"{scheme} {TOKEN}"}) == TOKEN


def test_a_scheme_may_have_a_dash() -> None:
    assert sight(DASHED, {"authorization": f"X-Key {TOKEN}"}) == TOKEN


@pytest.mark.parametrize(
    "text",
    [
        f"Basic {TOKEN}",
        f"Bearerx {TOKEN}",
        f"xBearer {TOKEN}",
        f"X-Bearer {TOKEN}",
        f"Bearer-x {TOKEN}",
        TOKEN,
        "",
        "Basic YQ==, Digest x",
        "Basic Bearer",
        f"Ｂearer {TOKEN}",
    ],
)
def test_a_header_with_another_scheme_is_not_in_the_place(text: str) -> None:
    assert sight(BEARER, {"authorization": text}) is Absence.NONE
    assert sight(BEARER, {"authorization": text}, repeated=frozenset({"authorization"})) is Absence.NONE


@pytest.mark.parametrize(
    "text",
    [
        "Bearer",
        "Bearer ",
        f" Bearer {TOKEN}",
        f"\u200bBearer {TOKEN}",
        f"!Bearer {TOKEN}",  # how the older header map spells a byte that is not UTF-8
        f"Bearer! {TOKEN}",
        f"Bearer\t{TOKEN}",
        f"Bearer\u00a0{TOKEN}",
        f"Bearer:{TOKEN}",
        f"Bearer={TOKEN}",
        f'"Bearer {TOKEN}"',
    ],
)
def test_a_scheme_spelt_oddly_is_presented_and_empty(text: str) -> None:
    assert sight(BEARER, {"authorization": text}) == ""


def test_padding_after_a_scheme_stays_in_the_text() -> None:
    for text in (f" {TOKEN}", f"{TOKEN} ", f"\t{TOKEN}", f'"{TOKEN}"', f"{TOKEN} x"):
        assert sight(BEARER, {"authorization": f"Bearer {text}"}) == text


@pytest.mark.parametrize(
    "text",
    [
        f"Bearer {TOKEN},Bearer {TOKEN}",
        f"Basic YQ==, Bearer {TOKEN}",
        f"Bearer {TOKEN}, Basic YQ==",
        f"Bearer {TOKEN},",
        f",  bearer {TOKEN}",
        f"Bearer,{TOKEN}",
    ],
)
def test_our_scheme_among_several_elements_is_ambiguous(text: str) -> None:
    assert sight(BEARER, {"authorization": text}) is Absence.AMBIGUOUS


def test_a_repeated_header_with_our_scheme_is_ambiguous() -> None:
    headers: dict[str, str | bytes] = {"authorization": f"Bearer {TOKEN}"}
    assert sight(BEARER, headers, repeated=frozenset({"authorization"})) is Absence.AMBIGUOUS


def test_two_schemes_of_one_header_are_two_places_and_one_of_them_holds_it() -> None:
    planned = plan([Provider("a", "a", (BEARER, DASHED))])
    found = find(planned, request(headers={"authorization": f"X-Key {TOKEN}"}))
    assert isinstance(found, Found)
    assert found.place is DASHED


@pytest.mark.parametrize(
    ("query", "text"),
    [
        (f"api_key={TOKEN}", TOKEN),
        (f"b&api_key={TOKEN}&c=%zz", TOKEN),
        ("api_key=", ""),
        ("api_key", ""),
        ("api_key=a=b", "a=b"),
        ("api_key=%41", "%41"),
        (f"api_key={TOKEN};x=1", f"{TOKEN};x=1"),
        (f"api_key=+{TOKEN}", f"+{TOKEN}"),
    ],
)
def test_a_query_parameter_is_taken_as_it_stands(query: str, text: str) -> None:
    assert sight(QUERY, path=f"/?{query}") == text


@pytest.mark.parametrize(
    "query",
    [
        "api_key=1&api_key=1",
        "api_key=1&a=2&api_key",
        "api%5Fkey=1",
        "api%5fkey=1",
        "%61pi_key",
        "api_key=1&api%5Fkey=2",
        "%61%70%69%5f%6b%65%79=1",
    ],
)
def test_a_query_parameter_twice_or_spelt_otherwise_is_ambiguous(query: str) -> None:
    assert sight(QUERY, path=f"/?{query}") is Absence.AMBIGUOUS


@pytest.mark.parametrize(
    "query",
    ["API_KEY=1", "api_keys=1", "x=api_key", "a=1;api_key=2", "api%255Fkey=1", "api_key%00=1", "%zz=1", "%"],
)
def test_other_query_parameters_are_none_of_ours(query: str) -> None:
    assert sight(QUERY, path=f"/?{query}") is Absence.NONE


def test_a_query_of_any_characters_raises_nothing() -> None:
    assert sight(QUERY, path="/?%\udcff\ud800\u20ac=1&api_key=x") == "x"


def test_a_large_query_takes_linear_time() -> None:
    path = "/?" + "&".join(["%61pi_ke=1"] * 100_000)  # 1 MB of near misses
    started = time.perf_counter()
    assert sight(QUERY, path=path) is Absence.NONE
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (f"session={TOKEN}", TOKEN),
        (f"a=b; session={TOKEN}; c=d", TOKEN),
        ("session=", ""),
        (f'session="{TOKEN}"', f'"{TOKEN}"'),
        (f"session= {TOKEN}", f" {TOKEN}"),
        (f"session={TOKEN} ; a=b", f"{TOKEN} "),
        ("session=a=b", "a=b"),
        ("session", ""),
        (f"session ={TOKEN}", ""),
        (f" session={TOKEN}", ""),
        (f"a=b;session={TOKEN}", ""),
        (f"a=b;  session={TOKEN}", ""),
        (f"a=b; session={TOKEN}\u00e9", f"{TOKEN}\u00c3\u00a9"),
    ],
)
def test_a_cookie_is_read_strictly(text: str, value: str) -> None:
    assert sight(COOKIE, {"cookie": text}) == value


@pytest.mark.parametrize(
    "text",
    [
        "session=a; session=a",
        "session=a; session=b",
        "session=a; session",
        "session=a;session =b",
        "session=a,session=b",
        "a=b,session=a",
        "session=a,b=c",
        "session=a; b=c,d",
        "a=b session=a",
        "a=b\tsession=a",
        "a=b\x0bsession =a",
        "session=a session=b",
        "\x0csession=a",
    ],
)
def test_a_cookie_twice_or_beside_a_comma_or_behind_white_space_is_ambiguous(text: str) -> None:
    assert sight(COOKIE, {"cookie": text}) is Absence.AMBIGUOUS


def test_a_second_cookie_line_is_ambiguous_if_ours_is_in_either() -> None:
    repeated = frozenset({"cookie"})
    assert sight(COOKIE, {"cookie": "session=a; b=c"}, repeated=repeated) is Absence.AMBIGUOUS
    assert sight(COOKIE, {"cookie": "a=b,c=d"}, repeated=repeated) is Absence.NONE


@pytest.mark.parametrize(
    "text",
    ["", "a=session", "sessions=1", "Session=1", "xsession=1", "a=b,c=d", "a=my session", "a=b sessions=1"],
)
def test_other_cookies_are_none_of_ours(text: str) -> None:
    assert sight(COOKIE, {"cookie": text}) is Absence.NONE


def test_a_found_credential_does_not_show_itself() -> None:
    found = find(plan([EVERYWHERE]), request(headers={"x-api-key": "CANARY"}))
    assert "CANARY" not in repr(found) + str(found) + f"{[found]}"
