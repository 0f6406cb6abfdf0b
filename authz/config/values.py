"""Types of settings: from what people write to values that need no second look.

Each validator raises `ValueError` with the second half of a sentence; `sources.py` puts the name in front.
A list may be written as a list (file, repeated flag) or as one text with commas (environment).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BeforeValidator, InstanceOf, PlainSerializer, SecretBytes

from authz.model.address import Address, parse_address
from authz.model.errors import ConfigError
from authz.model.redis_address import RedisAddress, parse_redis_url
from authz.model.sink import SinkAddress, SinkKind, parse_sink, parse_sinks

PEPPER_MIN_BYTES = 32  # as many as the digest that it keys has
LINE_MAX = 200  # characters of a text that is copied into every record

T = TypeVar("T")

_HEADER = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,64}")  # RFC 9110, section 5.6.2, in lower case
_HOST = re.compile(r"\*|(\*\.)?[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?\.?|\[[0-9a-f:.]+\]")
_NAME = re.compile(r"[A-Za-z0-9._:/-]{1,128}")
_TOKEN_PART = re.compile(r"[a-z][a-z0-9]{0,15}")  # no `_`, which separates the parts of a token
_TOKEN = re.compile(rb"[\x21-\x7e]{1,8192}")
_KEYSPACE = re.compile(r"[A-Za-z0-9._-]{1,64}")
# A workload's id, or all below one path. Source: SPIFFE-ID, section 2; `.` and `..` are no segments.
_CLIENT = re.compile(
    r"spiffe://[a-z0-9._-]{1,255}(/(?!\.{1,2}(/|$))[A-Za-z0-9._-]+)*(/\*)?(?<=[A-Za-z0-9._*-])"
)
_NO_HOST = "host name; write `items.example.com`, `*.example.com` or `*`, without scheme and port"
_NO_PSEUDONYM = "field that can be a pseudonym; `subject`, `key_id`, `customer` and `client_address` can"
_CLIENT_MAX = 2048  # bytes of an id
_MAKE_PEPPER = "make one with `openssl rand -base64 48`"


def _items(value: object) -> list[str]:
    """Split what may be a list; an empty list or item is a fault, since empty never means all."""
    listed = value.split(",") if isinstance(value, str) else value
    if not isinstance(listed, list | tuple):
        raise ValueError("is no list of texts")  # noqa: TRY004 - pydantic collects ValueError alone
    texts = [str(item).strip() for item in listed]
    if not texts or not all(texts):
        raise ValueError("has an empty entry; take it out, or leave the setting out")
    return texts


def _each(one: Callable[[str], T]) -> Callable[[object], tuple[T, ...]]:
    return lambda value: tuple(one(text) for text in _items(value))


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[str], str]:
    def one(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"`{printable(text)}` is no {what}")
        return text

    return one


def _client(text: str) -> str:
    if text != "*" and (len(text) > _CLIENT_MAX or not _CLIENT.fullmatch(text)):
        raise ValueError(
            f"`{printable(text)}` is no caller; write `spiffe://domain/path`, `spiffe://domain/path/*` for"
            " one segment below it, or `*` for every certificate of that CA"
        )
    return text


def _clients(value: object) -> tuple[str, ...]:
    clients = _each(_client)(value)
    if "*" in clients and len(clients) > 1:
        raise ValueError("has `*` beside others, which then mean nothing; take one or the other out")
    return clients


def _file(value: object) -> object:
    return _path(value) if isinstance(value, str) else value


def _lowered(one: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: one(text.lower())


def _address(text: str) -> Address:
    try:
        return parse_address(text)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _endpoint(value: object) -> object:
    return _address(value) if isinstance(value, str) else value


def _endpoint_or_off(value: object) -> object:
    return None if value == "off" else _endpoint(value)


def _path(text: str) -> Path:
    if "\x00" in text:
        raise ValueError("has a NUL byte in a path")
    return Path(text)


def _path_or_off(value: object) -> object:
    return None if value == "off" else _file(value)


def _whole(value: object) -> object:
    """Refuse `true` where a number is asked: it would be read as 1."""
    if isinstance(value, bool | float):
        raise ValueError("is no whole number")  # noqa: TRY004 - pydantic collects ValueError alone
    return value


def _line(value: object) -> object:
    if isinstance(value, str) and (len(value) > LINE_MAX or not value.isprintable()):
        raise ValueError(f"is no single printable line of up to {LINE_MAX} characters")
    return value


def _one(check: Callable[[str], str]) -> Callable[[object], object]:
    return lambda value: check(value) if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _pepper(value: object) -> object:
    """Check a pepper's length. Its bytes are used as they stand."""
    length = len(value) if isinstance(value, bytes) else 0
    if length < PEPPER_MIN_BYTES:
        raise ValueError(
            f"has {length} bytes and needs at least {PEPPER_MIN_BYTES} random ones; {_MAKE_PEPPER}"
        )
    return value


