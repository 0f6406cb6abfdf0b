from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner

from authz.cli.main import build
from authz.proxy.process import free_port
from authz.transport.ops import OpsServer
from authz.transport.routes import Response


def _health(address: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(build(["health"]), ["health", "--ops", address])
    return done.exit_code, done.stdout, done.stderr


@contextmanager
def _operations(status: int) -> Iterator[str]:
    server = OpsServer("127.0.0.1:0", {"/health": lambda _: Response(status, "application/json", b"{}")})
    server.start()
    try:
        yield str(server.address)
    finally:
        server.close()


@pytest.mark.parametrize(
    ("status", "code", "out", "err"),
    [
        (200, 0, "alive\n", ""),
        (503, 1, "", "authz: /health says 503: checks are not being answered; restart it\n"),
    ],
)
def test_what_health_says_is_the_exit_code(status: int, code: int, out: str, err: str) -> None:
    with _operations(status) as address:
        assert _health(address) == (code, out, err)


def test_nobody_there_is_code_3_and_names_the_flag() -> None:
    where = f"127.0.0.1:{free_port()}"
    said = (
        f"authz: --ops: nobody answers at {where}: connection refused; is it the address of `serve --ops`?\n"
    )
    assert _health(where) == (3, "", said)


def test_where_operations_are_off_nobody_can_say() -> None:
    said = "authz: --ops: is off, so nobody can say; name an address where /health is\n"
    assert _health("off") == (3, "", said)
