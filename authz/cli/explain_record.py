"""Where the record of a decision is found: in a file of records, or at the debug socket of a sidecar."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from authz.model.address import TcpAddress, UnixAddress, parse_address
from authz.model.errors import ConfigError

_TIMEOUT_S = 5.0
_LINE_MAX_BYTES = 1024 * 1024  # a record is about 1 KiB


def from_file(decision_id: str, name: str) -> bytes | None:
    """Return the line of a decision in a file of records, the last if there are several; `-`: standard input.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        with nullcontext(sys.stdin.buffer) if name == "-" else Path(name).open("rb") as lines:
            return _last(decision_id, lines)
    except OSError as error:
        raise ConfigError(f"--records: `{name}` cannot be read: {error.strerror}") from None


def _last(decision_id: str, lines: Iterable[bytes]) -> bytes | None:
    found, wanted = None, f'"decision_id":"{decision_id}"'.encode()
    for line in lines:
        if wanted in line:
            found = line
    return found


def from_debug(decision_id: str, address: str) -> bytes | None:
    """Return the record that a sidecar keeps of a recent decision, or None.

    Raises:
        ConfigError: the address is none, or nobody answers there.
    """
    connection = _Connection(parse_address(address))
    try:
        connection.request("GET", f"/logs/{decision_id}")
        answer = connection.getresponse()
        body = answer.read(_LINE_MAX_BYTES)
    except (OSError, HTTPException) as error:
        raise ConfigError(
            f"--debug: nobody answers at {address}: {error}; is it the address of `--debug`?"
        ) from None
    finally:
        connection.close()
    return body if answer.status == 200 else None


class _Connection(HTTPConnection):
    """HTTP over whichever kind of socket the operator chose."""

    def __init__(self, address: UnixAddress | TcpAddress) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._address = address

    def connect(self) -> None:
        """Connect to the address instead of a host and port."""
        if isinstance(self._address, TcpAddress):
            self.sock = socket.create_connection((self._address.host, self._address.port), _TIMEOUT_S)
            return
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT_S)
        self.sock.connect(str(self._address.path))
