"""Where a server listens or is reached: `unix:PATH`, `HOST:PORT` or `[IPV6]:PORT`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address, ip_address
from pathlib import Path

from authz.model.errors import ConfigError

# The kernel's sockaddr_un holds 108 bytes, the last of which is NUL. Source: unix(7).
UNIX_PATH_MAX_BYTES = 107
PORT_MAX = 65535

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_PORT = re.compile(r"[0-9]{1,5}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_FORMS = "write `unix:PATH`, `HOST:PORT` or `[IPV6]:PORT`"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A Unix socket, by its path."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A TCP endpoint. `host` is a name or an address, IPv6 without brackets; port 0 means any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether this machine alone reaches it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


Address = UnixAddress | TcpAddress


def parse_address(text: str) -> Address:
    """Read an address as people write it.

    Raises:
        ConfigError: the text is in none of the three forms.
    """
    if text.startswith("unix:"):
        return UnixAddress(_unix_path(text))
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ConfigError(f"address {_quoted(text)}: there is no port in it; {_FORMS}")
    return TcpAddress(_host(host, text), _port(port, text))


def _unix_path(text: str) -> Path:
    path = text.removeprefix("unix:")
    if not path or _CONTROL.search(path):
        raise ConfigError(f"address {_quoted(text)}: there is no usable path after `unix:`; {_FORMS}")
    length = len(path.encode("utf-8", "surrogateescape"))
    if length > UNIX_PATH_MAX_BYTES:
        raise ConfigError(
            f"address {_quoted(text)}: the path has {length} bytes and a Unix socket takes"
            f" {UNIX_PATH_MAX_BYTES}; choose a shorter one"
        )
    return Path(path)


def _host(host: str, text: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        try:
            return str(IPv6Address(host[1:-1]))
        except AddressValueError:
            raise ConfigError(
                f"address {_quoted(text)}: no IPv6 address is in the brackets; {_FORMS}"
            ) from None
    if not host:
        raise ConfigError(
            f"address {_quoted(text)}: there is no host; write 127.0.0.1 or 0.0.0.0 before the colon"
        )
    if "//" in host:
        raise ConfigError(f"address {_quoted(text)}: leave the scheme out; {_FORMS}")
    if ":" in host:
        raise ConfigError(f"address {_quoted(text)}: put an IPv6 address in brackets; {_FORMS}")
    if not _HOST.fullmatch(host):
        raise ConfigError(f"address {_quoted(text)}: the host cannot be read; {_FORMS}")
    return host


def _port(port: str, text: str) -> int:
    if not _PORT.fullmatch(port) or int(port) > PORT_MAX:
        raise ConfigError(f"address {_quoted(text)}: the port is not a number up to {PORT_MAX}; {_FORMS}")
    return int(port)


def _quoted(text: str) -> str:
    """Return the user's words in backticks, on one line and not endless."""
    printable = text.encode("unicode_escape").decode("ascii")
    return f"`{printable[:200]}`"
