from __future__ import annotations

from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from authz.cli.envoy_config import app
from authz.proxy.process import free_port
from authz.proxy.upstream import Upstream


def _ask(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["ask", *arguments])
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(scope="module")
def at() -> Iterator[str]:
    with Upstream() as upstream:
        yield f"127.0.0.1:{upstream.port}"


def test_every_answer_as_expected_is_code_0_and_a_line_each(at: str) -> None:
    assert _ask("--at", at, "200 GET /a", "200 POST /b") == (
        0,
        "ok     GET /a: 200\nok     POST /b: 200\n",
        "",
    )


def test_one_that_is_not_is_code_1_and_the_others_are_sent_all_the_same(at: str) -> None:
    code, text, _ = _ask(
        "--at", at, "--host", "a.test", "--header", "x-a: b", "403 GET /a forbidden", "200 GET /b"
    )
    assert code == 1
    assert text == "WRONG  GET /a: 200, expected was 403 forbidden\nok     GET /b: 200\n"


def test_nobody_there_is_code_3_and_a_sentence() -> None:
    where = f"127.0.0.1:{free_port()}"
    code, text, errors = _ask("--at", where, "--wait", "0", "200 GET /a")
    assert (code, text, errors.count("\n")) == (3, "", 1)
    assert errors.startswith(f"authz: --at: nobody answers at `{where}`: connection refused; is it running")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--at", "items", "200 GET /"), "--at: `items` is not HOST:PORT"),
        (("--at", "a:1", "GET /"), "`GET /` is no expectation"),
        (("--at", "a:1", "--host", "a b", "200 GET /"), "--host: it is no host"),
        (("--at", "a:1", "--header", "a", "200 GET /"), "--header: one is no header"),
        (("--at", "a:1", "--header", "a: b\r\nc: d", "200 GET /"), "--header: one is no header"),
    ],
)
def test_what_cannot_be_sent_is_code_2_and_a_sentence(arguments: tuple[str, ...], said: str) -> None:
    code, text, errors = _ask(*arguments)
    assert (code, text, errors.count("\n")) == (2, "", 1)
    assert errors.startswith(f"authz: {said}")
