"""Connections are opened here: TCP or a Unix socket, TLS, who we are, which database. Off every path.

Nothing is tried twice here, and nothing is told to the server but who we are: no name, no version.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from authz.limits.redis.errors import ErrorReply, LinkFailed
from authz.limits.redis.link import Link
from authz.model.address import Address, TcpAddress, UnixAddress
from authz.model.errors import ConfigError
from authz.model.redis_address import NOBODY, Login, RedisTls

# A peer that vanishes without a word is noticed by the kernel in 45 s, where calls do not notice it earlier.
_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))


@dataclass(frozen=True, slots=True)
class Dial:
    """How servers of one kind are spoken to.

    Args:
        login: who we are to them.
        tls: how they prove who they are; None: not at all.
        db: number of the database.
        connect_s: seconds for everything until a connection may be used.
    """

    login: Login = NOBODY
    tls: RedisTls | None = None
    db: int = 0
    connect_s: float = 1.0

    def open(self, address: Address) -> Link:
        """Connect, and say who we are.

        Raises:
            LinkFailed: with the reason, in a line that holds no password.
        """
        deadline_s = monotonic() + self.connect_s
        sock = _connected(address, deadline_s)
        try:
            link = Link(self._secured(sock, address, deadline_s), address)
        except BaseException:
            sock.close()
            raise
        try:
            self._introduce(link, deadline_s)
        except BaseException:
            link.close()
            raise
        return link

    def _secured(self, sock: socket.socket, address: Address, deadline_s: float) -> socket.socket:
        if self.tls is None or not isinstance(address, TcpAddress):
            return sock
        try:
            context = tls_context(self.tls)
            sock.settimeout(_left_s(deadline_s))
            # SECURITY: checks that the certificate names this very host.
            return context.wrap_socket(sock, server_hostname=address.host)
        except ConfigError as error:
            raise LinkFailed("tls", str(error)) from None
        except ssl.SSLCertVerificationError as error:
            raise LinkFailed("tls", f"{address}: its certificate: {error.verify_message}") from None
        except TimeoutError:
            raise LinkFailed("timeout", f"{address}: does not answer to TLS in time") from None
        except (OSError, ValueError) as error:
            words = getattr(error, "reason", None) or "closed the connection"
            raise LinkFailed("tls", f"{address}: TLS: {str(words).lower().replace('_', ' ')}") from None

    def _introduce(self, link: Link, deadline_s: float) -> None:
        login = self.login
        if login:
            words = (login.user, login.password) if login.user else (login.password,)
            _refuse(link, link.ask(deadline_s, "AUTH", *words), "does not take our user and password")
        if self.db:
            _refuse(link, link.ask(deadline_s, "SELECT", self.db), f"does not give us database {self.db}")


def _refuse(link: Link, reply: object, what: str) -> None:
    """Take anything but OK for a refusal.

    SECURITY: the server's own words are left out: that of a server that knows no AUTH repeats the password.
    """
    if reply != b"OK":
        word = reply.word if isinstance(reply, ErrorReply) else "broken"
        raise LinkFailed(word, f"{link.where}: {what} ({word.upper()})")


def tls_context(tls: RedisTls) -> ssl.SSLContext:
    """Read the certificates; anew for each connection, so that renewed ones count.

    Raises:
        ConfigError: one cannot be used; one line.
    """
    try:
        # SECURITY: with a CA of its own, no other is trusted beside it.
        context = ssl.create_default_context(cafile=tls.ca and str(tls.ca))
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        raise ConfigError(f"redis_ca: no CA certificate can be read from {tls.ca}; name a PEM file") from None
    if tls.cert is not None:
        try:
            context.load_cert_chain(tls.cert, tls.key, password="")
        except (OSError, ValueError):
            raise ConfigError(
                f"redis_cert: {tls.cert} and {tls.key} are no certificate and its key; name PEM files that"
                " belong together, the key without a passphrase"
            ) from None
    return context


def _connected(address: Address, deadline_s: float) -> socket.socket:
    """Connect to the first of a host's addresses that lets us."""
    try:
        if isinstance(address, UnixAddress):
            return _tried(socket.AF_UNIX, str(address.path), deadline_s)
        # The system's resolver has its own patience, which no deadline of ours bounds.
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise _unreachable(address, error) from None
    failed: OSError = OSError("has no address")
    for family, _, _, _, target in found:
        try:
            return _tried(family, target, deadline_s)
        except OSError as error:
            failed = error
    raise _unreachable(address, failed)


def _tried(family: int, target: object, deadline_s: float) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in _KEEPALIVE:
                with suppress(AttributeError, OSError):  # not every system has each
                    sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        sock.settimeout(_left_s(deadline_s))
        sock.connect(target)  # type: ignore[arg-type]  # as getaddrinfo gave it
    except BaseException:
        sock.close()
        raise
    return sock


def _unreachable(address: Address, error: OSError | UnicodeError) -> LinkFailed:
    why = "timeout" if isinstance(error, TimeoutError) else "down"
    words = getattr(error, "strerror", None) or str(error) or "cannot be reached"
    return LinkFailed(why, f"{address}: {words.lower()}")


def _left_s(deadline_s: float) -> float:
    return max(0.001, deadline_s - monotonic())  # 0 would mean: do not wait at all, and fail otherwise
