from __future__ import annotations

import pytest

from authz.model.errors import ConfigError
from authz.model.identity import CredentialPlace, PlaceKind
from authz.record.redact import check_header_names, clean, clean_authority, clean_path, recordable


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "Proxy-Authorization",
        "cookie",
        "set-cookie",
        "x-api-key",
        "x_api_key",
        "x.api.key",
        "apikey",
        "x-auth-token",
        "x-amz-security-token",
        "x-csrf-token",
        "x-session-id",
        "signature",
        "signature-input",
        "x-goog-iap-jwt-assertion",
        "x-forwarded-client-cert",
    ],
)
def test_a_place_where_a_credential_may_stand_is_refused_in_any_spelling(name: str) -> None:
    with pytest.raises(ConfigError, match="never recorded") as raised:
        check_header_names(["user-agent", name])
    assert "\n" not in str(raised.value)
    assert recordable([name], ()) == ()


def test_plain_headers_pass() -> None:
    names = ("user-agent", "x-request-id", "accept-language", "content-type", "referer")
    check_header_names(names)
    assert recordable(names, ()) == names


def test_a_header_that_a_provider_reads_is_never_recorded_in_any_spelling() -> None:
    places = [
        CredentialPlace(PlaceKind.HEADER, "x-partner-id"),
        CredentialPlace(PlaceKind.COOKIE, "user-agent"),
    ]
    assert recordable(("x_partner.id", "user-agent"), places) == ("user-agent",)


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("/a?b=c", "/a"),
        ("/a#b", "/a"),
        ("/a%3fb", "/a"),
        ("/@user/x", "/@user/x"),
        ("http://u:p@h/x", "http://h/x"),
        ("//u:p@h/x", "//h/x"),
        ("u:p@h", "h"),
        ("", ""),
    ],
)
def test_a_raw_path_loses_query_fragment_and_userinfo(raw: str, kept: str) -> None:
    assert clean_path(raw) == kept


@pytest.mark.parametrize(("raw", "kept"), [("u:p@a.example:1", "a.example:1"), ("a.example?x", "a.example")])
def test_a_raw_host_loses_userinfo_and_query(raw: str, kept: str) -> None:
    assert clean_authority(raw) == kept


def test_what_is_cut_is_counted() -> None:
    assert clean("abcdef", 6) == "abcdef"
    assert clean("abcdefg", 6) == "abcdef...[+1 characters]"
    assert clean("\x00" * 7, 12) == "\x00\x00...[+5 characters]"
