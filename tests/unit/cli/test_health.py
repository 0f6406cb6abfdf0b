from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from authz.proxy.process import free_port
from authz.transport.ops import OpsServer
from authz.transport.routes import Response
from tests.support.command import run


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
        done = run("health", "--ops", address)
    assert (done.returncode, done.stdout, done.stderr) == (code, out, err)


def test_nobody_there_is_code_3_and_names_the_flag() -> None:
    where = f"127.0.0.1:{free_port()}"
    done = run("health", "--ops", where)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        f"authz: --ops: nobody answers at {where}: connection refused; is it the address of `serve --ops`?\n"
    )


def test_where_operations_are_off_nobody_can_say() -> None:
    done = run("health", "--ops", "off")
    assert done.returncode == 3
    assert done.stderr == "authz: --ops: is off, so nobody can say; name an address where /health is\n"
