"""Headers in Envoy's two forms, and what is refused in them."""

from __future__ import annotations

import time
from typing import Any

import pytest
from envoy.service.auth.v3 import external_auth_pb2

from authz.model.reason import Detail
from authz.model.request import Request, Unreadable
from authz.model.site import DEFAULT_SITE, Listener, ReadingRules, Site
from authz.request.headers import normal_name
from authz.request.read import read
from tests.support.checks import Mode, add_joined, add_raw, check_request

OWNED = frozenset({"x-auth-key-id"})
RULES = ReadingRules(lambda host: DEFAULT_SITE, OWNED)
REMOVING = ReadingRules(lambda host: Site(remove_method_override=True), OWNED)
MODES: tuple[Mode, ...] = ("raw", "map")
both_modes = pytest.mark.parametrize("mode", MODES)


def readable(payload: bytes, rules: ReadingRules = RULES) -> Request:
    found = read(payload, rules)
    assert isinstance(found, Request), found
    return found


def fault(payload: bytes, rules: ReadingRules = RULES) -> Detail:
    found = read(payload, rules)
    assert isinstance(found, Unreadable), found
    return found.detail


def message(**changes: Any) -> Any:
    return external_auth_pb2.CheckRequest.FromString(check_request(**changes))


@both_modes
def test_repeated_headers_are_joined_with_commas_in_order(mode: Mode) -> None:
    found = readable(check_request(headers=[("x", "1"), ("y", "2"), ("x", "3"), ("x", "")], mode=mode))
    assert found.headers == {"x": b"1,3,", "y": b"2"}
    assert found.repeated == (frozenset({"x"}) if mode == "raw" else frozenset())


@both_modes
def test_bytes_that_are_not_utf8_become_exclamation_marks(mode: Mode) -> None:
    headers = [("x", b"a\xffb\xe2\x82"), ("y", "é".encode()), ("z", b"\xe2"), ("z", b"\x82\xac")]
    found = readable(check_request(headers=headers, mode=mode))
    assert found.headers == {"x": b"a!b!!", "y": "é".encode(), "z": b"!,!!"}


@both_modes
@pytest.mark.parametrize("value", ["a\nb", "a\r", "\0", "a\r\nx-admin: 1"])
def test_values_that_would_inject_headers_are_refused(value: str, mode: Mode) -> None:
    assert fault(check_request(headers=[("x", value)], mode=mode)) is Detail.HEADER_AMBIGUOUS


@both_modes
@pytest.mark.parametrize(
    "name", ["", "a b", "a:b", ":protocol", ":x", "é", "a\nb", "\n", "a\x00", "(a)", "a\n", "\na"]
)
def test_names_that_are_no_tokens_are_refused(name: str, mode: Mode) -> None:
    assert fault(check_request(headers=[("a", "1"), (name, "1")], mode=mode)) is Detail.HEADER_INVALID


def test_a_line_feed_in_a_name_does_not_pass_for_two_names_read_before() -> None:
    assert readable(check_request(headers=[("left", "1"), ("right", "2")]))
    assert fault(check_request(headers=[("left\nright", "1")])) is Detail.HEADER_INVALID


@pytest.mark.parametrize("name", [":method", ":path", ":authority", ":scheme", "host"])
@both_modes
def test_pseudo_headers_that_contradict_their_fields_are_refused(name: str, mode: Mode) -> None:
    payload = check_request(headers=[(name, "/other")], pseudo=False, mode=mode)
    assert fault(payload) is Detail.HEADER_AMBIGUOUS


@both_modes
def test_a_pseudo_header_sent_twice_is_refused(mode: Mode) -> None:
    assert fault(check_request(headers=[(":path", "/")], mode=mode)) is Detail.HEADER_AMBIGUOUS


@both_modes
def test_a_host_header_that_agrees_stays_a_header(mode: Mode) -> None:
    assert readable(check_request(headers=[("host", "example.com")], mode=mode)).headers == {
        "host": b"example.com"
    }


def test_both_forms_at_once_are_refused() -> None:
    check = message(headers=[("x", "1")])
    add_joined(check.attributes.request.http, [("x", "1")])
    assert fault(check.SerializeToString()) is Detail.HEADER_AMBIGUOUS


def test_a_raw_header_may_stand_in_value_but_not_in_both() -> None:
    check = message(headers=[("x", "1")])
    check.attributes.request.http.header_map.headers.add(key="y", value="2")
    assert readable(check.SerializeToString()).headers == {"x": b"1", "y": b"2"}
    check.attributes.request.http.header_map.headers.add(key="z", value="3", raw_value=b"4")
    assert fault(check.SerializeToString()) is Detail.HEADER_AMBIGUOUS


@both_modes
def test_names_are_lower_case(mode: Mode) -> None:
    check = message(mode=mode)
    http = check.attributes.request.http
    if mode == "raw":
        add_raw(http, [("X-Thing", "1"), ("X-Thing", "2")])
    else:
        http.headers["X-Thing"] = "1,2"
    found = readable(check.SerializeToString())
    assert found.headers == {"x-thing": b"1,2"}
    assert found.repeated <= {"x-thing"}


