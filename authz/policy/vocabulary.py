"""Every variable that a condition may name: its type, its words, and how it is read from one check.

`docs/conditions.md` is generated from this table. Source: section 4 of the contract.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple

from authz.model.identity import Identity
from authz.model.moment import EPOCH
from authz.model.request import Request
from authz.model.text import header_text, percent_decode, query_pairs


class Facts(NamedTuple):
    """What one evaluation looks at."""

    request: Request
    identity: Identity
    params: Mapping[str, str]  # captures of host and path, still escaped


class CelType(Enum):
    """The types of our variables, in CEL's words."""

    STRING = "string"
    INT = "int"
    BOOL = "bool"
    BYTES = "bytes"
    TIMESTAMP = "timestamp"
    TEXTS = "list(string)"
    TEXT_MAP = "map(string, string)"
    TEXTS_MAP = "map(string, list(string))"
    DYN_MAP = "map(string, dyn)"


class Variable(NamedTuple):
    """One variable."""

    type: CelType
    doc: str
    read: Callable[[Facts], object]


def _whole(value: object) -> object:
    """Return a value that the library will see all of.

    SECURITY: the library ends a text at its first NUL, so that `user%00admin` would be `user`. Such a value
    is an evaluation error (ValueError). Paths, hosts and headers with NUL are refused unread.
    """
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("a text with NUL")
    elif isinstance(value, bytes):
        return bytearray(value)  # bytes end at NUL too, a bytearray does not
    elif isinstance(value, Mapping):
        return {_whole(name): _whole(part) for name, part in value.items()}
    elif isinstance(value, list | tuple):
        return [_whole(part) for part in value]
    return value


def _headers(facts: Facts) -> dict[str, str]:
    return {name: header_text(value) for name, value in facts.request.headers.items()}


def _header_values(facts: Facts) -> dict[str, list[str]]:
    return {
        name: [part.strip() for part in header_text(value).split(",")]
        for name, value in facts.request.headers.items()
    }


def _query(facts: Facts) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    _whole(percent_decode(facts.request.query))
    for name, value in query_pairs(facts.request.query):
        values.setdefault(percent_decode(name), []).append(percent_decode(value))
    return values


def _segments(facts: Facts) -> list[str]:
    return [percent_decode(segment) for segment in facts.request.segments]


def _params(facts: Facts) -> dict[str, str]:
    return {name: percent_decode(value) for name, value in facts.params.items()}


def _time(facts: Facts) -> datetime:
    return EPOCH + timedelta(microseconds=facts.request.time_us)


