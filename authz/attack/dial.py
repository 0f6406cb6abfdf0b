"""Connections: to a TCP port, with or without TLS, or to a Unix socket; every wait is bounded."""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from authz.model.address import Address, UnixAddress
from authz.model.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Dial:
    """Where to connect, and how long anything there may take.

    Args:
        timeout_s: for one whole exchange, the connection included.
        tls: the settings of TLS; None for plain text.
        name: the host name that TLS checks and sends.
    """

    address: Address
    timeout_s: float = 5.0
    tls: ssl.SSLContext | None = None
    name: str = ""

    def connect(self) -> socket.socket:
        """Open a connection; raises OSError."""
        connection = self._plain()
        connection.settimeout(self.timeout_s)
        if self.tls is None:
            return connection
        return self.tls.wrap_socket(connection, server_hostname=self.name)

    def _plain(self) -> socket.socket:
        if isinstance(self.address, UnixAddress):
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(self.timeout_s)
            connection.connect(str(self.address.path))
            return connection
        connection = socket.create_connection((self.address.host, self.address.port), self.timeout_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


class Timer:
    """How much of the time of one exchange is left."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left; raises TimeoutError where there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the exchange took too long")
        return left


def tls_context(ca: Path | None, protocol: str) -> ssl.SSLContext:
    """Return settings of TLS that check certificates, against one authority's file or the system's.

    Args:
        protocol: what is asked for by ALPN: `http/1.1` or `h2`.

    Raises:
        ConfigError: the file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
    except (OSError, ssl.SSLError):
        raise ConfigError(f"--ca `{ca}`: no certificate can be read from it; name a PEM file") from None
    context.set_alpn_protocols([protocol])
    return context