def test_two_names_that_differ_in_case_alone_are_refused() -> None:
    assert fault(check_request(headers=[("x-thing", "1"), ("X-Thing", "2")])) is Detail.HEADER_AMBIGUOUS


@both_modes
@pytest.mark.parametrize(
    ("name", "stray"),
    [
        ("x-authz-decision-id", True),
        ("x-authz-", True),
        ("x_authz_reason", True),
        ("x.authz-reason", True),
        ("x-auth-key-id", True),
        ("x_auth.key-id", True),
        ("x-auth-key-id2", False),
        ("x-auth-key", False),
        ("my-x-authz-reason", False),
        ("under_score", False),
    ],
)
def test_copies_of_headers_that_we_own_are_found(name: str, stray: bool, mode: Mode) -> None:
    found = readable(check_request(headers=[("a", "1"), (name, "forged")], mode=mode))
    assert found.strays == ((name,) if stray else ())


def test_strays_keep_the_spelling_in_which_they_came() -> None:
    headers = [("X-Authz-Reason", "1"), ("x_auth_key_id", "2"), ("x-auth-key-id", "3")]
    assert readable(check_request(headers=headers)).strays == (
        "X-Authz-Reason",
        "x-auth-key-id",
        "x_auth_key_id",
    )


def test_what_is_owned_changes_with_the_policy_set() -> None:
    payload = check_request(headers=[("x-team", "1")])
    assert readable(payload).strays == ()
    assert readable(payload, ReadingRules(lambda host: DEFAULT_SITE, frozenset({"x-team"}))).strays == (
        "x-team",
    )


@both_modes
@pytest.mark.parametrize(
    "name",
    ["x-http-method-override", "x-http-method", "x-method-override", "x_http_method", "x.method_override"],
)
def test_method_overrides_are_refused_or_removed_as_the_site_says(name: str, mode: Mode) -> None:
    payload = check_request("POST", headers=[(name, "DELETE")], mode=mode)
    assert fault(payload) is Detail.METHOD_OVERRIDE
    found = readable(payload, REMOVING)
    assert (found.method, found.strays) == ("POST", (name,))


@both_modes
@pytest.mark.parametrize(
    "header", [("upgrade", "h2c"), ("http2-settings", "AAMAAABk"), ("http2_settings", "")]
)
def test_http2_without_tls_is_refused(header: tuple[str, str], mode: Mode) -> None:
    assert fault(check_request(headers=[header], mode=mode)) is Detail.UPGRADE_REFUSED


@both_modes
def test_other_upgrades_are_listed(mode: Mode) -> None:
    assert readable(check_request(headers=[("upgrade", "WebSocket")], mode=mode)).upgrade == ("websocket",)
    strange = check_request(headers=[("upgrade", "WebSocket"), ("x_y", "")], mode=mode)
    assert readable(strange).upgrade == ("websocket",)


def test_a_grpc_call_is_known_by_its_content_type() -> None:
    assert readable(check_request("POST", headers=[("content-type", "application/grpc")])).grpc
    twice = [("content-type", "application/grpc"), ("content-type", "text/html")]
    assert fault(check_request("POST", headers=twice)) is Detail.HEADER_AMBIGUOUS


@both_modes
def test_too_many_headers_are_refused(mode: Mode) -> None:
    rules = ReadingRules(lambda host: DEFAULT_SITE, listener=Listener(max_header_count=10))
    headers = [(f"x-{n}", "1") for n in range(10)]
    assert len(readable(check_request(headers=headers, mode=mode), rules).headers) == 10
    headers.append(("y", "1"))
    assert fault(check_request(headers=headers, mode=mode), rules) is Detail.HEADERS_TOO_LARGE


@both_modes
def test_too_many_bytes_of_headers_are_refused(mode: Mode) -> None:
    rules = ReadingRules(lambda host: DEFAULT_SITE, listener=Listener(max_header_bytes=100))
    assert readable(check_request(headers=[("x" * 40, "1" * 60)], mode=mode), rules)
    assert fault(check_request(headers=[("x" * 41, "1" * 60)], mode=mode), rules) is Detail.HEADERS_TOO_LARGE


@both_modes
def test_headers_by_the_hundred_thousand_are_refused_unwalked(mode: Mode) -> None:
    check = message(mode="none")
    add = add_raw if mode == "raw" else add_joined
    add(check.attributes.request.http, [(f"{n}", "") for n in range(100_000)])
    payload = check.SerializeToString()
    began = time.process_time()
    assert fault(payload) is Detail.HEADERS_TOO_LARGE
    assert time.process_time() - began < 1  # parsing alone takes a few hundredths


def test_a_thousand_headers_are_read() -> None:
    headers = [(f"x-{n}", "v" * 40) for n in range(1000)]
    assert len(readable(check_request(headers=headers)).headers) == 1000


def test_names_have_one_normal_form() -> None:
    assert normal_name("X_Auth.Key-ID") == "x-auth-key-id"
