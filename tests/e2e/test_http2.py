"""What only HTTP/2 can say of an open path; what it can say of a protected one: `tests/adversarial/`."""

from __future__ import annotations

import pytest

from tests.support.proxy import Live

pytestmark = pytest.mark.e2e

GET = [(":method", "GET"), (":scheme", "http"), (":authority", "open.test"), (":path", "/other")]


def test_a_plain_request_passes_so_that_the_others_can_fail(app: Live) -> None:
    reply, seen = app.send_list(GET)
    assert (reply.status, [each.path for each in seen]) == (200, ["/other"])


@pytest.mark.parametrize(
    "headers",
    [
        [*GET, ("x-a", "b\r\nx-auth-customer: root")],
        [*GET[:3], (":path", "")],
        [*GET[:3], (":path", "/a\r\nhost: x")],
        [*GET, ("connection", "x-auth-customer")],
    ],
    ids=repr,
)
def test_a_malformed_request_for_an_open_path_never_reaches_the_application(
    app: Live, headers: list[tuple[str, str]]
) -> None:
    reply, seen = app.send_list(headers)
    assert reply.status in (0, 400, 405)
    assert seen == []


def test_extended_connect_is_refused(app: Live) -> None:
    headers = [(":method", "CONNECT"), (":protocol", "websocket"), *GET[1:3], (":path", "/live"), app.key()]
    reply, seen = app.send_list(headers)
    assert reply.status in (0, 400, 403, 404, 405)
    assert seen == []


def test_connect_is_refused(app: Live) -> None:
    reply, seen = app.send_list([(":method", "CONNECT"), (":authority", "open.test:80")])
    assert reply.status in (0, 400, 403, 404, 405)
    assert seen == []


@pytest.mark.parametrize("scheme", ["ftp", "HTTP", "javascript", "https"])
def test_an_odd_scheme_opens_nothing(app: Live, scheme: str) -> None:
    headers = [(":method", "GET"), (":scheme", scheme), (":authority", "open.test"), (":path", "/admin")]
    reply, seen = app.send_list(headers)
    assert reply.status in (0, 400, 403)
    assert seen == []


def test_a_host_header_beside_the_authority_does_not_choose_another_judge(app: Live) -> None:
    headers = [(":method", "GET"), (":scheme", "http"), (":authority", "closed.test"), (":path", "/other")]
    reply, seen = app.send_list([*headers, ("host", "open.test")])
    assert reply.status in (0, 400, 403)
    assert seen == []


def test_cookies_in_pieces_are_one_cookie(app: Live) -> None:
    pieces = [("cookie", "theme=dark"), ("cookie", f"session={app.tokens['acme']}")]
    reply, seen = app.send2("GET", "/items", *pieces)
    assert reply.status == 200
    assert app.tokens["acme"] not in repr(seen)
    assert seen[0].values("cookie") == ["theme=dark"]
