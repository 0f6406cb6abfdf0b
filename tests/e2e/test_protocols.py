"""Methods, upgrades, gRPC and sizes through the real Envoy."""

from __future__ import annotations

import json
import socket

import pytest

from authz.proxy.client import request_bytes
from tests.support.proxy import Live

pytestmark = pytest.mark.e2e

_UPGRADE = (
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
)


def test_head_is_judged_as_get_and_passed_on_as_head(app: Live) -> None:
    reply, seen = app.send("HEAD", "/items", app.key())
    assert (reply.status, reply.body, [each.method for each in seen]) == (200, b"", ["HEAD"])
    reply, seen = app.send("HEAD", "/items")
    assert (reply.status, reply.body, seen) == (401, b"", [])


def test_tracing_methods_are_refused(app: Live) -> None:
    reply, seen = app.send("TRACE", "/public/a")
    assert (reply.status, seen) == (405, [])
    for method in ("TRACE", "TRACK"):  # Envoy's parser of HTTP/1.1 knows no TRACK and refuses it itself
        reply, seen = app.send2(method, "/public/a")
        assert (reply.status, seen) == (405, [])


@pytest.mark.parametrize("method", ["get", "CONNECT", "G ET"])
def test_odd_methods_never_reach_the_application(app: Live, method: str) -> None:
    reply, seen = app.send(method, "/public/a")
    assert reply.status in (0, 400, 404, 405)
    assert seen == []


@pytest.mark.parametrize("name", ["x-http-method-override", "x-http-method", "x-method-override"])
def test_a_method_is_not_overridden(app: Live, name: str) -> None:
    reply, seen = app.send("POST", "/public/a", (name, "DELETE"))
    assert (reply.status, seen) == (400, [])


def test_options_has_no_free_pass(app: Live) -> None:
    reply, seen = app.send("OPTIONS", "/items", ("origin", "https://a.example"))
    assert (reply.status, seen) == (403, [])


def _websocket(app: Live, *headers: tuple[str, str], target: str = "/live") -> bytes:
    data = request_bytes("GET", target, [("host", "app.test"), *headers, *_UPGRADE])
    data = data.replace(b"connection: close\r\n", b"")
    app.stage.upstream.take()
    with socket.create_connection(("127.0.0.1", app.stage.port), 5) as connection:
        connection.sendall(data)
        head = connection.recv(4096)
        if b" 101 " in head.split(b"\r\n")[0]:
            connection.sendall(b"frame")
            return connection.recv(16)
        return head.split(b"\r\n")[0]


def test_a_websocket_opens_where_a_rule_says_so(app: Live) -> None:
    assert _websocket(app, app.key()) == b"frame"


def test_a_websocket_without_a_key_is_refused(app: Live) -> None:
    assert b" 401 " in _websocket(app)
    assert app.stage.upstream.take() == []


def test_a_websocket_where_no_rule_names_it_is_refused(app: Live) -> None:
    assert b" 403 " in _websocket(app, app.key(), target="/items")
    assert app.stage.upstream.take() == []


def test_the_rule_of_a_websocket_does_not_fit_a_plain_request(app: Live) -> None:
    reply, seen = app.send("GET", "/live", app.key())
    assert (reply.status, seen) == (403, [])


@pytest.mark.parametrize("extra", [("upgrade", "h2c"), ("http2-settings", "AAMAAABkAAQAAP__")])
def test_h2c_is_refused(app: Live, extra: tuple[str, str]) -> None:
    data = request_bytes("GET", "/public/a", [("host", "app.test"), extra]).replace(
        b"connection: close", b"connection: upgrade, http2-settings"
    )
    reply, seen = app.send_bytes(data)
    # Envoy takes `upgrade: h2c` out by itself; what it leaves in is refused.
    assert reply.status == 400 or (reply.status, seen[0].values("upgrade"), seen[0].values(extra[0])) == (
        200,
        [],
        [],
    )


