"""An HTTP/2 client that sends header lists as they are given: nothing is checked, sorted or lower-cased."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError

from authz.proxy.client import Reply

_TIMEOUT_S = 10.0


def send_h2(port: int, headers: Sequence[tuple[str, str]], body: bytes = b"") -> Reply:
    """Send one request, pseudo headers included; status 0 where the stream or the connection is closed."""
    config = H2Configuration(
        client_side=True,
        header_encoding="latin-1",
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
        validate_inbound_headers=False,
    )
    link = H2Connection(config)
    with socket.create_connection(("127.0.0.1", port), _TIMEOUT_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.initiate_connection()
        link.send_headers(
            1, [(k.encode("latin-1"), v.encode("latin-1")) for k, v in headers], end_stream=not body
        )
        if body:
            link.send_data(1, body, end_stream=True)
        connection.sendall(link.data_to_send())
        return _answer(connection, link)


def _answer(connection: socket.socket, link: H2Connection) -> Reply:
    headers: list[tuple[str, str]] = []
    body = b""
    while True:
        try:
            data = connection.recv(65536)
            events: Sequence[Event] = link.receive_data(data) if data else ()
        except (ConnectionResetError, ProtocolError):
            return Reply(0)
        if not data:
            return Reply(0)
        for event in events:
            if isinstance(event, ResponseReceived | TrailersReceived):
                headers += [(_text(name), _text(value)) for name, value in event.headers or ()]
            elif isinstance(event, DataReceived):
                body += event.data or b""
                link.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 1)
            elif isinstance(event, StreamEnded):
                return Reply(int(dict(headers).get(":status", "0")), tuple(headers), body)
            elif isinstance(event, StreamReset | ConnectionTerminated):
                return Reply(0)
        connection.sendall(link.data_to_send())


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
