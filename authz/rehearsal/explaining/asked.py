"""The request of an explanation: as it was sent, and as it is judged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from authz.model.request import Client, Request, Unreadable
from authz.model.site import Listener, Site
from authz.model.text import header_text, percent_decode, query_pairs
from authz.policy.loaded import Loaded
from authz.rehearsal.explaining.explanation import RequestPart, SitePart
from authz.rehearsal.explaining.grants import written_rate


def sent_headers(http: Any) -> Iterator[tuple[str, bytes]]:
    """Yield the headers of a message, in either of Envoy's forms."""
    for entry in http.header_map.headers:
        yield entry.key, entry.raw_value or entry.value.encode()
    for name, value in http.headers.items():
        yield name, value.encode()


def request_part(request: Request | Unreadable, http: Any, listener: Listener) -> RequestPart:
    """Return the request as it is judged, and what of it was sent otherwise."""
    if isinstance(request, Unreadable):
        return _unread(request, http, listener)
    sent_path = http.path.partition("?")[0]
    return RequestPart(
        method=request.method,
        sent_method=request.sent_method if request.sent_method != request.method else "",
        scheme=request.scheme,
        host=request.host,
        sent_host=http.host if http.host != request.host else "",
        path=request.path,
        sent_path=sent_path if sent_path != request.path else "",
        segments=request.segments,
        query=tuple(dict.fromkeys(percent_decode(name) for name, _ in query_pairs(request.query))),
        headers=tuple(request.headers),
        strays=request.strays,
        upgrade=request.upgrade,
        grpc=request.grpc,
        protocol=request.protocol,
        address=request.client.address,
        network=request.client.network,
        address_from=address_from(request.client, request.headers.get("x-forwarded-for"), listener),
        principal=request.principal,
    )


def _unread(request: Unreadable, http: Any, listener: Listener) -> RequestPart:
    values = {name.lower(): value for name, value in sent_headers(http)}
    return RequestPart(
        sent_method=request.method,
        scheme=request.scheme,
        sent_host=request.host,
        sent_path=request.path,
        headers=tuple(values),
        protocol=request.protocol,
        address=request.client.address,
        network=request.client.network,
        address_from=address_from(request.client, values.get("x-forwarded-for"), listener),
        fault=request.detail.value,
    )


def address_from(client: Client, forwarded: bytes | None, listener: Listener) -> str:
    """Return, in words, where the client's address comes from; see `request/client.py`."""
    if not listener.trusted_hops:
        ignored = "; x-forwarded-for is ignored: no proxy is trusted" if forwarded else ""
        return "the direct peer" + ignored
    depth = listener.trusted_hops + listener.xff_appended
    entries = header_text(forwarded).split(",") if forwarded and forwarded.strip() else []
    if len(entries) < depth:
        return f"the direct peer: x-forwarded-for has fewer than {depth} entries"
    if not client.address:
        return f"nowhere: entry {depth} from the right of x-forwarded-for is no address"
    return f"entry {depth} from the right of x-forwarded-for"


def site_part(site: Site, loaded: Loaded) -> SitePart:
    """Return what is told of the Site in force."""
    keeps = (("matrixParameters", site.keep_matrix), ("encodedSlash", site.keep_slashes))
    guard = site.guard
    return SitePart(
        name=site.name,
        place=next((str(document.place()) for document in loaded.sites if document.name == site.name), ""),
        keeps=tuple(name for name, kept in keeps if kept),
        guard=f"{written_rate(guard)}, burst {guard.burst_tokens:g}" if guard is not None else "",
        reasons="full" if site.full_reasons else "coarse",
    )
