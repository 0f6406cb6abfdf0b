from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from authz.cli import door
from authz.model.address import TcpAddress, UnixAddress, parse_address
from authz.model.errors import ConfigError
from authz.transport.ops import OpsServer
from authz.transport.routes import Response


@pytest.fixture(params=["unix", "tcp"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[UnixAddress | TcpAddress]:
    where = f"unix:{tmp_path}/d.sock" if request.param == "unix" else "127.0.0.1:0"
    server = OpsServer(
        where,
        {
            "/seen": lambda _: Response(200, "text/plain", b"abcdef"),
            "/bad": lambda _: Response(400, "", b"{"),
        },
        {"/told": lambda body: Response(200, "application/json", body)},
    )
    server.start()
    yield server.address
    server.close()


def test_a_path_is_asked_for_and_json_is_posted(address: UnixAddress | TcpAddress) -> None:
    assert door.ask(address, "/seen", 100) == (200, b"abcdef")
    assert door.ask(address, "/seen", 3).body == b"abc"
    assert door.ask(address, "/told", 100, b'{"a": 1}') == (200, b'{"a": 1}')


def test_why_something_is_refused_is_told(address: UnixAddress | TcpAddress) -> None:
    refused = door.ask(address, "/none", 1000)
    assert (refused.status, refused.detail) == (404, "Not Found")
    assert door.ask(address, "/bad", 1000).detail == ""
    assert door.Reply(400, b"[]").detail == ""
    assert door.Reply(400, b'{"title": "a", "detail": "b"}').detail == "b"


@pytest.mark.parametrize("where", ["unix:/nowhere/d.sock", "127.0.0.1:1"])
def test_where_nobody_answers_is_a_line(where: str) -> None:
    with pytest.raises(ConfigError, match="nobody answers at") as raised:
        door.ask(parse_address(where), "/seen", 100)
    assert "\n" not in str(raised.value)
