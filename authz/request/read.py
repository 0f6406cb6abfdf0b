"""The door of the room: bytes in, a Request or an Unreadable out.

Every check passes here once, so the ordinary request takes the shortest way: each part is proven ordinary
by one look in C, and only what is odd is read slowly. Faults answer in the order of the steps.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from authz.model.reason import Detail
from authz.model.request import NOWHERE, Client, Request, Unreadable
from authz.model.site import Listener, ReadingRules
from authz.request.client import direct, locate
from authz.request.facts import request_id, speaks_grpc, trace_parent
from authz.request.headers import Headers, RequestLine, gather, legible, read_headers
from authz.request.host import canonical_host
from authz.request.parse import listed_context, listed_metadata, parse, seen_at_us
from authz.request.path import Target, read_path, split_target
from authz.request.query import query_fault

_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Z]{1,32}")
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_new = tuple.__new__  # what a NamedTuple's own constructor does, without its 0.3 us of arguments
_PLAIN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REFUSED_METHODS = frozenset({"TRACE", "TRACK", "CONNECT"})
# Envoy lets no other scheme through; "" is a caller that does not say.
_SCHEMES = frozenset({"http", "https", ""})


def read(payload: bytes, rules: ReadingRules, traceparent: str = "") -> Request | Unreadable:
    """Read one CheckRequest.

    Args:
        payload: the bytes of the message, as they arrived.
        rules: what the listener and the Sites say about reading.
        traceparent: that of the call itself, or "".

    Returns:
        the canonical request, or the first fault and what is known besides. Never raises, whatever the bytes.

    Source: documents.md, section 3, step 1; design.md, laws 2 and 3.
    """
    if len(payload) > rules.listener.max_message_bytes:
        return Unreadable(Detail.TOO_LARGE)
    attributes = parse(payload)
    if attributes is None:
        return Unreadable(Detail.UNDECODABLE)
    found = _read(attributes, rules, traceparent)
    if isinstance(found, Request):
        return found
    return _unreadable(found, attributes, rules.listener, traceparent)


def _read(attributes: Any, rules: ReadingRules, traceparent: str) -> Request | Detail:
    """Read a message, fault by fault."""
    request = attributes.request
    http = request.http
    method, raw_path, raw_host, scheme = http.method, http.path, http.host, http.scheme
    line = _new(RequestLine, (method, raw_path, raw_host, scheme))
    host = canonical_host(raw_host)
    if not host:
        # Asked only here, since an absent message has no host: saves a look-up on every other check.
        return Detail.HOST_INVALID if request.HasField("http") else Detail.UNDECODABLE
    served = rules.listener.hosts
    if served is not None and not served.covers(host):
        return Detail.HOST_NOT_SERVED
    if method not in _PLAIN_METHODS or scheme not in _SCHEMES:
        fault = _line_fault(line)
        if fault is not None:
            return fault
    site = rules.site_of(host)
    owned = rules.owned if rules.owned_of is None else rules.owned_of(host)
    headers = read_headers(http, line, site, rules.listener, owned)
    if isinstance(headers, Detail):
        return headers
    split = split_target(raw_path, site.path_max_bytes)
    if isinstance(split, Detail):
        return split
    path, query = split
    target = read_path(path, site)
    if isinstance(target, Detail):
        return target
    if query or http.query or http.fragment:
        fault = _query_fault(http, query, rules.listener)
        if fault is not None:
            return fault
    return _request(attributes, line, host, headers, target, query, rules, traceparent)


def _line_fault(line: RequestLine) -> Detail | None:
    """Judge method and scheme. Source: threats.md, "Host, scheme, method"."""
    method = line.method
    if not _METHOD.fullmatch(method):
        return Detail.METHOD_INVALID
    if method in _REFUSED_METHODS:
        return Detail.METHOD_NOT_ALLOWED
    return None if line.scheme.lower() in _SCHEMES else Detail.SCHEME_INVALID


def _query_fault(http: Any, query: str, listener: Listener) -> Detail | None:
    """Judge the query, and Envoy's fields `query` and `fragment`, which it leaves empty."""
    if query:
        if len(query) > listener.max_header_bytes:
            return Detail.HEADERS_TOO_LARGE
        fault = query_fault(query)
        if fault is not None:
            return fault
    if http.fragment or http.query not in ("", query):
        return Detail.PATH_AMBIGUOUS
    return None


def _request(
    attributes: Any,
    line: RequestLine,
    host: str,
    headers: Headers,
    target: Target,
    query: str,
    rules: ReadingRules,
    traceparent: str,
) -> Request:
    """Put the parts together, in the order of the type (a unit test reads every field by its name)."""
    values, repeated, strays, upgrade, grpc = headers
    path, segments, structural = target
    method, _, _, scheme = line
    listener = rules.listener
    request = attributes.request
    http = request.http
    source = attributes.source
    trace_id, parent_span_id, sampled = trace_parent(values, traceparent)
    fields = (
        "GET" if method == "HEAD" else method,
        method,
        scheme.lower(),
        host,
        path,
        segments,
        query,
        values,
        repeated,
        strays,
        _client(source, values, listener),
        source.principal,
        upgrade,
        grpc,
        http.protocol,
        http.size,
        seen_at_us(request) if rules.time else 0,
        request_id(values),
        trace_id,
        (http.raw_body or http.body.encode()) if rules.body else b"",
        listed_context(attributes, listener.context) if listener.context else _NOTHING,
        listed_metadata(attributes, listener.metadata) if listener.metadata else _NOTHING,
        structural,
        parent_span_id,
        sampled,
    )
    return _new(Request, fields)


def _client(source: Any, values: Mapping[str, bytes], listener: Listener) -> Client:
    """Find the client; a peer on a Unix socket has no address."""
    socket = source.address.socket_address
    if not listener.trusted_hops:
        return direct(socket.address, socket.port_value)
    return locate(socket.address, socket.port_value, values.get("x-forwarded-for"), listener)


def _unreadable(detail: Detail, attributes: Any, listener: Listener, traceparent: str) -> Unreadable:
    """Keep what is known of a request that is refused. Off the hot path, but still linear and bounded."""
    http = attributes.request.http
    method: str = http.method
    gathered = gather(http, listener)
    # SECURITY: headers that cannot be gathered say nothing of the client; the peer would be the trusted
    # proxy, and what its guard is charged for would hit everyone behind it.
    unknown = isinstance(gathered, Detail)
    values: Mapping[str, bytes] = {} if isinstance(gathered, Detail) else legible(gathered[0])
    trace_id, parent_span_id, sampled = trace_parent(values, traceparent)
    return Unreadable(
        detail,
        method=method,
        host=http.host,
        path=http.path.partition("?")[0],
        scheme=http.scheme,
        protocol=http.protocol,
        size=http.size,
        client=NOWHERE if unknown and listener.trusted_hops else _client(attributes.source, values, listener),
        grpc=speaks_grpc(method, values) is not False,
        request_id=request_id(values),
        trace_id=trace_id,
        parent_span_id=parent_span_id,
        sampled=sampled,
    )
