"""HTTP/1.1 as bytes: nothing is checked, sorted, escaped or mended on the way out."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from authz.attack.case import Ask, Pair
from authz.attack.dial import Dial, Timer

# After a whole answer: how long to wait for another one that nobody should have asked for.
_LINGER_S = 0.25
ANSWER_MAX_BYTES = 8 << 20  # of an answer that does not end no more is read
_INTERIM = range(100, 200)


class Reply(NamedTuple):
    """An answer of HTTP. Status 0: the connection or the stream was closed without one."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()  # names in lower case, in order, duplicates kept
    body: bytes = b""

    def header(self, name: str) -> str:
        """Return the first value of a header, or ""."""
        return next((value for key, value in self.headers if key == name), "")


def request_bytes(ask: Ask, host: bytes) -> bytes:
    """Return a request of HTTP/1.1, spelled as it is given."""
    named = host if ask.host is None else ask.host
    lines = [ask.method + b" " + ask.path + b" HTTP/1.1", b"host: " + named]
    lines += [name + b": " + value for name, value in ask.headers]
    if ask.body:
        lines.append(b"content-length: %d" % len(ask.body))
    if not any(name.lower() == b"connection" for name, _ in ask.headers):
        lines.append(b"connection: close")
    return b"\r\n".join([*lines, b"", b""]) + ask.body


def send(dial: Dial, data: bytes) -> list[Reply]:
    """Send bytes and return every answer that comes, in order; [] where the connection is closed at once.

    Raises:
        TimeoutError: there is no whole answer in time.
        OSError: the server cannot be reached.
        ValueError: the answer cannot be read.
    """
    timer = Timer(dial.timeout_s)
    with dial.connect() as connection:
        # It may answer before it has read everything: what it said can still be read.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        return _read(connection, timer, head=data.startswith(b"HEAD "))


def _read(connection: socket.socket, timer: Timer, *, head: bool) -> list[Reply]:
    received = b""
    while len(received) < ANSWER_MAX_BYTES:
        replies = parse(received, head=head)
        whole = bool(replies) and replies[-1].status not in _INTERIM
        if whole and replies[-1].header("connection").lower() == "close":
            return replies
        connection.settimeout(min(_LINGER_S, timer.left()) if whole else timer.left())
        try:
            chunk = connection.recv(65536)
        except TimeoutError:
            if whole:
                return replies
            raise
        except ConnectionResetError:
            chunk = b""
        if not chunk:
            return parse(received, head=head, ended=True)
        received += chunk
    return parse(received, head=head, ended=True)


def parse(received: bytes, *, head: bool = False, ended: bool = False) -> list[Reply]:
    """Return the whole answers at the beginning of a text.

    Args:
        head: the request was a HEAD, so no answer has a body.
        ended: nothing more will come; what is begun counts as it stands.

    Raises:
        ValueError: a length is no number.
    """
    replies: list[Reply] = []
    rest = received
    while (split := rest.partition(b"\r\n\r\n"))[1]:
        lines = split[0].split(b"\r\n")
        match = re.match(rb"HTTP/1\.[01] (\d{3})", lines[0])
        if match is None:
            break
        headers = tuple(_header(line) for line in lines[1:])
        status = int(match[1])
        found = _body(status, headers, split[2], head=head, ended=ended)
        if found is None:
            break
        body, rest = found
        replies.append(Reply(status, headers, body))
    return replies


def _header(line: bytes) -> tuple[str, str]:
    name, _, value = line.decode("latin-1").partition(":")
    return name.lower(), value.strip(" \t")


def _body(
    status: int, headers: Sequence[tuple[str, str]], rest: bytes, *, head: bool, ended: bool
) -> tuple[bytes, bytes] | None:
    """Return a body and what follows it, or None where it is not whole yet."""
    if head or status in _INTERIM or status in (204, 304):
        return b"", rest
    fields = dict(headers)
    if fields.get("transfer-encoding") == "chunked":
        return _chunked(rest, ended=ended)
    if "content-length" not in fields:
        return (rest, b"") if ended else None
    length = int(fields["content-length"] or 0)
    if len(rest) < length and not ended:
        return None
    return rest[:length], rest[length:]


def _chunked(rest: bytes, *, ended: bool) -> tuple[bytes, bytes] | None:
    body = b""
    while (split := rest.partition(b"\r\n"))[1]:
        size = int(split[0].split(b";")[0] or b"0", 16)
        if size == 0:
            return body, split[2].removeprefix(b"\r\n")
        if len(split[2]) < size + 2:
            break
        body, rest = body + split[2][:size], split[2][size + 2 :]
    return (body, b"") if ended else None


def pairs_of(ask: Ask, host: bytes) -> tuple[Pair, ...]:
    """Return a request as a header list of HTTP/2, names in lower case as its framing wants them."""
    own = (
        (b":method", ask.method),
        (b":scheme", ask.scheme),
        (b":authority", host if ask.host is None else ask.host),
        (b":path", ask.path),
    )
    return own + tuple((name.lower(), value) for name, value in ask.headers)
