"""Where records go, as the setting `record_sink` says it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from authz.model.errors import ConfigError

_FORMS = (
    "say `stdout`, `file:PATH`, `http://HOST:PORT/PATH` or `https://...`, `otlp://HOST:PORT`,"
    " `otlp+tls://HOST:PORT`, `otlp+http://HOST:PORT/PATH`, `otlp+https://...`, `redis://HOST:PORT/DB/STREAM`,"
    " `rediss://...`, `kafka://HOST:PORT,HOST:PORT/TOPIC`, `kafka+tls://...`, or `off`"
)
_PRINTABLE = re.compile(r"[^\x00-\x20\x7f-\xff]+")
_SERVER = re.compile(r"(?P<host>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?")
_STREAM = re.compile(r"/(?P<db>[0-9]{1,5})/(?P<stream>[A-Za-z0-9._:{}-]{1,200})")
_TOPIC = re.compile(r"/(?P<topic>[A-Za-z0-9._-]{1,249})")  # Source: Kafka, `Topic.validate`
_LIST = re.compile(r",(?=\s*(?:stdout|off|file:|[a-z+]+://))")  # a list of brokers has commas, too
_PORT_MAX = 65_535


class SinkKind(StrEnum):
    """What a sink is, and its name in metrics."""

    STDOUT = "stdout"
    FILE = "file"
    HTTP = "http"
    OTLP = "otlp"
    REDIS = "redis"
    KAFKA = "kafka"


_KINDS = {
    "http": SinkKind.HTTP,
    "https": SinkKind.HTTP,
    "otlp": SinkKind.OTLP,
    "otlp+tls": SinkKind.OTLP,
    "otlp+http": SinkKind.OTLP,
    "otlp+https": SinkKind.OTLP,
    "redis": SinkKind.REDIS,
    "rediss": SinkKind.REDIS,
    "kafka": SinkKind.KAFKA,
    "kafka+tls": SinkKind.KAFKA,
}
_NO_PATH = {"otlp": "otlp+http", "otlp+tls": "otlp+https"}  # and what takes one
_PORTS = {
    "http": 80,
    "https": 443,
    "otlp": 4317,
    "otlp+tls": 4317,
    "otlp+http": 4318,
    "otlp+https": 4318,
    "redis": 6379,
    "rediss": 6379,
    "kafka": 9092,
    "kafka+tls": 9093,
}
_TLS = frozenset({"https", "otlp+tls", "otlp+https", "rediss", "kafka+tls"})


@dataclass(frozen=True, slots=True)
class SinkAddress:
    """One place that takes records. Made by `parse_sink`. Printed without its query, where tokens may stand.

    Args:
        text: as it was written.
        target: path of a file; path and query at an HTTP server; stream; topic; else "".
        servers: host and port of each, brackets of IPv6 left out.
    """

    kind: SinkKind
    text: str
    target: str = ""
    scheme: str = ""
    servers: tuple[tuple[str, int], ...] = ()
    db: int = 0

    @property
    def tls(self) -> bool:
        """Whether it is asked over TLS."""
        return self.scheme in _TLS

    @property
    def local(self) -> bool:
        """Whether it is this machine's own: nothing to connect to."""
        return self.kind in (SinkKind.STDOUT, SinkKind.FILE)

    def __str__(self) -> str:
        return self.text if self.local else _without_query(self.text)


def parse_sinks(text: str) -> tuple[SinkAddress, ...]:
    """Return the sinks of a list with commas; none for `off`.

    Raises:
        ConfigError: says what is wrong, and what can be written.
    """
    texts = [one.strip() for one in _LIST.split(text)]
    if texts == ["off"]:
        return ()
    if "off" in texts:
        raise ConfigError(f"`{_shown(text)}` says `off` and more; take one of them out")
    sinks = tuple(parse_sink(one) for one in texts)
    if len({sink.text for sink in sinks}) < len(sinks):
        raise ConfigError(f"`{_shown(text)}` names one sink twice; take one of them out")
    return sinks


def parse_sink(text: str) -> SinkAddress:
    """Return one sink.

    Raises:
        ConfigError: as `parse_sinks`.
    """
    if text == "stdout":
        return SinkAddress(SinkKind.STDOUT, text)
    if text.startswith("file:") and text != "file:" and text.isprintable():
        return SinkAddress(SinkKind.FILE, text, text.removeprefix("file:"))
    scheme, separator, _ = text.partition("://")
    kind = _KINDS.get(scheme) if separator else None
    authority = re.split("[/?#]", text.partition("://")[2], maxsplit=1)[0]
    if "@" in (authority if kind is not None else text):
        # SECURITY: the setting is printed as it stands, and so are errors about it.
        raise ConfigError(
            "a sink with a user or password in it is refused; settings.md has settings for them"
        )
    if kind is None or not _PRINTABLE.fullmatch(text):
        raise ConfigError(f"`{_shown(text)}` is no sink; {_FORMS}")
    return _remote(kind, text)


def _remote(kind: SinkKind, text: str) -> SinkAddress:
    scheme, _, rest = text.partition("://")
    authority, slash, path = rest.partition("/")
    servers = tuple(_server(one, scheme, text) for one in authority.split(","))
    if len(servers) > 1 and kind is not SinkKind.KAFKA:
        raise ConfigError(f"`{_shown(text)}` names several servers; only `kafka://` takes more than one")
    target, db = slash + path, 0
    if kind is SinkKind.REDIS:
        found = _STREAM.fullmatch(target)
        if found is None:
            raise ConfigError(f"`{_shown(text)}` names no stream; write `{scheme}://HOST:PORT/DB/STREAM`")
        target, db = found["stream"], int(found["db"])
    elif kind is SinkKind.KAFKA:
        found = _TOPIC.fullmatch(target)
        if found is None:
            raise ConfigError(f"`{_shown(text)}` names no topic; write `{scheme}://HOST:PORT/TOPIC`")
        target = found["topic"]
    elif scheme in _NO_PATH and target.strip("/"):
        raise ConfigError(
            f"`{_shown(text)}` has a path, which gRPC has not; write `{scheme}://HOST:PORT`, or"
            f" `{_NO_PATH[scheme]}://HOST:PORT/PATH`"
        )
    return SinkAddress(kind, text, target, scheme, servers, db)


def _server(text: str, scheme: str, whole: str) -> tuple[str, int]:
    found = _SERVER.fullmatch(text)
    port = int(found["port"] or _PORTS[scheme]) if found else 0
    if found is None or not 1 <= port <= _PORT_MAX:
        raise ConfigError(f"`{_shown(whole)}` names no server; write `{scheme}://HOST:PORT`")
    return found["host"].strip("[]"), port


def _without_query(text: str) -> str:
    address, mark, _ = text.partition("?")
    return f"{address}?..." if mark else address


def _shown(text: str) -> str:
    return _without_query(text).encode("unicode_escape").decode("ascii")[:120]
