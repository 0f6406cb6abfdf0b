"""One prepared call: a CheckRequest as Envoy writes it with `encode_raw_headers`, in a gRPC frame."""

from __future__ import annotations

from envoy.service.auth.v3 import external_auth_pb2

# What a browser and Envoy send together, besides the pseudo headers.
_HEADERS = (
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"),
    ("accept", "application/json"),
    ("accept-encoding", "gzip, deflate, br"),
    ("accept-language", "en-GB,en;q=0.8"),
    ("x-forwarded-proto", "http"),
    ("x-request-id", "5b0d1f3c-93b6-4a30-9d25-6a3b7d0f2c11"),
)


def frame(host: str, path: str, key: str = "") -> bytes:
    """Return the bytes that a caller of `Check` sends as its body."""
    message = external_auth_pb2.CheckRequest()
    peer = message.attributes.source.address.socket_address
    peer.address, peer.port_value = "203.0.113.7", 40000
    request = message.attributes.request
    request.time.GetCurrentTime()
    http = request.http
    http.id, http.method, http.path, http.host = "1234567890", "GET", path, host
    http.scheme, http.protocol, http.size = "http", "HTTP/1.1", -1
    pseudo = ((":authority", host), (":path", path), (":method", "GET"), (":scheme", "http"))
    for name, value in (*pseudo, *_HEADERS, *((("x-api-key", key),) if key else ())):
        header = http.header_map.headers.add()
        header.key, header.raw_value = name, value.encode()
    payload: bytes = message.SerializeToString()
    return b"\0" + len(payload).to_bytes(4, "big") + payload
