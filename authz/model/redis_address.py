"""Where Redis is, as `REDIS_URL` says it: one server, a Sentinel's master, or a Cluster."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote_to_bytes

from authz.model.address import Address, TcpAddress, UnixAddress, parse_address
from authz.model.errors import ConfigError

REDIS_PORT = 6379
SENTINEL_PORT = 26379
DB_MAX = 65_535  # servers have 16 unless told otherwise, and say so themselves

_SCHEME = re.compile(r"(rediss?|unix)(\+sentinel|\+cluster)?://")
_FORMS = (
    "write `redis://HOST:PORT/DB`, `rediss://` for TLS, `unix:///PATH`,"
    " `redis+sentinel://HOST:PORT,HOST:PORT/MASTER/DB` or `redis+cluster://HOST:PORT,HOST:PORT`"
)
_CODES = "a `/`, `?`, `#`, `@`, `:`, `,` or `%` in user or password is written as `%2F` and so on"
_MASTER = re.compile(r"[A-Za-z0-9._-]{1,128}")  # what Sentinel allows. Source: sentinel.c, `SENTINEL MONITOR`
_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LONE_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")


class RedisKind(StrEnum):
    """How servers are found."""

    STANDALONE = "standalone"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are to a server. SECURITY: neither repr nor str shows the password.

    Args:
        user: "" is the server's default user.
        password: as bytes, for it may be any.
    """

    user: str = ""
    password: bytes = field(default=b"", repr=False)

    def __bool__(self) -> bool:
        return bool(self.user or self.password)


NOBODY = Login()
"""Whoever asks for no password."""


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where Redis is. Made by `parse_redis_url`.

    Args:
        hosts: the server; the Sentinels; or nodes of the Cluster that tell of the others. Never empty.
        master: the name that Sentinels know; "" elsewhere.
        db: number of the database; 0 on a Cluster.
        login: for the servers that keep data; Sentinels have one of their own.
        tls: on every connection, those to Sentinels too.
    """

    kind: RedisKind
    hosts: tuple[Address, ...]
    master: str = ""
    db: int = 0
    login: Login = NOBODY
    tls: bool = False

    def __str__(self) -> str:
        """Return it as it was written, but for the password."""
        scheme = "rediss" if self.tls else "redis"
        tail = f"/{self.db}" if self.db else ""
        match self.kind:
            case RedisKind.SENTINEL:
                scheme, tail = f"{scheme}+sentinel", f"/{self.master}{tail}"
            case RedisKind.CLUSTER:
                scheme = f"{scheme}+cluster"
            case RedisKind.STANDALONE if isinstance(self.hosts[0], UnixAddress):
                return f"unix://{self.hosts[0].path}" + (f"?db={self.db}" if self.db else "")
            case RedisKind.STANDALONE:
                pass
        return f"{scheme}://{','.join(map(str, self.hosts))}{tail}"


@dataclass(frozen=True, slots=True)
class RedisTls:
    """How servers prove themselves, and we ourselves to them. All PEM.

    Args:
        ca: who vouches for servers; None: whoever this machine trusts.
        cert: our certificate, where servers ask for one.
        key: its key.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


def parse_redis_url(url: str) -> RedisAddress:
    """Read `REDIS_URL`.

    Raises:
        ConfigError: it cannot be read. SECURITY: the line repeats no part of it, since what is misplaced in
            it may be the password.
    """
    scheme = _SCHEME.match(url)
    if not scheme or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError(f"is no address of a Redis; {_FORMS}")
    base, kind = scheme[1], RedisKind((scheme[2] or "+standalone")[1:])
    login, rest = _login(url[scheme.end() :])
    if base == "unix":
        return _unix(kind, login, rest)
    if "?" in rest or "#" in rest:
        raise ConfigError(f"has a query, and nothing reads that; {_FORMS}; {_CODES}")
    hosts, slash, path = rest.partition("/")
    master, db = _path(kind, path if slash else "")
    port = SENTINEL_PORT if kind is RedisKind.SENTINEL else REDIS_PORT
    addresses = tuple(_host(host, port) for host in hosts.split(","))
    if kind is RedisKind.STANDALONE and len(addresses) > 1:
        raise ConfigError("has several hosts; say `redis+sentinel://` or `redis+cluster://`, or name one")
    return RedisAddress(kind, addresses, master, db, login, base == "rediss")


def _login(text: str) -> tuple[Login, str]:
    """Split off what stands before the last `@`: no host or path of ours has one."""
    words, at, rest = text.rpartition("@")
    if not at:
        return NOBODY, rest
    user, colon, password = words.partition(":")
    if not colon:
        raise ConfigError("has one word before the `@`; write `USER:PASSWORD@`, or `:PASSWORD@`")
    if _PERCENT.search(words) or any(mark in words for mark in "/?#@") or ":" in password:
        raise ConfigError(f"has a user or password that cannot be read; {_CODES}")
    try:
        return Login(unquote_to_bytes(user).decode("utf-8"), unquote_to_bytes(password)), rest
    except UnicodeDecodeError:
        raise ConfigError("has a user that is no UTF-8; write its percent codes again") from None


def _unix(kind: RedisKind, login: Login, rest: str) -> RedisAddress:
    path, mark, query = rest.partition("?")
    if kind is not RedisKind.STANDALONE:
        raise ConfigError("names a Unix socket, where neither a Sentinel nor a Cluster is; write `redis+`")
    if not path.startswith("/") or "#" in rest:
        raise ConfigError("has no absolute path of a Unix socket; write `unix:///run/redis.sock`")
    if mark and not query.startswith("db="):
        raise ConfigError("has a query other than `db=N`, and nothing reads that; take it out")
    try:
        address = parse_address(f"unix:{path}")
    except ConfigError:
        raise ConfigError("has a path that no Unix socket can have; choose a shorter one") from None
    return RedisAddress(kind, (address,), db=_db(query.removeprefix("db=")) if mark else 0, login=login)


def _path(kind: RedisKind, path: str) -> tuple[str, int]:
    """Return the master's name and the number of the database."""
    first, slash, second = path.partition("/")
    if kind is not RedisKind.SENTINEL:
        if slash or (kind is RedisKind.CLUSTER and first not in ("", "0")):
            raise ConfigError(f"has a path that says nothing here; {_FORMS}; {_CODES}")
        return "", _db(first)
    if not _MASTER.fullmatch(first):
        raise ConfigError("names no master; write the name that the Sentinels monitor after the last host")
    return first, _db(second)


def _db(text: str) -> int:
    if text and (not text.isdecimal() or len(text) > 5 or int(text) > DB_MAX):
        raise ConfigError(f"has a database that is no number up to {DB_MAX}; {_FORMS}")
    return int(text or "0")


def _host(text: str, port: int) -> TcpAddress:
    try:
        address = parse_address(f"{text}:{port}" if _LONE_HOST.fullmatch(text) else text)
    except ConfigError:
        address = None
    # SECURITY: told without the text, and from outside the handler, so that no traceback shows it either.
    if not isinstance(address, TcpAddress) or not address.port:
        raise ConfigError(f"has a host or port that cannot be read; {_FORMS}; {_CODES}")
    return address
