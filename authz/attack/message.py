"""CheckRequests as Envoy writes them, in both of its forms; and what an answer would make of a request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from envoy.service.auth.v3 import external_auth_pb2
from google.protobuf.message import DecodeError

from authz.attack.case import Answer, Ask, Pair, Seen, Verdict
from authz.attack.http1 import pairs_of

METHOD = "/envoy.service.auth.v3.Authorization/Check"

_DENIED_STATUS = 403  # what Envoy answers where the server names no status
_PEER = "192.0.2.10"  # an address for documentation. Source: RFC 5737


def check_request(ask: Ask, host: bytes, *, raw: bool, pseudo: bool = True) -> bytes:
    """Return the bytes of the CheckRequest that Envoy would send about a request.

    Args:
        raw: as with `encode_raw_headers: true`; else as the older joined map.
        pseudo: whether `:method` and its like stand among the headers, as they do without `allowed_headers`.
    """
    message = blank(ask, host)
    pairs = pairs_of(ask, host)
    add_headers(message, pairs if pseudo else pairs[4:], raw=raw)
    return bytes(message.SerializeToString())


def blank(ask: Ask, host: bytes) -> Any:
    """Return a CheckRequest with everything but the headers."""
    message = external_auth_pb2.CheckRequest()
    attributes = message.attributes
    attributes.source.address.socket_address.address = _PEER
    attributes.source.address.socket_address.port_value = 40000
    attributes.destination.address.socket_address.address = "192.0.2.20"
    attributes.destination.address.socket_address.port_value = 8080
    http = attributes.request.http
    http.id = "5577006791947779410"
    http.method, http.path = legible(ask.method), legible(ask.path)
    http.host = legible(host if ask.host is None else ask.host)
    http.scheme = legible(ask.scheme)
    http.protocol = "HTTP/1.1"
    http.size = len(ask.body) or -1
    return message


def add_headers(message: Any, pairs: Iterable[Pair], *, raw: bool) -> None:
    """Write headers in one of Envoy's forms: in order with duplicates, or joined with commas."""
    http = message.attributes.request.http
    if raw:
        for name, value in pairs:
            http.header_map.headers.add(key=legible(name), raw_value=value)
        return
    joined: dict[bytes, list[bytes]] = {}
    for name, value in pairs:
        joined.setdefault(name, []).append(value)
    for name, values in joined.items():
        # Envoy joins the crumbs of a cookie with semicolons; two whole cookie lines it joins with a comma.
        http.headers[legible(name)] = legible(b",".join(values))


def legible(value: bytes) -> str:
    """Return bytes as Envoy writes them into a text field: each that is not UTF-8 becomes `!`."""
    text = ""
    while value:
        try:
            return text + value.decode()
        except UnicodeDecodeError as error:
            text += value[: error.start].decode() + "!"
            value = value[error.start + 1 :]
    return text


def read_answer(payload: bytes, ask: Ask | None, host: bytes) -> Answer:
    """Read a CheckResponse as Envoy does.

    Args:
        ask: what it answers; the request that the upstream would get is worked out from it.
    """
    try:
        response = external_auth_pb2.CheckResponse.FromString(payload)
    except DecodeError:
        return Answer(Verdict.FAILED, note="the answer cannot be decoded")
    if response.status.code == 0:
        note = "an empty CheckResponse, which Envoy reads as a yes" if not payload else "status code 0"
        seen = (_after(ask, host, response.ok_response),) if ask is not None else ()
        return Answer(Verdict.ALLOWED, 200, note, seen=seen)
    if response.HasField("error_response"):
        return Answer(Verdict.FAILED, note="error_response, which Envoy counts as an error")
    denied = response.denied_response
    status = denied.status.code or _DENIED_STATUS
    headers = tuple((option.header.key.lower(), _value(option)) for option in denied.headers)
    return Answer(Verdict.REFUSED, status, "denied", headers, denied.body.encode())


def _value(option: Any) -> str:
    return str(option.header.raw_value.decode("latin-1") if option.header.raw_value else option.header.value)


def _after(ask: Ask, host: bytes, ok: Any) -> Seen:
    """Return the request that Envoy would pass on after an allow.

    Source: `OkHttpResponse`: headers are set, or appended where `append` says so, and removed last.
    """
    headers = [(name.lower(), value) for name, value in pairs_of(ask, host)[4:]]
    for option in ok.headers:
        name = option.header.key.lower().encode()
        if not option.append.value:
            headers = [pair for pair in headers if pair[0] != name]
        headers.append((name, _value(option).encode("latin-1", "replace")))
    removed = {name.lower().encode() for name in ok.headers_to_remove}
    kept = tuple(pair for pair in headers if pair[0] not in removed)
    return Seen(_without(ask.path, list(ok.query_parameters_to_remove)), kept, ask.method)


def _without(path: bytes, names: Sequence[str]) -> bytes:
    """Take query parameters out by their raw names, as Envoy does."""
    target, mark, query = path.partition(b"?")
    if not mark or not names:
        return path
    removed = {name.encode() for name in names}
    kept = [each for each in query.split(b"&") if each.partition(b"=")[0] not in removed]
    return target + b"?" + b"&".join(kept) if kept else target