def test_a_grpc_caller_is_refused_in_its_own_words(app: Live) -> None:
    headers = [("content-type", "application/grpc"), ("te", "trailers")]
    reply, seen = app.send2("POST", "/app.v1.Items/List", *headers, body=b"\0\0\0\0\0")
    assert (reply.status, reply.header("grpc-status"), seen) == (200, "16", [])
    message = reply.header("grpc-message")
    assert message
    assert "{" not in message


def test_a_grpc_caller_is_told_our_code_and_not_the_one_that_envoy_would_choose(app: Live) -> None:
    grpc = (("content-type", "application/grpc"), ("te", "trailers"))

    def status(path: str) -> str:
        return app.send2("POST", path, app.key(), *grpc, body=b"\0\0\0\0\0")[0].header("grpc-status") or ""

    assert status("/app.v1.Other/List") == "7"
    assert status("/app.v1.Items/List;x=1") == "3"
    status("/app.v1.Rare/Get")
    assert status("/app.v1.Rare/Get") == "8"


def test_a_grpc_rule_fits_grpc_alone(app: Live) -> None:
    reply, seen = app.send("POST", "/app.v1.Items/List", app.key(), ("content-type", "application/json"))
    assert (reply.status, seen) == (403, [])
    grpc = ("content-type", "application/grpc+proto")
    reply, seen = app.send2("POST", "/app.v1.Items/List", app.key(), grpc, body=b"\0\0\0\0\0")
    assert [each.path for each in seen] == ["/app.v1.Items/List"]


def test_a_refusal_is_a_problem_document_that_matches_its_headers(app: Live) -> None:
    reply, _ = app.send("GET", "/items")
    problem = json.loads(reply.body)
    assert reply.header("content-type") == "application/problem+json"
    assert (problem["status"], problem["reason"]) == (401, reply.header("x-authz-reason"))
    assert problem["decision_id"] == reply.header("x-authz-decision-id")


def test_limits_hold_through_envoy_to_the_last_token(app: Live) -> None:
    statuses = [app.send("GET", "/tenth", app.key("tester"))[0].status for _ in range(12)]
    assert statuses == [200] * 10 + [429] * 2


@pytest.mark.parametrize("count", [90, 101, 1000])
def test_many_headers_are_answered_or_refused_and_never_let_through_unjudged(app: Live, count: int) -> None:
    headers = [(f"h{number}", "v") for number in range(count)]
    reply, seen = app.send("GET", "/items", *headers)
    assert reply.status in (401, 431)
    assert seen == []


@pytest.mark.parametrize("kib", [50, 59, 61, 200])
def test_big_headers_are_answered_or_refused(app: Live, kib: int) -> None:
    reply, seen = app.send("GET", "/items", ("big", "v" * (kib * 1024)))
    assert reply.status in (401, 431)
    assert seen == []


def test_big_headers_with_a_good_key_pass(app: Live) -> None:
    reply, seen = app.send("GET", "/items", app.key(), ("big", "v" * 50_000))
    assert (reply.status, len(seen)) == (200, 1)


def test_a_path_longer_than_8_kib_is_refused(app: Live) -> None:
    reply, seen = app.send("GET", "/public/" + "a" * 9000)
    assert (reply.status, seen) == (414, [])


def test_a_long_query_is_judged_in_time(app: Live) -> None:
    reply, seen = app.send("GET", "/public/a?" + "&".join(f"p{n}=%zz" for n in range(5000)))
    assert (reply.status, len(seen)) == (200, 1)


def test_the_body_passes_untouched(app: Live) -> None:
    reply, seen = app.send("POST", "/items", app.key(), body=b"\xff\x00body")
    assert (reply.status, seen[0].body) == (200, b"\xff\x00body")


@pytest.mark.parametrize("value", ["caf\xe9", "\x80\xff", "a\tb"])
def test_header_bytes_that_are_not_utf8_do_not_break_a_check(app: Live, value: str) -> None:
    reply, seen = app.send("GET", "/items", app.key(), ("x-odd", value))
    assert (reply.status, len(seen)) == (200, 1)
    reply, seen = app.send("GET", "/items", ("x-odd", value))
    assert (reply.status, seen) == (401, [])
