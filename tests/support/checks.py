"""Builders of CheckRequest bytes, spelled as Envoy spells them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from envoy.service.auth.v3 import external_auth_pb2

Value = str | bytes
HeaderPairs = Iterable[tuple[str, Value]]
Mode = Literal["raw", "map", "none"]

# What a browser and Envoy together send: nine headers besides the pseudo headers.
TYPICAL_HEADERS: tuple[tuple[str, Value], ...] = (
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"),
    ("accept", "application/json"),
    ("accept-encoding", "gzip, deflate, br"),
    ("accept-language", "en-GB,en;q=0.8"),
    ("authorization", "Bearer ak_live_k7Qm2VxP0aZs_" + "A" * 43 + "2Oob3N"),
    ("x-forwarded-for", "203.0.113.7"),
    ("x-forwarded-proto", "http"),
    ("x-request-id", "5b0d1f3c-93b6-4a30-9d25-6a3b7d0f2c11"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
)


def check_request(
    method: str = "GET",
    path: str = "/",
    host: str = "example.com",
    headers: HeaderPairs = (),
    mode: Mode = "raw",
    *,
    scheme: str = "http",
    protocol: str = "HTTP/1.1",
    peer: str = "10.0.0.1",
    port: int = 40000,
    pipe: str = "",
    principal: str = "",
    pseudo: bool = True,
    query: str = "",
    fragment: str = "",
    body: str = "",
    raw_body: bytes = b"",
    size: int = -1,
    time_us: int = 0,
    context: Mapping[str, str] | None = None,
    stream_id: str = "1234567890",
) -> bytes:
    """Return the bytes of a CheckRequest as Envoy writes it.

    Args:
        headers: names and values in the order sent; a name may stand several times.
        mode: `raw` is `encode_raw_headers: true` (header_map); `map` is the older joined map, with bytes
            that are not UTF-8 as `!`; `none` sends no headers at all, pseudo headers included.
        peer: address of the direct peer; "" for none.
        pipe: a Unix socket's path, instead of `peer`.
        pseudo: send `:authority`, `:method`, `:path` and `:scheme` among the headers, as Envoy does
            unless `allowed_headers` is set.
        query: the field of that name, which Envoy leaves empty; so with `fragment`.
        time_us: when Envoy saw the request, microseconds since 1970; 0 leaves it unset.
    """
    check = external_auth_pb2.CheckRequest()
    attributes = check.attributes
    if pipe:
        attributes.source.address.pipe.path = pipe
    elif peer:
        attributes.source.address.socket_address.address = peer
        attributes.source.address.socket_address.port_value = port
    attributes.source.principal = principal
    attributes.destination.address.socket_address.address = "10.0.0.2"
    attributes.destination.address.socket_address.port_value = 8080
    if time_us:
        attributes.request.time.seconds = time_us // 1_000_000
        attributes.request.time.nanos = time_us % 1_000_000 * 1000
    attributes.context_extensions.update(context or {})
    http = attributes.request.http
    http.id = stream_id
    http.method, http.path, http.host, http.scheme = method, path, host, scheme
    http.query, http.fragment = query, fragment
    http.protocol = protocol
    http.size = size
    http.body, http.raw_body = body, raw_body
    own = [(":authority", host), (":path", path), (":method", method), (":scheme", scheme)] if pseudo else []
    _set_headers(http, [*own, *headers], mode)
    return bytes(check.SerializeToString())


def _set_headers(http: object, pairs: list[tuple[str, Value]], mode: Mode) -> None:
    """Write the headers into the field that Envoy uses in this mode."""
    if mode == "raw":
        add_raw(http, pairs)
    elif mode == "map":
        add_joined(http, pairs)


def add_raw(http: object, pairs: HeaderPairs) -> None:
    """Write headers as `encode_raw_headers: true` does: in order, duplicates kept, values as bytes."""
    header_map = http.header_map.headers  # type: ignore[attr-defined] # xds-protos carries no types
    for name, value in pairs:
        header_map.add(key=name, raw_value=_bytes(value))


def add_joined(http: object, pairs: HeaderPairs) -> None:
    """Write headers as Envoy's older map: duplicates joined with commas, bad bytes as `!`."""
    joined: dict[str, list[bytes]] = {}
    for name, value in pairs:
        joined.setdefault(name.lower(), []).append(_bytes(value))
    for name, values in joined.items():
        http.headers[name] = sanitised(b",".join(values))  # type: ignore[attr-defined] # as above


def sanitised(value: bytes) -> str:
    """Return a header value as Envoy writes it into a string field: each bad byte becomes `!`.

    Written apart from the product's own function on purpose: the tests compare the two.
    """
    text = ""
    while value:
        try:
            return text + value.decode()
        except UnicodeDecodeError as error:
            text += value[: error.start].decode() + "!"
            value = value[error.start + 1 :]
    return text


def typical_check(mode: Mode = "raw", **changes: object) -> bytes:
    """Return the check that benchmarks measure: a GET with nine headers and an API key."""
    settings: dict[str, object] = {
        "path": "/api/v1/items/42?limit=10",
        "host": "items.example.com",
        "headers": TYPICAL_HEADERS,
        "mode": mode,
        "time_us": 1_780_000_000_123_456,
    }
    return check_request(**{**settings, **changes})  # type: ignore[arg-type] # tests name real arguments


def _bytes(value: Value) -> bytes:
    return value if isinstance(value, bytes) else value.encode()
