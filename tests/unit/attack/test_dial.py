"""Connections: bounded in time, over TCP, Unix sockets and TLS."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest

from authz.attack.dial import Dial, Timer, tls_context
from authz.attack.http1 import send
from authz.model.address import TcpAddress, UnixAddress
from authz.model.errors import ConfigError
from tests.support.certificates import Authority

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def _once(listener: socket.socket, context: ssl.SSLContext | None = None) -> threading.Thread:
    def serve() -> None:
        connection, _ = listener.accept()
        try:
            with context.wrap_socket(connection, server_side=True) if context else connection as spoken:
                spoken.recv(65536)
                spoken.sendall(OK)
        except ssl.SSLError:
            return

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_a_unix_socket_is_as_good_as_a_port(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        thread = _once(listener)
        assert [reply.status for reply in send(Dial(UnixAddress(tmp_path / "s")), b"x")] == [200]
        thread.join()


@pytest.mark.parametrize("trusted", [True, False])
def test_tls_is_spoken_to_who_can_show_a_certificate(tmp_path: Path, trusted: bool) -> None:
    authority = Authority()
    certificate, key = authority.server().written(tmp_path, "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    ca = (authority if trusted else Authority("another")).written(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = _once(listener, context)
        address = TcpAddress("127.0.0.1", listener.getsockname()[1])
        dial = Dial(address, 5, tls_context(ca, "http/1.1"), "localhost")
        if trusted:
            assert [reply.status for reply in send(dial, b"x")] == [200]
        else:
            with pytest.raises(ssl.SSLCertVerificationError):
                send(dial, b"x")
        thread.join()


def test_a_file_that_holds_no_certificate_is_said(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no")
    with pytest.raises(ConfigError, match="name a PEM file"):
        tls_context(tmp_path / "ca.pem", "h2")


def test_the_time_of_an_exchange_ends() -> None:
    assert 0 < Timer(5).left() <= 5
    with pytest.raises(TimeoutError):
        Timer(-1).left()
