"""What the listener of Envoy's pages answers is asked of the real Envoy below; here, what is written."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from authz.model.address import TcpAddress, UnixAddress
from authz.model.errors import ConfigError
from authz.proxy import choices as chosen
from authz.proxy.bootstrap import written
from authz.proxy.client import request_bytes, send_raw
from authz.proxy.process import Child, Plan, free_port, http_get, program
from authz.proxy.stage import short_directory

PLAIN = chosen.EnvoyChoices(
    listen=TcpAddress("127.0.0.1", 8080),
    upstream=TcpAddress("127.0.0.1", 3000),
    authz=(TcpAddress("127.0.0.1", 9000), UnixAddress(Path("/run/authz/authz-0.sock"))),
)
STATS = replace(PLAIN, stats=TcpAddress("0.0.0.0", 9193))


def _document(choices: chosen.EnvoyChoices) -> dict[str, Any]:
    document = yaml.safe_load(written(choices))
    assert isinstance(document, dict)
    return document


def test_who_asks_for_no_pages_gets_no_listener_and_no_admin() -> None:
    document = _document(PLAIN)
    assert [one["name"] for one in document["static_resources"]["listeners"]] == ["ingress"]
    assert "admin" not in document


def test_the_pages_alone_are_what_an_admin_shows_that_nobody_asked_for() -> None:
    assert _document(STATS)["admin"] == {
        "address": {"pipe": {"path": "/run/authz/envoy-admin.sock", "mode": 0o600}},
        "allow_paths": [{"exact": "/ready"}, {"exact": "/stats/prometheus"}],
    }


def test_an_admin_that_was_asked_for_is_whole_and_where_it_was_asked_for() -> None:
    admin = TcpAddress("127.0.0.1", 9901)
    document = _document(replace(STATS, admin=admin))
    assert document["admin"] == {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 9901}}}
    cluster = next(one for one in document["static_resources"]["clusters"] if one["name"] == "admin")
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    assert endpoint["address"] == document["admin"]["address"]


def test_pages_need_a_place_for_the_admin() -> None:
    far = replace(STATS, authz=(TcpAddress("10.0.0.1", 9000),))
    with pytest.raises(ConfigError, match=r"--stats: .*--admin unix:/run/envoy/admin.sock"):
        chosen.check(far)
    named = replace(far, admin=UnixAddress(Path("/run/envoy/admin.sock")))
    assert chosen.check(named) is named
    assert chosen.check(STATS) is STATS


@pytest.fixture(scope="module")
def envoy() -> Iterator[tuple[int, Path]]:
    """Return the port of the pages of a real Envoy, and the socket of its admin."""
    port, directory = free_port(), short_directory()
    choices = replace(
        STATS,
        listen=TcpAddress("127.0.0.1", 0),
        stats=TcpAddress("127.0.0.1", port),
        authz=(UnixAddress(directory / "authz.sock"),),
    )
    config = directory / "envoy.yaml"
    config.write_text(written(choices))
    command = [program("envoy"), "-c", str(config), "--concurrency", "1", "--disable-hot-restart"]
    log = directory / "log"
    with ExitStack() as stack:
        child = stack.enter_context(Child(Plan("Envoy", [*command, "-l", "warning"], log, log)))
        child.wait_until(lambda: (http_get(port, "/ready") or (0, b""))[0] == 200)
        yield port, directory / "envoy-admin.sock"
        assert child.running


@pytest.mark.e2e
def test_readiness_and_metrics_of_the_real_envoy_are_there(envoy: tuple[int, Path]) -> None:
    assert http_get(envoy[0], "/ready") == (200, b"LIVE\n")
    _, page = http_get(envoy[0], "/stats/prometheus") or (0, b"")
    assert b"envoy_server_live{} 1" in page


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/quitquitquit"),
        ("GET", "/quitquitquit"),
        ("POST", "/ready"),
        ("HEAD", "/ready"),
        ("POST", "/stats/prometheus"),
        ("GET", "/ready/../quitquitquit"),
        ("POST", "/ready/..;/quitquitquit"),
        ("GET", "/stats/prometheus?filter=.*"),
        ("GET", "/stats"),
        ("GET", "/config_dump"),
        ("POST", "/healthcheck/fail"),
        ("GET", "/"),
    ],
)
def test_everything_else_is_404_there(envoy: tuple[int, Path], method: str, target: str) -> None:
    assert send_raw(envoy[0], request_bytes(method, target, [("host", "a.test")])).status == 404


@pytest.mark.e2e
def test_the_admin_behind_it_is_its_owners_alone_and_stops_nothing(envoy: tuple[int, Path]) -> None:
    assert envoy[1].stat().st_mode & 0o777 == 0o600
    with socket.socket(socket.AF_UNIX) as admin:
        admin.settimeout(10)
        admin.connect(str(envoy[1]))
        admin.sendall(request_bytes("POST", "/quitquitquit", [("host", "a.test")]))
        assert admin.recv(100).startswith(b"HTTP/1.1 403 ")
