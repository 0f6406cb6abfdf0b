from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.model.errors import ConfigError
from authz.model.identity import CredentialPlace, PlaceKind
from authz.record.redact import (
    check_header_names,
    check_hidden_headers,
    clean,
    clean_authority,
    clean_path,
    recordable,
    without_key_ids,
)


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
        "x-auth",
        "x-authkey",
        "Authorisation",
        "x-user-pass",
        "x-pwd",
        "x-passphrase",
        "connect.sid",
        "x-arr-clientcert",
        "x-ssl-cert",
        "dpop",
        "x-hmac-sha256",
        "x-sign",
        "x-otp",
        "x-mfa",
        "sec-websocket-protocol",
        "x-request-body",
        "x-co-okie",
        "x-api~key",
        "pass-word",
    ],
)
def test_a_place_where_a_credential_may_stand_is_refused_in_any_spelling(name: str) -> None:
    with pytest.raises(ConfigError, match="never recorded") as raised:
        check_header_names(["user-agent", name])
    assert "\n" not in str(raised.value)
    assert recordable([name], ()) == ()


@given(
    st.sampled_from(
        [
            "authorization",
            "cookie",
            "set-cookie",
            "api-key",
            "token",
            "secret",
            "password",
            "session",
            "signature",
        ]
    ),
    st.tuples(st.sampled_from(["", "x", "proxy", "my-app"]), st.sampled_from(["", "id", "2", "value"])),
    st.sampled_from("-_.~!|"),
    st.data(),
)
def test_no_prefix_suffix_separator_or_case_makes_a_credential_recordable(
    word: str, around: tuple[str, str], separator: str, data: st.DataObject
) -> None:
    parts = [part for part in (around[0], word, around[1]) if part]
    name = separator.join(parts).replace("-", separator)
    spelled = "".join(data.draw(st.sampled_from((each.lower(), each.upper()))) for each in name)
    assert recordable([spelled], ()) == ()


def test_plain_headers_pass() -> None:
    names = (
        "user-agent", "x-request-id", "accept-language", "content-type", "referer", "origin", "x-app-version",
        "traceparent", "x-forwarded-for", "x-passenger-count", "x-authz-reason", "if-none-match", "x-design",
    )  # fmt: skip
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


def test_of_a_masked_token_the_key_id_can_be_taken_out_too() -> None:
    assert without_key_ids(b"/a/ak_live_k7Qm2VxP0aZs_***/b") == b"/a/ak_live_***/b"
    assert without_key_ids(b"/ak%5Flive%5Fk7Qm2VxP0aZs%5F***") == b"/ak%5Flive%5F***"
    assert without_key_ids(b"/ak%255Flive%255Fk7Qm2VxP0aZs%25***") == b"/ak%255Flive%255F***"
    assert without_key_ids(b"/a/k7Qm2VxP0aZs/b") == b"/a/k7Qm2VxP0aZs/b"


@pytest.mark.parametrize(
    "name",
    [
        "x-forwarded-for",
        "Forwarded",
        "x-real-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "X_Client_IP",
        "x-remote-addr",
        "x-envoy-external-address",
    ],
)
def test_a_header_that_tells_the_address_is_refused_where_the_address_is_hidden(name: str) -> None:
    with pytest.raises(ConfigError, match="record_pseudonyms hides"):
        check_hidden_headers(["user-agent", name], ["client_address"])
    check_hidden_headers([name], ["customer"])
    check_hidden_headers(["x-forwarded-proto", "user-agent"], ["client_address"])