def _token(value: object) -> object:
    """Check a bearer token. SECURITY: whatever ends a line would begin another header."""
    if isinstance(value, bytes) and not _TOKEN.fullmatch(value):
        raise ValueError("is no bearer token: it has visible ASCII characters alone, and no space")
    return value


def _password(value: object) -> object:
    """Check a password, which clients of sinks take as text."""
    try:
        text = value.decode() if isinstance(value, bytes) else "-"
    except UnicodeDecodeError:
        text = ""
    if not text or not text.isprintable():
        raise ValueError("is no password: it is one line of printable UTF-8, and not empty")
    return value


def _redis_url(value: object) -> object:
    if not isinstance(value, bytes):
        return value
    if not value.strip():
        raise ValueError("is empty; give it a value, or unset it where every sidecar may grant limits alone")
    try:
        return parse_redis_url(value.decode("ascii", "replace"))
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _sinks(value: object) -> object:
    """Read a list of sinks; `off` alone is none."""
    if isinstance(value, tuple) and all(isinstance(one, SinkAddress) for one in value):
        return value
    text = value if isinstance(value, str) else ",".join(_items(value))
    try:
        return parse_sinks(text)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _otlp_or_off(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value == "off":
        return None
    try:
        sink = parse_sink(value)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    if sink.kind is not SinkKind.OTLP:
        raise ValueError("is no OTLP receiver; say `otlp://HOST:PORT`, `otlp+http://HOST:PORT/PATH` or `off`")
    return sink


def _spool(value: object) -> object:
    return None if value == "memory" else _file(value)


def printable(text: str) -> str:
    """Return the user's words fit for one line of an error."""
    return text.encode("unicode_escape").decode("ascii")[:120]


Clients = Annotated[tuple[str, ...], BeforeValidator(_clients)]
File = Annotated[Path | None, BeforeValidator(_file)]
PathOrOff = Annotated[Path | None, BeforeValidator(_path_or_off)]
Paths = Annotated[tuple[Path, ...], BeforeValidator(_each(_path))]
Listens = Annotated[tuple[Address, ...], BeforeValidator(_each(_address))]
Hosts = Annotated[tuple[str, ...], BeforeValidator(_each(_lowered(_matching(_HOST, _NO_HOST))))]
HeaderNames = Annotated[tuple[str, ...], BeforeValidator(_each(_lowered(_matching(_HEADER, "header name"))))]
Names = Annotated[tuple[str, ...], BeforeValidator(_each(_matching(_NAME, "name")))]
EndpointOrOff = Annotated[Address | None, BeforeValidator(_endpoint_or_off)]
Whole = Annotated[int, BeforeValidator(_whole)]
Line = Annotated[str, BeforeValidator(_line)]
Pseudonyms = Annotated[
    tuple[str, ...],
    BeforeValidator(_each(_matching(re.compile("subject|key_id|customer|client_address"), _NO_PSEUDONYM))),
]
Pepper = Annotated[SecretBytes | None, BeforeValidator(_pepper)]
Token = Annotated[SecretBytes | None, BeforeValidator(_token)]
Password = Annotated[SecretBytes | None, BeforeValidator(_password)]
RedisUrl = Annotated[
    # SECURITY: printed as text, which leaves the password out; field by field it would be in the open.
    InstanceOf[RedisAddress] | None,
    BeforeValidator(_redis_url),
    PlainSerializer(lambda address: address and str(address)),
]
Keyspace = Annotated[
    str,
    BeforeValidator(_one(_matching(_KEYSPACE, "keyspace; write up to 64 letters, digits, `.`, `_`, `-`"))),
]
TokenPart = Annotated[
    str, BeforeValidator(_one(_matching(_TOKEN_PART, "word of up to 16 lower-case letters and digits")))
]
Sinks = Annotated[
    tuple[InstanceOf[SinkAddress], ...],
    BeforeValidator(_sinks),
    PlainSerializer(lambda sinks: [str(sink) for sink in sinks]),
]
OtlpOrOff = Annotated[
    InstanceOf[SinkAddress] | None,
    BeforeValidator(_otlp_or_off),
    PlainSerializer(lambda address: address and str(address)),
]
Spool = Annotated[Path | None, BeforeValidator(_spool)]
Lower = BeforeValidator(_lower)
