from __future__ import annotations

import json
import socket
import stat
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from authz.model.address import TcpAddress, UnixAddress
from authz.model.errors import ConfigError
from authz.transport import ops
from authz.transport.ops import OpsServer
from authz.transport.routes import Page, Post, Response, Route, health

PATIENCE_S = 10.0


def crash(_: str) -> Response:
    raise RuntimeError("boom")


def echo(rest: str) -> Response:
    return Response(200, "text/plain", rest.encode())


def echo_body(body: bytes) -> Response:
    return Response(200, "text/plain", body[:100])


ROUTES: dict[str, Route] = {"/health": health(), "/logs/": echo, "/query": echo, "/crash": crash}
POSTS: dict[str, Post] = {"/limits/find": echo_body}
PAGES: dict[str, Page] = {"/metrics": echo}


@pytest.fixture
def server() -> Iterator[OpsServer]:
    server = OpsServer("127.0.0.1:0", ROUTES, POSTS, PAGES)
    server.start()
    yield server
    server.close()


def connect(server: OpsServer) -> socket.socket:
    address = server.address
    if isinstance(address, TcpAddress):
        connection = socket.create_connection((address.host, address.port))
    else:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(address.path))
    connection.settimeout(PATIENCE_S)
    return connection


def exchange(server: OpsServer, raw: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes as they are; return status, headers and body of what comes back."""
    with connect(server) as connection:
        connection.sendall(raw)
        reply = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = reply.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), body


def get(server: OpsServer, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    return exchange(server, f"{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())


def test_a_page_is_told_which_forms_its_caller_accepts(server: OpsServer) -> None:
    assert get(server, "/metrics")[2] == b""
    head = b"GET /metrics?x HTTP/1.1\r\nhost: x\r\nAccept: one;q=1\r\naccept: two\r\n\r\n"
    assert exchange(server, head)[2] == b"one;q=1,two"


def test_a_page_is_read_and_not_written(server: OpsServer) -> None:
    assert get(server, "/metrics", "POST")[0] == 405
    status, headers, body = get(server, "/metrics", "HEAD")
    assert (status, headers["content-length"], body) == (200, "0", b"")


def test_a_route_answers_and_says_nothing_of_the_server(server: OpsServer) -> None:
    status, headers, body = get(server, "/health?verbose")
    assert (status, json.loads(body)) == (200, {"status": "alive"})
    assert sorted(headers) == [
        "cache-control",
        "connection",
        "content-length",
        "content-type",
        "x-content-type-options",
    ]
    assert int(headers["content-length"]) == len(body)


def test_a_route_is_told_the_query(server: OpsServer) -> None:
    assert get(server, "/query?count=7&after=x%20y?z")[2] == b"count=7&after=x%20y?z"
    assert get(server, "/query")[2] == b""


def test_a_path_that_ends_in_a_slash_answers_for_what_is_below(server: OpsServer) -> None:
    assert get(server, "/logs/abc")[2] == b"abc"


@pytest.mark.parametrize("path", ["/", "/nowhere", "/logs/", "/logs", "/logs/a/b", "/health/"])
def test_any_other_path_is_a_problem(server: OpsServer, path: str) -> None:
    status, headers, body = get(server, path)
    assert (status, headers["content-type"]) == (404, "application/problem+json")
    assert json.loads(body)["status"] == 404


def test_head_has_the_head_alone(server: OpsServer) -> None:
    status, headers, body = get(server, "/health", "HEAD")
    assert (status, body) == (200, b"")
    assert headers["content-length"] == "20"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_any_other_method_is_a_problem_that_names_the_right_ones(server: OpsServer, method: str) -> None:
    status, headers, _ = get(server, "/health", method)
    assert (status, headers["allow"], headers["content-type"]) == (
        405,
        "GET, HEAD",
        "application/problem+json",
    )


def post(
    server: OpsServer, body: bytes, *headers: str, path: str = "/limits/find"
) -> tuple[int, dict[str, str], bytes]:
    said = "".join(
        f"{header}\r\n"
        for header in headers or ("content-type: application/json", f"content-length: {len(body)}")
    )
    return exchange(server, f"POST {path} HTTP/1.1\r\nhost: x\r\n{said}\r\n".encode() + body)


@pytest.mark.parametrize("size", [0, 2, 8000, 9000, 65536])
def test_what_is_posted_is_read_whole(server: OpsServer, size: int) -> None:
    body = b"x" * size
    assert post(server, body)[::2] == (200, body[:100])


def test_a_body_that_comes_later_than_its_head_is_waited_for(server: OpsServer) -> None:
    with connect(server) as connection:
        connection.sendall(b"POST /limits/find HTTP/1.1\r\ncontent-type: application/json; charset=utf-8\r\n")
        connection.sendall(b"content-length: 6\r\n\r\nabc")
        connection.sendall(b"def")
        assert b"".join(iter(lambda: connection.recv(65536), b"")).endswith(b"\r\n\r\nabcdef")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (("content-type: text/plain", "content-length: 2"), 415),
        (("content-length: 2",), 415),
        (("content-type: application/json", "content-length: 2", "origin: http://x"), 403),
        (("content-type: application/json", "content-length: 2", "origin: null"), 403),
        (("content-type: application/json",), 411),
        (("content-type: application/json", "transfer-encoding: chunked"), 411),
        (("content-type: application/json", "content-length: -2"), 411),
        (("content-type: application/json", "content-length: two"), 411),
        (("content-type: application/json", "content-length: 65537"), 413),
        (("content-type: application/json", "content-length: 999999999999"), 411),
    ],
)
def test_what_may_not_be_posted_is_a_problem_and_is_not_read(
    server: OpsServer, headers: tuple[str, ...], status: int
) -> None:
    got, told, _ = post(server, b"{}", *headers)
    assert (got, told["content-type"]) == (status, "application/problem+json")


def test_a_body_that_ends_early_is_a_problem(server: OpsServer) -> None:
    with connect(server) as connection:
        connection.sendall(
            b"POST /limits/find HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: 6\r\n\r\nabc"
        )
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_a_body_that_never_comes_is_not_waited_for_for_ever(
    server: OpsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ops, "HEAD_TIMEOUT_S", 0.2)
    with connect(server) as connection:
        connection.sendall(
            b"POST /limits/find HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: 6\r\n\r\n"
        )
        assert connection.recv(65536) == b""


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_what_is_posted_to_is_not_read_by_any_other_method(server: OpsServer, method: str) -> None:
    status, headers, _ = get(server, "/limits/find", method)
    assert (status, headers["allow"]) == (405, "POST")


def test_nothing_is_posted_where_nothing_is_asked_so(server: OpsServer) -> None:
    assert post(server, b"{}", path="/health")[0] == 405
    assert post(server, b"{}", path="/limits")[0] == 405


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"GET /health HTTP/9.9\r\n\r\n", 505),
        (b"GET /health HTTP/1.1\r\nx: " + b"a" * 9000, 431),
        (b"G" * 8192, 431),
    ],
)
def test_what_is_no_request_is_a_problem(server: OpsServer, raw: bytes, status: int) -> None:
    got, headers, body = exchange(server, raw)
    assert (got, headers["content-type"]) == (status, "application/problem+json")
    assert json.loads(body)["status"] == status


def test_one_connection_carries_one_request(server: OpsServer) -> None:
    twice = b"GET /health HTTP/1.1\r\n\r\n" * 2
    assert exchange(server, twice)[2].count(b"alive") == 1


def test_a_route_that_crashes_answers_500_and_stops_nobody_else(server: OpsServer) -> None:
    with capture_logs() as logs:
        assert get(server, "/crash")[0] == 500
    assert [event["event"] for event in logs] == ["route failed"]
    assert get(server, "/health")[0] == 200


def test_a_caller_who_hangs_up_before_the_reply_is_not_logged(server: OpsServer) -> None:
    with capture_logs() as logs:
        connection = connect(server)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset on close
        connection.sendall(b"GET /hea")
        connection.close()
        assert get(server, "/health")[0] == 200
    assert logs == []


def test_a_caller_who_says_nothing_or_hangs_up_is_let_go(
    server: OpsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ops, "HEAD_TIMEOUT_S", 0.05)
    with connect(server) as slow:
        slow.sendall(b"GET /hea")
        assert slow.recv(10) == b""
    connect(server).close()
    assert get(server, "/health")[0] == 200


def test_callers_beyond_the_bound_wait_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "CONNECTIONS_MAX", 2)
    gate, entered = threading.Event(), threading.Semaphore(0)

    def wait(_: str) -> Response:
        entered.release()
        gate.wait(PATIENCE_S)
        return Response(200, "text/plain", b"ok")

    server = OpsServer("127.0.0.1:0", {"/wait": wait})
    server.start()
    connections = [connect(server) for _ in range(5)]
    for connection in connections:
        connection.sendall(b"GET /wait HTTP/1.1\r\n\r\n")
    assert all(entered.acquire(timeout=PATIENCE_S) for _ in range(2))
    assert not entered.acquire(timeout=0.05)
    gate.set()
    for connection in connections:
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        connection.close()
    server.close()


def test_a_busy_port_is_one_line_that_says_what_to_do(server: OpsServer) -> None:
    with pytest.raises(ConfigError, match="stop what listens there or choose another address") as raised:
        OpsServer(str(server.address), ROUTES).start()
    assert str(server.address) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("address", ["no.such.host.invalid:1", "192.0.2.1:1"])
def test_an_address_that_is_not_ours_is_one_line(address: str) -> None:
    with pytest.raises(ConfigError, match="listener"):
        OpsServer(address, ROUTES).start()


def test_a_unix_socket_is_for_our_user_alone_and_goes_with_us(tmp_path: Path) -> None:
    path = tmp_path / "debug.sock"
    server = OpsServer(f"unix:{path}", ROUTES)
    server.start()
    assert server.address == UnixAddress(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert get(server, "/health")[0] == 200
    with pytest.raises(ConfigError, match="another process serves there"):
        OpsServer(f"unix:{path}", ROUTES).start()
    assert get(server, "/health")[0] == 200
    server.close()
    server.close()
    assert list(tmp_path.iterdir()) == []


def test_ipv6_loopback_works_where_there_is_one() -> None:
    server = OpsServer("[::1]:0", ROUTES)
    try:
        server.start()
    except ConfigError:
        pytest.skip("no IPv6 here")
    assert get(server, "/health")[0] == 200
    server.close()


def test_a_unix_path_that_cannot_be_bound_gives_its_lock_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    server = OpsServer(f"unix:{tmp_path}/debug.sock", ROUTES)
    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(ConfigError, match="operation not permitted"):
        server.start()
    assert list(tmp_path.glob("*.lock")) == []


def test_silent_connections_do_not_keep_a_probe_waiting(server: OpsServer) -> None:
    silent = [connect(server) for _ in range(3 * ops.CONNECTIONS_MAX)]
    try:
        began = time.monotonic()
        assert get(server, "/health")[0] == 200
        assert time.monotonic() - began < ops.HEAD_TIMEOUT_S / 2
    finally:
        for connection in silent:
            connection.close()


def test_a_silent_connection_alone_keeps_its_time(server: OpsServer) -> None:
    with connect(server) as connection:
        time.sleep(3 * ops.CROWDED_HEAD_S)
        connection.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9193", 200),
        ("localhost", 200),
        ("LOCALHOST", 421),
        ("[::1]:9193", 200),
        ("evil.example", 421),
        ("evil.example:9193", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("localhost@evil.example", 421),
    ],
)
def test_what_is_private_is_asked_by_address_alone(host: str, status: int) -> None:
    """A web page may have a name lead to us, and would be told what we answer."""
    server = OpsServer("127.0.0.1:0", ROUTES, POSTS, private=True)
    server.start()
    try:
        read = f"GET /logs/x HTTP/1.1\r\nHost: {host}\r\n\r\n"
        posted = f"POST /limits/find HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        for request in (read, f"{posted}Content-Length: 2\r\n\r\n{{}}"):
            assert exchange(server, request.encode())[0] == status
    finally:
        server.close()


def test_at_a_unix_socket_the_name_in_the_url_does_not_matter(tmp_path: Path) -> None:
    server = OpsServer(f"unix:{tmp_path}/debug.sock", ROUTES, private=True)
    server.start()
    try:
        assert exchange(server, b"GET /logs/x HTTP/1.1\r\nHost: x\r\n\r\n")[0] == 200
    finally:
        server.close()
