"""HTTP/2 as nobody should send it: header lists go out as they are given, unchecked, unsorted, uncorrected.

The library `h2` writes the frames; its own judgement is switched off. It is an optional dependency.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from functools import partial

from authz.attack.case import Pair
from authz.attack.dial import Dial, Timer
from authz.attack.http1 import ANSWER_MAX_BYTES, Reply
from authz.model.errors import ConfigError

try:
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
except ImportError as error:  # pragma: no cover - the development environment has it
    raise ConfigError(
        "HTTP/2 needs the library `h2`: install it (`pip install h2`), or leave HTTP/2 out with --http 1"
    ) from error


def connection_of() -> H2Connection:
    """Return one side of a connection that sends whatever it is told to."""
    link = H2Connection(
        H2Configuration(
            client_side=True,
            header_encoding="latin-1",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            validate_inbound_headers=False,
        )
    )
    # As they are, too: the library's Huffman code takes minutes for a megabyte.
    plain = partial(link.encoder.encode, huffman=False)
    link.encoder.encode = plain  # type: ignore[method-assign] # it offers no setting for it
    return link


def send(dial: Dial, pairs: Sequence[Pair], body: bytes = b"") -> Reply:
    """Send one request, pseudo headers included; status 0 where the stream or the connection is closed.

    Raises:
        TimeoutError: there is no whole answer in time.
        OSError: the server cannot be reached.
        ValueError: the answer cannot be read.
    """
    timer = Timer(dial.timeout_s)
    link = connection_of()
    with dial.connect() as connection:
        link.initiate_connection()
        link.send_headers(1, list(pairs), end_stream=not body)
        if body:
            link.send_data(1, body, end_stream=True)
        try:
            connection.sendall(link.data_to_send())
        except (BrokenPipeError, ConnectionResetError):
            return Reply(0)
        return _answer(connection, link, timer)


def _answer(connection: socket.socket, link: H2Connection, timer: Timer) -> Reply:
    headers: list[tuple[str, str]] = []
    body = b""
    while True:
        for event in arrived(connection, link, timer):
            if isinstance(event, ResponseReceived | TrailersReceived):
                headers += [(text(name), text(value)) for name, value in event.headers or ()]
            elif isinstance(event, DataReceived):
                body += event.data or b""
                if len(body) > ANSWER_MAX_BYTES:
                    return _reply(headers, body)
                link.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 1)
            elif isinstance(event, StreamEnded):
                return _reply(headers, body)
            elif isinstance(event, StreamReset | ConnectionTerminated):
                return Reply(0)
        try:
            connection.sendall(link.data_to_send())
        except OSError:
            return Reply(0)


def _reply(headers: Sequence[tuple[str, str]], body: bytes) -> Reply:
    return Reply(int(dict(headers).get(":status", "0")), tuple(headers), body)


def arrived(connection: socket.socket, link: H2Connection, timer: Timer) -> Sequence[Event]:
    """Wait for bytes and return what they say; a connection that ends counts as terminated.

    Raises:
        TimeoutError: nothing came in time.
    """
    connection.settimeout(timer.left())
    try:
        data = connection.recv(65536)
        return link.receive_data(data) if data else [ConnectionTerminated()]
    except (ConnectionResetError, BrokenPipeError, ProtocolError):
        return [ConnectionTerminated()]


def text(value: str | bytes) -> str:
    """Return a name or value of a header as text, a character for a byte."""
    return value if isinstance(value, str) else value.decode("latin-1")
