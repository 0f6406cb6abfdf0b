"""HTTPS on the loopback: whom it trusts, how it leaves, and what it lets nobody do."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus

import pytest

from authz.admission import door as doors
from authz.admission.certificate import Generation, mint
from authz.admission.door import Door
from authz.admission.tls import server_context
from authz.admission.wire import Question
from authz.model.address import TcpAddress
from authz.model.errors import ConfigError

NAME = "hook.shop.svc"
NOW_S = time.time()
FIRST, SECOND = mint((NAME,), NOW_S), mint((NAME,), NOW_S)
PATIENCE_S = 20.0


def _echo(asked: Question) -> tuple[HTTPStatus, bytes]:
    return HTTPStatus.OK, asked.body


@contextmanager
def _served(
    answer: Callable[[Question], tuple[HTTPStatus, bytes]] = _echo,
    secured: Callable[[], ssl.SSLContext] | None = None,
) -> Iterator[Door]:
    context = server_context(FIRST)
    door = Door(TcpAddress("127.0.0.1", 0), secured or (lambda: context), answer)
    door.open()
    try:
        yield door
    finally:
        door.close(0.0)


def _trust(*generations: Generation) -> ssl.SSLContext:
    bundle = b"".join(each.ca for each in generations).decode()
    return ssl.create_default_context(cadata=bundle)


def _line(door: Door, trust: ssl.SSLContext | None = None) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", door.address.port), PATIENCE_S)
    return (trust or _trust(FIRST)).wrap_socket(plain, server_hostname=NAME)


def _ask(line: ssl.SSLSocket, body: bytes = b"hello") -> tuple[int, bytes, bool]:
    line.sendall(b"POST /inject HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    answer = http.client.HTTPResponse(line, method="POST")
    answer.begin()
    return answer.status, answer.read(), answer.will_close


def test_questions_are_answered_one_after_another_on_one_connection() -> None:
    with _served() as door, _line(door) as line:
        assert line.version() == "TLSv1.3"
        for body in (b"one", b"two", b"x" * 100_000):
            assert _ask(line, body) == (200, body, False)


def test_nobody_else_can_be_taken_for_it() -> None:
    with _served() as door:
        with pytest.raises(ssl.SSLCertVerificationError):
            _line(door, _trust(SECOND))
        other = socket.create_connection(("127.0.0.1", door.address.port))
        with other, pytest.raises(ssl.SSLCertVerificationError):
            _trust(FIRST).wrap_socket(other, server_hostname="other.shop.svc")


def test_old_tls_is_not_spoken() -> None:
    assert server_context(FIRST).minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_new_certificate_is_for_those_who_come_now_and_others_stay() -> None:
    contexts = [server_context(FIRST)]
    with _served(secured=lambda: contexts[-1]) as door, _line(door) as before:
        contexts.append(server_context(SECOND))
        with _line(door, _trust(SECOND)) as after:
            assert _ask(after)[0] == 200
        assert _ask(before)[0] == 200


@pytest.mark.parametrize(
    "noise", [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 100, b"\x16\x03\x01\xff\xff" + b"a" * 50]
)
def test_who_speaks_no_tls_is_hung_up_on_and_nobody_hears_of_it(
    noise: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    with _served() as door:
        with socket.create_connection(("127.0.0.1", door.address.port), PATIENCE_S) as line:
            line.sendall(noise)
            with suppress(ConnectionResetError):
                while line.recv(1000):
                    pass
        with _line(door) as good:
            assert _ask(good)[0] == 200
    assert capfd.readouterr().err == ""


def test_a_handshake_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "HANDSHAKE_S", 0.2)
    with _served() as door, socket.create_connection(("127.0.0.1", door.address.port), PATIENCE_S) as line:
        line.sendall(b"\x16\x03\x01\x02\x00")
        with suppress(ConnectionResetError):
            assert line.recv(1) == b""


def test_what_is_no_request_is_refused_and_the_connection_closed() -> None:
    with _served() as door, _line(door) as line:
        line.sendall(b"nonsense\r\n\r\n")
        assert line.recv(1000).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert line.recv(1000) == b""


def test_a_bug_costs_one_connection(capfd: pytest.CaptureFixture[str]) -> None:
    def broken(asked: Question) -> tuple[HTTPStatus, bytes]:
        if asked.body == b"bad":
            raise ZeroDivisionError
        return _echo(asked)

    with _served(broken) as door:
        with _line(door) as line, pytest.raises((http.client.HTTPException, OSError)):
            _ask(line, b"bad")
        with _line(door) as line:
            assert _ask(line)[0] == 200
    said = capfd.readouterr()
    assert "ZeroDivisionError" in said.out + said.err
    assert "Traceback" not in said.out + said.err


def test_a_body_beyond_what_all_may_have_at_once_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "BODIES_MAX_BYTES", 10)
    monkeypatch.setattr(doors, "BODY_SMALL_BYTES", 9)
    with _served() as door:
        with _line(door) as line:
            assert _ask(line, b"x" * 11)[0] == 503
        with _line(door) as line:
            assert [_ask(line, b"x" * 10)[0] for _ in range(3)] == [200] * 3


def test_a_small_body_is_always_admitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "BODIES_MAX_BYTES", 0)
    with _served() as door, _line(door) as line:
        assert [_ask(line, b"x" * doors.BODY_SMALL_BYTES)[0] for _ in range(3)] == [200] * 3
    with _served() as door, _line(door) as line:
        line.sendall(b"POST /inject HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (doors.BODY_SMALL_BYTES + 1))
        assert line.recv(1024).startswith(b"HTTP/1.1 503 ")


def test_silent_connections_lose_their_places_to_those_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "CONNECTIONS_MAX", 3)
    with _served() as door:
        silent = [socket.create_connection(("127.0.0.1", door.address.port)) for _ in range(3)]
        lines = [_line(door) for _ in range(3)]
        assert [_ask(line)[0] for line in lines] == [200] * 3
        with _line(door) as another:
            assert _ask(another)[0] == 200
        for line in (*silent, *lines):
            line.close()


def test_while_it_drains_each_answer_is_the_last_of_its_connection() -> None:
    with _served() as door, _line(door) as line:
        assert _ask(line)[2] is False
        door.drain()
        assert _ask(line)[2] is True
        assert line.recv(1) == b""
        with _line(door) as late:
            assert _ask(late) == (200, b"hello", True)


def test_what_was_begun_is_finished_before_it_closes() -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(asked: Question) -> tuple[HTTPStatus, bytes]:
        begun.set()
        go.wait(PATIENCE_S)
        return _echo(asked)

    with _served(slow) as door, _line(door) as line, _line(door) as idle:
        answers: list[tuple[int, bytes, bool]] = []
        asking = threading.Thread(target=lambda: answers.append(_ask(line)))
        asking.start()
        assert begun.wait(PATIENCE_S)
        threading.Timer(0.2, go.set).start()
        door.close(PATIENCE_S)
        asking.join(PATIENCE_S)
        assert answers == [(200, b"hello", True)]
        assert idle.recv(1) == b""
        with pytest.raises((ConnectionRefusedError, TimeoutError)):
            _until_refused(door.address.port)


def _until_refused(port: int) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        socket.create_connection(("127.0.0.1", port), 1).close()
        time.sleep(0.05)


def test_a_port_that_is_taken_is_said() -> None:
    with _served() as door, pytest.raises(ConfigError, match="stop what listens there"):
        Door(door.address, lambda: server_context(FIRST), _echo).open()
