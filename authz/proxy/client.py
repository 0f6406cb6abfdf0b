"""A client that sends bytes exactly as they are given: libraries would mend the spellings that we try."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Sequence
from dataclasses import dataclass

_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of HTTP/1.1. Status 0: the connection was closed without one."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()  # names in lower case, duplicates kept
    body: bytes = b""

    def header(self, name: str) -> str:
        """Return the first value of a header, or ""."""
        return next((value for key, value in self.headers if key == name), "")


def request_bytes(
    method: str, target: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b""
) -> bytes:
    """Return a request of HTTP/1.1, spelled as it is given."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    if body:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "connection: close", "", ""]).encode("latin-1") + body


def send_raw(port: int, data: bytes, timeout_s: float = _TIMEOUT_S) -> Reply:
    """Send bytes to a port of the loopback and read one answer.

    Raises:
        OSError: the server cannot be reached, or is silent for too long.
    """
    with socket.create_connection(("127.0.0.1", port), timeout_s) as connection:
        connection.sendall(data)
        reply = http.client.HTTPResponse(connection, method=data.partition(b" ")[0].decode("latin-1"))
        try:
            reply.begin()
            headers = tuple((name.lower(), value) for name, value in reply.getheaders())
            return Reply(reply.status, headers, reply.read())
        except (http.client.HTTPException, ConnectionResetError):
            return Reply(0)
        finally:
            reply.close()
