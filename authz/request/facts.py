"""What single headers say: upgrades, gRPC, and the identifiers that tie records together."""

from __future__ import annotations

import re
from collections.abc import Mapping

from authz.model.reason import Detail
from authz.model.text import header_text
from authz.model.trace import UNTRACED, TraceParent

_REQUEST_ID_MAX_CHARS = 128
_H2C = "h2c"
_UPGRADE_MAX_BYTES = 1024  # an honest one names one protocol; 60 KB of names took 12 ms
# protocol-name ["/" protocol-version]. Source: RFC 9110, section 7.8.
_PROTOCOL = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+(?:/[!#$%&'*+\-.^_`|~0-9a-z]+)?")
# version "-" trace-id "-" parent-id "-" flags, and more in versions after 00; ff is no version.
# Source: W3C Trace Context, section 3.2.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-[0-9a-f]([0-9a-f])"
    r"(?:\Z|(?<!\A00.{53})-.*)",
    re.DOTALL,
)
_SAMPLED = "13579bdf"  # the last digit of the flags, where its lowest bit is set
_new = tuple.__new__  # what a NamedTuple's own constructor does, without its 0.3 us of arguments
_GRPC_NAME = b"application/grpc"
_GRPC = re.compile(rb"application/grpc(?:\+.*|[ \t]*(?:;.*)?)", re.DOTALL)


def upgrades(headers: Mapping[str, bytes]) -> tuple[str, ...] | Detail:
    """Return the protocols that a request asks to switch to, lower case, in the order asked.

    SECURITY: the header counts whether or not `connection` names it, since not every upstream looks there.
    `h2c` and what cannot be read are refused: an upstream may find an `h2c` in it.
    Source: threats.md, "Host, scheme, method"; RFC 9110, section 7.8.
    """
    value = headers.get("upgrade")
    if value is None:
        return ()
    if len(value) > _UPGRADE_MAX_BYTES:
        return Detail.UPGRADE_REFUSED
    asked = tuple(part.strip(" \t") for part in header_text(value).lower().split(","))
    asked = tuple(part for part in asked if part)
    for protocol in asked:
        if not _PROTOCOL.fullmatch(protocol) or protocol.partition("/")[0] == _H2C:
            return Detail.UPGRADE_REFUSED
    return asked


def speaks_grpc(method: str, headers: Mapping[str, bytes]) -> bool | Detail:
    """Tell whether a request is a gRPC call: POST with content type application/grpc or application/grpc+*.

    Two content types of which one is gRPC's are refused: readers differ in which one counts.
    Source: documents.md, section 1 (`grpc`); the gRPC over HTTP/2 specification, "Requests".
    """
    value = headers.get("content-type")
    if value is None or method != "POST":
        return False
    lowered = value.lower()
    if _GRPC_NAME not in lowered:
        return False
    if b"," in lowered:
        return Detail.HEADER_AMBIGUOUS
    return _GRPC.fullmatch(lowered.strip(b" \t")) is not None


def request_id(headers: Mapping[str, bytes]) -> str:
    """Return `x-request-id` as a record may hold it: printable ASCII, at most 128 characters, or ""."""
    value = headers.get("x-request-id")
    if value is None or not value.isascii():
        return ""
    text = value[:_REQUEST_ID_MAX_CHARS].decode("ascii")
    return text if text.isprintable() else ""


def trace_parent(headers: Mapping[str, bytes], asked_with: str = "") -> TraceParent:
    """Return what a valid `traceparent` says, or UNTRACED.

    Args:
        asked_with: the one that came with the call itself: our Envoy's own span, which counts before what the
            client sent. Envoy tells the application of its span later than it asks us, so the headers never
            name it.
    """
    parent = _parent(asked_with) if asked_with else None
    if parent is None:
        value = headers.get("traceparent")
        parent = _parent(value.decode("latin-1")) if value is not None else None
    return parent or UNTRACED


def _parent(text: str) -> TraceParent | None:
    match = _TRACEPARENT.fullmatch(text)
    if match is None:
        return None
    trace_id, span_id, flag = match.groups()
    return _new(TraceParent, (trace_id, span_id, flag in _SAMPLED))
