"""Builders of canonical requests, for tests of the rooms behind `request/`."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from authz.model.request import NOWHERE, Client, Request


def client(address: str = "203.0.113.7", port: int = 40000) -> Client:
    """Return a client at an address; "" for none."""
    if not address:
        return NOWHERE
    parsed = ip_address(address)
    network = ip_network(f"{parsed}/{32 if parsed.version == 4 else 64}", strict=False)
    return Client(str(parsed), str(network), port, parsed.version, int(parsed))


def request(
    method: str = "GET",
    host: str = "items.example.com",
    path: str = "/",
    headers: Mapping[str, str | bytes] | None = None,
    **fields: Any,  # any: these are the fields of Request, whose constructor checks their names
) -> Request:
    """Return a canonical request.

    Args:
        method: as sent; HEAD is judged as GET.
        path: may carry a query after the first `?`.
        headers: names to joined values; text is written in UTF-8.
        fields: any other field of Request, in place of its usual value.
    """
    bare, _, query = path.partition("?")
    values: dict[str, Any] = {
        "method": "GET" if method == "HEAD" else method,
        "sent_method": method,
        "scheme": "https",
        "host": host,
        "path": bare,
        "segments": tuple(segment for segment in bare.split("/") if segment),
        "query": query,
        "headers": {
            name.lower(): value.encode() if isinstance(value, str) else value
            for name, value in (headers or {}).items()
        },
        "repeated": frozenset(),
        "strays": (),
        "client": client(),
        "principal": "",
        "upgrade": (),
        "grpc": False,
        "protocol": "HTTP/2",
        "size": 0,
        "time_us": 1_780_000_000_000_000,
        "request_id": "",
        "trace_id": "",
        "body": b"",
        "context": {},
    }
    return Request(**{**values, **fields})
