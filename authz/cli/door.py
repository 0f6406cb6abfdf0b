"""The debug socket of a running sidecar, or its operations, asked over HTTP."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import NamedTuple, TypeVar

import msgspec

from authz.model.address import Address, TcpAddress
from authz.model.errors import ConfigError
from authz.model.text import visible

_TIMEOUT_S = 10.0  # workers are given half of it
_WHY_MAX = 200  # characters of what a stranger may say

T = TypeVar("T")


class Reply(NamedTuple):
    """What came back."""

    status: int
    body: bytes

    @property
    def detail(self) -> str:
        """Why it was refused, as the sidecar says it; "" where it says nothing."""
        try:
            said = json.loads(self.body)
        except ValueError:
            return ""
        return str(said.get("detail", said.get("title", ""))) if isinstance(said, dict) else ""


def ask(
    address: Address, path: str, most_bytes: int, posted: bytes | None = None, flag: str = "--debug"
) -> Reply:
    """Ask for a path, or post JSON to it.

    Args:
        most_bytes: more of a reply is not read.
        flag: of `serve` that names this address, for the error.

    Raises:
        ConfigError: nobody answers there.
    """
    connection = _Connection(address)
    try:
        if posted is None:
            connection.request("GET", path)
        else:
            connection.request("POST", path, posted, {"content-type": "application/json"})
        answer = connection.getresponse()
        return Reply(answer.status, answer.read(most_bytes))
    except (OSError, HTTPException) as error:
        words = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ConfigError(
            f"{flag}: nobody answers at {address}: {words.lower()}; is it the address of `serve {flag}`?"
        ) from None
    finally:
        connection.close()


def told(address: Address, reply: Reply, read: Callable[[bytes], T], without: str) -> T:
    """Return what a sidecar told.

    Args:
        read: raises an error of msgspec where it is something else.
        without: what one is told that has no such path.

    Raises:
        ConfigError: it told nothing of that kind.
    """
    if reply.status == HTTPStatus.OK:
        try:
            return read(reply.body)
        except msgspec.MsgspecError:
            raise ConfigError(
                f"--debug: {address} answers what this version does not know; is it a sidecar's?"
            ) from None
    if reply.status == HTTPStatus.NOT_FOUND:
        raise ConfigError(f"--debug: {address} {without}")
    raise ConfigError(f"--debug: {address} refuses: {visible(reply.detail)[:_WHY_MAX] or reply.status}")


class _Connection(HTTPConnection):
    """HTTP over whichever kind of socket the operator chose."""

    def __init__(self, address: Address) -> None:
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
