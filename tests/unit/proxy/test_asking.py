from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from authz.model.address import TcpAddress
from authz.model.errors import ConfigError
from authz.proxy.asking import Answer, Expected, Patience, Silence, ask, expected, sender
from authz.proxy.process import free_port
from authz.proxy.upstream import Upstream

WANTED = Expected(200, "GET", "/a")


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def patience(self, wait_s: float) -> Patience:
        return Patience(wait_s, lambda: self.now_s, self._pause)

    def _pause(self, seconds: float) -> None:
        self.now_s += seconds


def _asked(*answers: Answer | Silence, wanted: Expected = WANTED, wait_s: float = 1.0) -> Answer | Silence:
    """Ask one who answers so, one after the other; whoever asks too often fails."""
    coming = iter(answers)
    return ask(wanted, lambda _: next(coming), Clock().patience(wait_s))


def test_an_expectation_is_a_status_a_method_a_path_and_perhaps_a_reason() -> None:
    assert expected("200 GET /a?b=c") == Expected(200, "GET", "/a?b=c")
    assert expected("403 DELETE / forbidden") == Expected(403, "DELETE", "/", "forbidden")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "GET /a",
        "200 GET",
        "200 GET a",
        "20 GET /",
        "600 GET /",
        "200 G:T /",
        "200  GET /",
        "200 GET /\u00e4",
        "200 GET /\r\nx:y",
        "200 GET / a b",
        "2\u0662\u0662 GET /",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no expectation; write for example `200 GET /public`"):
        expected(text)


def test_a_reason_is_a_word() -> None:
    with pytest.raises(ConfigError, match="`No!` is no reason"):
        expected("403 GET / No!")


def test_the_first_answer_counts_even_where_it_is_wrong() -> None:
    assert _asked(Answer(200)) == Answer(200)
    assert _asked(Answer(404)) == Answer(404)


def test_whoever_is_starting_is_asked_again() -> None:
    starting: list[Answer | Silence] = [Silence("connection refused"), Answer(503, "not_ready"), Answer(502)]
    assert _asked(*starting, Answer(200)) == Answer(200)


def test_an_outage_that_was_expected_is_an_answer() -> None:
    assert _asked(Answer(503, "x"), wanted=Expected(503, "GET", "/")) == Answer(503, "x")


def test_patience_ends() -> None:
    assert _asked(*[Answer(503)] * 5) == Answer(503)
    assert _asked(Silence("a"), Silence("b"), wait_s=0.1) == Silence("b")
    assert _asked(Silence("a"), wait_s=0) == Silence("a")


@pytest.mark.parametrize(
    ("answer", "wanted", "is_so"),
    [
        (Answer(403, "forbidden"), Expected(403, "GET", "/"), True),
        (Answer(403, "forbidden"), Expected(403, "GET", "/", "forbidden"), True),
        (Answer(403), Expected(403, "GET", "/", "forbidden"), False),
        (Answer(401, "forbidden"), Expected(403, "GET", "/", "forbidden"), False),
    ],
)
def test_an_answer_is_as_expected_in_its_status_and_in_a_reason_that_was_named(
    answer: Answer, wanted: Expected, is_so: bool
) -> None:
    assert answer.is_as(wanted) is is_so


def test_a_request_arrives_as_it_was_named() -> None:
    with Upstream() as upstream:
        send = sender(TcpAddress("127.0.0.1", upstream.port), "items.test", [("x-a", "b")])
        assert send(Expected(200, "PUT", "/a?b=c")) == Answer(200)
        seen = upstream.take()[0]
        assert (seen.method, seen.path) == ("PUT", "/a?b=c")
        assert (seen.values("host"), seen.values("x-a")) == (["items.test"], ["b"])


def test_nobody_there_is_silence() -> None:
    send = sender(TcpAddress("127.0.0.1", free_port()), "a.test", ())
    assert send(WANTED) == Silence("connection refused")


@contextmanager
def _saying(words: bytes) -> Iterator[TcpAddress]:
    """A server that says the same to everybody who connects."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(words)

        thread = threading.Thread(target=serve)
        thread.start()
        yield TcpAddress("127.0.0.1", server.getsockname()[1])
        thread.join()


@pytest.mark.parametrize(
    ("words", "came"),
    [
        (b"", Silence("remote end closed connection without response")),
        (b"hello\r\n\r\n", Silence("what came is no answer of HTTP")),
        (b"HTTP/1.1 403 no\r\nx-authz-reason: forbidden\r\n\r\n", Answer(403, "forbidden")),
        (b"HTTP/1.1 403 no\r\nx-authz-reason: \x1b[31m\r\n\r\n", Answer(403)),
    ],
    ids=["nothing", "no HTTP", "refusal", "a reason to harm a terminal"],
)
def test_what_comes_is_read_with_care(words: bytes, came: Answer | Silence) -> None:
    with _saying(words) as address:
        assert sender(address, "a.test", ())(WANTED) == came
