"""The door: whole checks in, a Request or the first fault out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from envoy.service.auth.v3 import external_auth_pb2

from authz.model.reason import Detail
from authz.model.request import NOWHERE, Client, Request, Unreadable
from authz.model.site import DEFAULT_SITE, Listener, ReadingRules, Site
from authz.request.read import read
from tests.support.checks import Mode, check_request, typical_check

RULES = ReadingRules(site_of=lambda host: DEFAULT_SITE, owned=frozenset({"x-auth-key-id"}))
MODES: tuple[Mode, ...] = ("raw", "map")


def rules(site: Site = DEFAULT_SITE, **listener: Any) -> ReadingRules:
    return ReadingRules(site_of=lambda host: site, owned=RULES.owned, listener=Listener(**listener))


def readable(payload: bytes, by: ReadingRules = RULES) -> Request:
    found = read(payload, by)
    assert isinstance(found, Request), found
    return found


def fault(payload: bytes, by: ReadingRules = RULES) -> Detail:
    found = read(payload, by)
    assert isinstance(found, Unreadable), found
    return found.detail


@pytest.mark.parametrize("mode", MODES)
def test_an_ordinary_request_is_read_whole(mode: Mode) -> None:
    found = readable(typical_check(mode, principal="spiffe://prod/ns/web/sa/front"))
    assert found.method == found.sent_method == "GET"
    assert (found.scheme, found.host) == ("http", "items.example.com")
    assert found.path == "/api/v1/items/42"
    assert found.segments == ("api", "v1", "items", "42")
    assert found.query == "limit=10"
    assert found.headers["accept"] == b"application/json"
    assert not [name for name in found.headers if name.startswith(":")]
    assert found.client == Client("10.0.0.1", "10.0.0.1/32", 40000, 4, 0x0A000001)
    assert found.principal == "spiffe://prod/ns/web/sa/front"
    assert found.protocol == "HTTP/1.1"
    assert found.size == -1
    assert found.time_us == 1_780_000_000_123_456
    assert found.request_id == "5b0d1f3c-93b6-4a30-9d25-6a3b7d0f2c11"
    assert found.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert (found.parent_span_id, found.sampled) == ("00f067aa0ba902b7", True)
    assert (found.upgrade, found.grpc, found.body, found.structural) == ((), False, b"", "")
    assert (found.repeated, found.strays) == (frozenset(), ())


def test_both_forms_of_headers_give_the_same_request() -> None:
    assert read(typical_check("raw"), RULES) == read(typical_check("map"), RULES)


def test_a_request_without_any_header_is_read_from_the_fields() -> None:
    assert readable(check_request(path="/a", mode="none")).headers == {}


def test_head_is_read_as_get_and_remembers_what_was_sent() -> None:
    found = readable(check_request("HEAD"))
    assert (found.method, found.sent_method) == ("GET", "HEAD")


@pytest.mark.parametrize("method", ["GET", "POST", "PROPFIND", "M-SEARCH", "A" * 32, "OPTIONS"])
def test_an_upper_case_token_is_a_method(method: str) -> None:
    assert readable(check_request(method)).sent_method == method


@pytest.mark.parametrize("method", ["get", "Get", "", "G ET", "GET\n", "GÉT", "A" * 33, "X" * 65536, "trace"])
def test_anything_else_is_no_method(method: str) -> None:
    assert fault(check_request(method)) is Detail.METHOD_INVALID


@pytest.mark.parametrize("method", ["TRACE", "TRACK", "CONNECT"])
def test_methods_that_never_reach_an_upstream_are_refused(method: str) -> None:
    assert fault(check_request(method)) is Detail.METHOD_NOT_ALLOWED


def test_the_scheme_is_lower_case_and_known() -> None:
    assert readable(check_request(scheme="HTTPS")).scheme == "https"
    assert fault(check_request(scheme="ftp")) is Detail.SCHEME_INVALID


def test_forwarded_headers_do_not_change_the_scheme() -> None:
    assert readable(check_request(headers=[("x-forwarded-proto", "https")])).scheme == "http"


@pytest.mark.parametrize("payload", [b"\xff", b"\x0a\xff", b"\x0a\x02\x22", b"GET / HTTP/1.1\r\n\r\n"])
def test_bytes_that_are_no_message_are_undecodable(payload: bytes) -> None:
    assert read(payload, RULES) == Unreadable(Detail.UNDECODABLE)


def test_a_message_without_a_request_is_undecodable() -> None:
    assert fault(b"") is Detail.UNDECODABLE
    check = external_auth_pb2.CheckRequest()
    check.attributes.source.principal = "spiffe://prod/ns/web/sa/front"
    assert fault(check.SerializeToString()) is Detail.UNDECODABLE


def test_text_that_is_not_utf8_is_undecodable() -> None:
    payload = check_request(path="/MARK").replace(b"MARK", b"\xff\xfe\xfd\xfc")
    assert fault(payload) is Detail.UNDECODABLE


def test_a_message_above_the_limit_is_refused_unparsed() -> None:
    payload = check_request(raw_body=b"x" * 100)
    assert read(payload, rules(max_message_bytes=len(payload) - 1)) == Unreadable(Detail.TOO_LARGE)
    assert readable(payload, rules(max_message_bytes=len(payload))).body == b"x" * 100


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"host": "", "method": "get", "headers": [("", "")], "path": "//"}, Detail.HOST_INVALID),
        ({"method": "get", "headers": [("", "")], "path": "//"}, Detail.METHOD_INVALID),
        ({"headers": [("", "")], "path": "//"}, Detail.HEADER_INVALID),
        ({"path": "//?\x00"}, Detail.PATH_AMBIGUOUS),
        ({"path": "/?\x00"}, Detail.QUERY_INVALID),
    ],
)
def test_the_first_fault_answers(changes: dict[str, Any], expected: Detail) -> None:
    assert fault(check_request(**changes)) is expected


def test_a_refused_request_keeps_what_its_record_needs() -> None:
    headers = [
        ("content-type", "application/grpc"),
        ("x-request-id", "r-1"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("x-forwarded-for", "203.0.113.7"),
    ]
    payload = check_request("POST", "/a//b?secret=1", "Example.com", headers, scheme="https", size=7)
    assert read(payload, rules(trusted_hops=1)) == Unreadable(
        Detail.PATH_AMBIGUOUS,
        method="POST",
        host="Example.com",
        path="/a//b",
        scheme="https",
        protocol="HTTP/1.1",
        size=7,
        client=Client("203.0.113.7", "203.0.113.7/32", 40000, 4, 0xCB007107),
        grpc=True,
        request_id="r-1",
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        parent_span_id="00f067aa0ba902b7",
        sampled=True,
    )


@pytest.mark.parametrize("path", ["/fine", "/a//b"])
def test_the_span_that_the_call_itself_names_is_known_whether_or_not_the_request_can_be_read(
    path: str,
) -> None:
    payload = check_request("GET", path, "example.com", [("traceparent", f"00-{'1' * 32}-{'2' * 16}-00")])
    found = read(payload, rules(), f"00-{'3' * 32}-{'4' * 16}-01")
    assert (found.trace_id, found.parent_span_id, found.sampled) == ("3" * 32, "4" * 16, True)
    found = read(payload, rules())
    assert (found.trace_id, found.parent_span_id, found.sampled) == ("1" * 32, "2" * 16, False)


def test_headers_that_cannot_be_gathered_never_blame_the_trusted_proxy() -> None:
    payload = check_request(headers=[("x-forwarded-for", "203.0.113.7")] * 20)
    found = read(payload, rules(trusted_hops=1, max_header_count=10))
    assert isinstance(found, Unreadable)
    assert (found.detail, found.client) == (Detail.HEADERS_TOO_LARGE, NOWHERE)


def test_the_site_of_the_canonical_host_decides_how_a_path_is_read() -> None:
    sites = {"open.example.com": Site(keep_matrix=True)}
    by = ReadingRules(site_of=lambda host: sites.get(host, DEFAULT_SITE))
    found = readable(check_request(path="/a;x=1", host="OPEN.example.com.:80"), by)
    assert (found.path, found.structural) == ("/a;x=1", "/a")
    assert fault(check_request(path="/a;x=1", host="other.example.com"), by) is Detail.PATH_AMBIGUOUS


def test_a_long_path_is_refused_before_it_is_read() -> None:
    by = rules(Site(path_max_bytes=8))
    assert readable(check_request(path="/2345678?" + "q" * 100), by).path == "/2345678"
    assert fault(check_request(path="/23456789"), by) is Detail.PATH_TOO_LONG
    assert fault(check_request(path="/" * 1_000_000), by) is Detail.PATH_TOO_LONG


def test_a_query_longer_than_all_headers_may_be_is_refused() -> None:
    assert (
        fault(check_request(path="/a?" + "b" * 101), rules(max_header_bytes=100)) is Detail.HEADERS_TOO_LARGE
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"path": "/a", "query": "x=1"}, Detail.PATH_AMBIGUOUS),
        ({"path": "/a?x=2", "query": "x=1"}, Detail.PATH_AMBIGUOUS),
        ({"path": "/a", "fragment": "top"}, Detail.PATH_AMBIGUOUS),
    ],
)
def test_query_and_fragment_fields_may_not_contradict_the_path(
    changes: dict[str, Any], expected: Detail
) -> None:
    assert fault(check_request(**changes)) is expected


def test_a_query_field_that_repeats_the_path_is_no_contradiction() -> None:
    assert readable(check_request(path="/a?x=1", query="x=1")).query == "x=1"


def test_only_listed_context_and_metadata_are_read() -> None:
    check = external_auth_pb2.CheckRequest.FromString(check_request(context={"tier": "gold", "other": "no"}))
    spaces = check.attributes.metadata_context.filter_metadata
    spaces["jwt"].update({"sub": "a", "n": 1, "yes": True, "list": [1, "b", None], "deep": {"x": "y"}})
    spaces["secret"].update({"k": "v"})
    payload = check.SerializeToString()
    found = readable(
        payload, rules(context=frozenset({"tier", "absent"}), metadata=frozenset({"jwt", "none"}))
    )
    assert found.context == {"tier": "gold"}
    assert found.metadata == {
        "jwt": {"sub": "a", "n": 1.0, "yes": True, "list": [1.0, "b", None], "deep": {"x": "y"}}
    }
    assert (readable(payload).context, readable(payload).metadata) == ({}, {})


def test_the_body_comes_from_either_field() -> None:
    assert readable(check_request(raw_body=b"\xff")).body == b"\xff"
    assert readable(check_request(body="é")).body == "é".encode()


def test_a_time_that_cannot_be_is_no_time() -> None:
    check = external_auth_pb2.CheckRequest.FromString(check_request())
    check.attributes.request.time.seconds = 2**62
    assert readable(check.SerializeToString()).time_us == 0


def test_a_peer_on_a_unix_socket_has_no_address() -> None:
    assert readable(check_request(pipe="/run/peer.sock")).client == NOWHERE


def test_time_and_body_are_left_alone_where_nobody_asks_for_them() -> None:
    check = external_auth_pb2.CheckRequest.FromString(check_request(raw_body=b"x"))
    check.attributes.request.time.seconds = 1
    found = read(check.SerializeToString(), RULES)
    unasked = read(check.SerializeToString(), replace(RULES, time=False, body=False))
    assert isinstance(found, Request)
    assert isinstance(unasked, Request)
    assert (found.body, unasked.body) == (b"x", b"")
    assert (found.time_us, unasked.time_us) == (1_000_000, 0)
