"""What a person chooses about the Envoy in front of the sidecar, checked word by word."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
class SidecarTls:
    """TLS to the sidecar. All files are Envoy's: absolute paths where it runs.

    Args:
        ca: who vouches for the sidecar.
        cert: what Envoy shows; None for nothing.
        key: the key of `cert`.
        name: what the sidecar's certificate must name; "" for the host that is connected to.
    """

    ca: Path
    cert: Path | None = None
    key: Path | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class EnvoyChoices:
    """Everything that makes one generated bootstrap differ from another.

    Args:
        listen: where Envoy accepts requests; an address, not a name.
        upstream: the application behind it.
        authz: the sidecar's sockets, one per worker.
        authz_tls: how they are secured; None where they are not.
        hosts: hosts that the application serves; empty for every host.
        edge: clients connect to this Envoy directly.
        trusted_hops: proxies of ours before this one.
        cors: what Envoy's own cors filter answers before we are asked.
        admin: Envoy's admin listener; None for none.
        stats: where readiness and metrics of Envoy are shown, and nothing else; None for nowhere.
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
    admin: Address | None = None
    stats: TcpAddress | None = None
    body_bytes: int = 0
    upgrades: tuple[str, ...] = ()
    timeout_ms: int = TIMEOUT_MS
    upstream_http2: bool = False
    raw_headers: bool = True
    authz_tls: SidecarTls | None = None


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
    return _socket(text, "--authz") if text.startswith("unix:") else server(text, "--authz")


def admin(text: str) -> Address:
    """Read where Envoy's admin listens: a Unix socket by its absolute path, or an IP address and a port.

    Raises:
        ConfigError: it is neither.
    """
    return _socket(text, "--admin") if text.startswith("unix:") else listener(text, "--admin")


def _socket(text: str, flag: str) -> Address:
    try:
        where = parse_address(text)
    except ConfigError as fault:
        raise ConfigError(f"{flag}: {fault}") from None
    if isinstance(where, UnixAddress) and not where.path.is_absolute():
        raise ConfigError(f"{flag}: `{text}` is not an absolute path; write `unix:/run/authz.sock`")
    return where


def sidecar_tls(
    ca: Path | None, cert: Path | None, key: Path | None, name: str | None, authz: Sequence[Address]
) -> SidecarTls | None:
    """Read the flags that speak of TLS; None where they speak of none.

    Raises:
        ConfigError: they do not go together, or not with the sidecar's addresses.
    """
    named = {"--authz-ca": ca, "--authz-cert": cert, "--authz-key": key}
    for flag, path in named.items():
        if path is not None and not path.is_absolute():
            raise ConfigError(f"{flag}: `{path}` is not an absolute path; write it as Envoy will find it")
    if ca is None:
        for flag, value in (*named.items(), ("--authz-server-name", name)):
            if value:
                raise ConfigError(
                    f"{flag}: there is no --authz-ca, without which Envoy proves nobody; name it"
                )
        return None
    if (cert is None) != (key is None):
        raise ConfigError("--authz-cert and --authz-key: one goes with the other; name both or neither")
    if any(isinstance(where, UnixAddress) for where in authz):
        raise ConfigError("--authz-ca: a Unix socket never speaks TLS; name the sidecar by HOST:PORT alone")
    return SidecarTls(ca, cert, key, name or "")


def is_name(where: Address) -> bool:
    """Whether a DNS look-up stands between an address and its server."""
    return isinstance(where, TcpAddress) and not is_ip(where.host)


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
    if choices.stats and not choices.admin and not any(isinstance(a, UnixAddress) for a in choices.authz):
        raise ConfigError(
            "--stats: its pages come from Envoy's admin, for which there is no place beside a socket of the"
            " sidecar; name one: --admin unix:/run/envoy/admin.sock"
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


def is_ip(text: str) -> bool:
    """Whether a text is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