VOCABULARY: dict[str, Variable] = {
    "request.method": Variable(
        CelType.STRING, "Canonical method; HEAD is GET.", lambda facts: facts.request.method
    ),
    "request.scheme": Variable(
        CelType.STRING,
        "`http` or `https`, as Envoy says; unless it is at the edge, it believes `x-forwarded-proto`.",
        lambda facts: facts.request.scheme,
    ),
    "request.host": Variable(
        CelType.STRING, "Canonical host: lower case, no port.", lambda facts: facts.request.host
    ),
    "request.url_path": Variable(
        CelType.STRING, "Canonical path, without query.", lambda facts: facts.request.path
    ),
    "request.segments": Variable(CelType.TEXTS, "Segments of the path, percent-decoded once.", _segments),
    "request.query": Variable(
        CelType.TEXTS_MAP, "Query parameters: decoded name to its decoded values, in order.", _query
    ),
    "request.headers": Variable(
        CelType.TEXT_MAP,
        "Headers: lower-case name to the value; repeated ones are joined with a comma, bad bytes are `!`.",
        _headers,
    ),
    "request.header_values": Variable(
        CelType.TEXTS_MAP, "Headers: lower-case name to the value split at commas, trimmed.", _header_values
    ),
    "request.protocol": Variable(
        CelType.STRING, "`HTTP/1.1`, `HTTP/2`, ...", lambda facts: facts.request.protocol
    ),
    "request.id": Variable(
        CelType.STRING, "The header `x-request-id`, or empty.", lambda facts: facts.request.request_id
    ),
    "request.time": Variable(CelType.TIMESTAMP, "When Envoy received the request.", _time),
    "request.size": Variable(
        CelType.INT, "Bytes of the body, -1 where it is not known.", lambda facts: facts.request.size
    ),
    "request.body": Variable(
        CelType.BYTES, "The body, where Envoy is told to send it.", lambda facts: _whole(facts.request.body)
    ),
    "params": Variable(
        CelType.TEXT_MAP, "Captures of the host and path pattern, percent-decoded once.", _params
    ),
    "client.address": Variable(
        CelType.STRING, "The client's address, or empty.", lambda facts: facts.request.client.address
    ),
    "client.network": Variable(
        CelType.STRING,
        "The client's network: /32 of IPv4, /64 of IPv6, or empty.",
        lambda facts: facts.request.client.network,
    ),
    "client.port": Variable(
        CelType.INT, "The port of the direct peer.", lambda facts: facts.request.client.port
    ),
    "peer.principal": Variable(
        CelType.STRING,
        "The workload that Envoy authenticated by mTLS, or empty.",
        lambda facts: _whole(facts.request.principal),
    ),
    "identity.kind": Variable(
        CelType.STRING,
        "`api_key`, `jwt`, `signature` or `anonymous`.",
        lambda facts: facts.identity.kind.value,
    ),
    "identity.provider": Variable(
        CelType.STRING, "The provider that proved it, or empty.", lambda facts: facts.identity.provider
    ),
    "identity.subject": Variable(
        CelType.STRING, "Who it is; of an API key its id.", lambda facts: facts.identity.subject
    ),
    "identity.key_id": Variable(
        CelType.STRING, "Id of the API key, or empty.", lambda facts: facts.identity.key_id
    ),
    "identity.customer": Variable(
        CelType.STRING, "Name of the customer, or empty.", lambda facts: facts.identity.customer
    ),
    "identity.scopes": Variable(
        CelType.TEXTS, "Scopes, or an empty list.", lambda facts: list(facts.identity.scopes)
    ),
    "identity.labels": Variable(
        CelType.TEXT_MAP,
        "Labels of the key, over those of its customer.",
        lambda facts: dict(facts.identity.labels),
    ),
    "identity.claims": Variable(
        CelType.DYN_MAP, "Claims of a token, or an empty map.", lambda facts: _whole(facts.identity.claims)
    ),
    "identity.anonymous": Variable(
        CelType.BOOL, "Whether nobody was proven.", lambda facts: facts.identity.anonymous
    ),
    "context": Variable(
        CelType.TEXT_MAP,
        "Context extensions of the route, those that the operator lists.",
        lambda facts: _whole(facts.request.context),
    ),
    "metadata": Variable(
        CelType.DYN_MAP,
        "Dynamic metadata, the name spaces that the operator lists.",
        lambda facts: _whole(facts.request.metadata),
    ),
}


def nearest(name: str) -> str | None:
    """Return the variable that an unknown name was probably meant to be, or None where none is close."""
    group, dot, rest = name.partition(".")
    meant = [known for known in VOCABULARY if known.endswith(f".{name}")]
    if not dot and meant:
        return meant[0]  # a bare `scopes`
    group = _closest(group, _groups()) or ""
    if group in VOCABULARY:
        return group  # `parms.id`: what follows is the caller's own
    found = _closest(rest.partition(".")[0], [known.partition(".")[2] for known in _of(group)])
    return f"{group}.{found}" if found else None


def _groups() -> list[str]:
    return sorted({known.partition(".")[0] for known in VOCABULARY})


def _of(group: str) -> list[str]:
    return [known for known in VOCABULARY if known.startswith(f"{group}.")]


def _closest(word: str, known: list[str]) -> str | None:
    return next(iter(difflib.get_close_matches(word, known, n=1, cutoff=0.7)), None)
