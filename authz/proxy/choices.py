"""What a person chooses about the Envoy in front of the sidecar, checked word by word."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from authz.model.address import Address, TcpAddress, UnixAddress, parse_address
from authz.model.errors import ConfigError
from authz.proxy.cors import CorsRules

TIMEOUT_MS = 200
"""How long Envoy waits for an answer, milliseconds: its own default, said aloud. A check takes well under
one; the rest is room for a pause of the machine."""

MAX_BODY_BYTES = 3 * 1024 * 1024
"""Largest body that may travel with a check. The sidecar refuses messages above 4 MiB, and the body, the
headers and the rest of the message have to fit below that together."""


@dataclass(frozen=True, slots=True)
class EnvoyChoices:
    """Everything that makes one generated bootstrap differ from another.

    Args:
        listen: where Envoy accepts requests; an address, not a name.
        upstream: the application behind it.
        authz: the sidecar's sockets, one per worker.
        hosts: hosts that the application serves; empty for every host.
        edge: clients connect to this Envoy directly.
        trusted_hops: proxies of ours before this one.
        cors: what Envoy's own cors filter answers before we are asked.
        admin: Envoy's admin listener; None for none.
        body_bytes: largest body sent along with a check; 0 for none.
        upgrades: protocols that a request may switch to.
        timeout_ms: how long Envoy waits for an answer.
        upstream_http2: the application speaks HTTP/2 without TLS, as gRPC servers do.
        raw_headers: send headers as they arrived. False exists so that tests can prove both forms alike.
    """

    listen: TcpAddress
    upstream: TcpAddress
    authz: tuple[Address, ...]
    hosts: tuple[str, ...] = ()
    edge: bool = False
    trusted_hops: int = 0
    cors: CorsRules | None = None
    admin: TcpAddress | None = None
    body_bytes: int = 0
    upgrades: tuple[str, ...] = ()
    timeout_ms: int = TIMEOUT_MS
    upstream_http2: bool = False
    raw_headers: bool = True


def listener(text: str, flag: str) -> TcpAddress:
    """Read the address of a listener of Envoy's: an IP address and a port.

    Raises:
        ConfigError: it cannot be bound.
    """
    where = server(text, flag)
    if is_name(where):
        raise ConfigError(f"{flag}: `{text}` is a name and not an address to bind; write `127.0.0.1:8080`")
    return where


def server(text: str, flag: str) -> TcpAddress:
    """Read the address of a server that Envoy connects to over TCP.

    Raises:
        ConfigError: it is none.
    """
    try:
        where = parse_address(text)
    except ConfigError:
        where = None
    if not isinstance(where, TcpAddress) or where.port == 0:
        raise ConfigError(f"{flag}: `{text}` is not HOST:PORT; write for example `127.0.0.1:8080`")
    return where


def sidecar(text: str) -> Address:
    """Read an address of the sidecar: a Unix socket by its absolute path, or a host and a port.

    Raises:
        ConfigError: it is neither.
    """
    if not text.startswith("unix:"):
        return server(text, "--authz")
    try:
        where = parse_address(text)
    except ConfigError as fault:
        raise ConfigError(f"--authz: {fault}") from None
    if isinstance(where, UnixAddress) and not where.path.is_absolute():
        raise ConfigError(f"--authz: `{text}` is not an absolute path; write `unix:/run/authz.sock`")
    return where


def is_name(where: Address) -> bool:
    """Whether a DNS look-up stands between an address and its server."""
    return isinstance(where, TcpAddress) and not _is_ip(where.host)


def check(choices: EnvoyChoices) -> EnvoyChoices:
    """Return the choices if they go together.

    Raises:
        ConfigError: two of them contradict each other, or one is out of range.
    """
    if not choices.authz:
        raise ConfigError(
            "--authz: at least one socket of the sidecar is needed; write `unix:/run/authz.sock`"
        )
    if len(set(choices.authz)) != len(choices.authz):
        raise ConfigError("--authz: one socket is named twice; name each worker's own socket once")
    if any(isinstance(a, UnixAddress) for a in choices.authz) and any(is_name(a) for a in choices.authz):
        raise ConfigError(
            "--authz: a Unix socket and a DNS name cannot be mixed; use an address for the name"
        )
    if not 0 <= choices.body_bytes <= MAX_BODY_BYTES:
        raise ConfigError(f"--body-bytes: {choices.body_bytes} is out of range; the most is {MAX_BODY_BYTES}")
    if not 0 <= choices.trusted_hops <= 16:
        raise ConfigError(f"--trusted-hops: {choices.trusted_hops} is out of range; write 0 to 16")
    if not 1 <= choices.timeout_ms <= 60_000:
        raise ConfigError(f"--timeout-ms: {choices.timeout_ms} is out of range; write 1 to 60000")
    if set(choices.upgrades) - {"websocket"}:
        raise ConfigError("--upgrade: only `websocket` can be switched to; h2c is always refused")
    return choices


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
