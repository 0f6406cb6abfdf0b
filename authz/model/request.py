"""The canonical request: the only form of a request that any room after `request/` sees."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from authz.model.reason import Detail


class Client(NamedTuple):
    """Who connects, by address. Mapped IPv4 is IPv4; IPv6 is written in its shortest form.

    A client with no usable address has empty strings and `number` -1: it is in no network.
    """

    address: str  # "203.0.113.7", "2001:db8::1" or ""
    network: str  # "203.0.113.7/32", "2001:db8::/64" or ""
    port: int  # of the direct peer; 0 where it is not known
    version: int  # 4, 6 or 0
    number: int  # the address as an integer, for comparison with networks; -1 where there is none


NOWHERE = Client(address="", network="", port=0, version=0, number=-1)


class Request(NamedTuple):
    """One request in canonical form. A named tuple: a frozen dataclass costs 1 us more per check.

    Source: envoy.service.auth.v3.AttributeContext; each field names its origin where it is not obvious.
    """

    method: str  # upper-case token; HEAD is GET here
    sent_method: str  # as it was sent: "HEAD" stays "HEAD"
    scheme: str  # lower case, from Envoy's field only
    host: str  # lower case, no port, no trailing dot; IPv6 in brackets
    path: str  # canonical, begins with "/", without query
    segments: tuple[str, ...]  # of the canonical path, still escaped; () for "/"
    query: str  # everything after the first "?", as sent; "" where there is none
    headers: Mapping[str, bytes]  # lower-case name -> values joined with b","; no pseudo headers
    repeated: frozenset[str]  # names that came more than once
    strays: tuple[str, ...]  # headers, as received, that must not reach the upstream unless we set them
    client: Client
    principal: str  # the peer that Envoy authenticated by mTLS, or ""
    upgrade: tuple[str, ...]  # lower-case protocols that the request asks to switch to
    grpc: bool  # content type application/grpc or application/grpc+*
    protocol: str  # "HTTP/1.1", "HTTP/2", ...
    size: int  # bytes of the body as Envoy knows it, -1 where unknown
    time_us: int  # when Envoy saw the request, microseconds since 1970; 0 where unknown
    request_id: str  # header x-request-id, shortened to what a record may hold; "" where absent
    trace_id: str  # 32 hex digits out of a valid traceparent, or ""
    body: bytes
    context: Mapping[str, str]  # context_extensions that the operator lists
    metadata: Mapping[str, object] = MappingProxyType({})  # listed name spaces, as plain values
    structural: str = (
        ""  # the other reading of the path (decoded, parameters stripped), where a Site keeps both
    )
    parent_span_id: str = ""  # 16 hex digits: the span of whoever asks; "" where trace_id is
    sampled: bool = False  # the trace's flag says that somebody keeps it

    def __repr__(self) -> str:  # SECURITY: headers, query, body and path may hold credentials
        return f"Request(method={self.method!r}, host={self.host!r}, ***)"


# Of which nothing is said: for whoever asks what a policy set would do, and says by `_replace` what matters.
UNSAID = Request(
    method="",
    sent_method="",
    scheme="",
    host="",
    path="/",
    segments=(),
    query="",
    headers={},
    repeated=frozenset(),
    strays=(),
    client=NOWHERE,
    principal="",
    upgrade=(),
    grpc=False,
    protocol="",
    size=-1,
    time_us=0,
    request_id="",
    trace_id="",
    body=b"",
    context={},
)


class Unreadable(NamedTuple):
    """A request that could not be read, and what is known of it for the record and the refusal's form.

    Every text is as sent (still hostile); `record/` shortens and escapes it.
    """

    detail: Detail
    method: str = ""
    host: str = ""
    path: str = ""  # without query
    scheme: str = ""
    protocol: str = ""
    size: int = -1
    client: Client = NOWHERE
    grpc: bool = False
    request_id: str = ""
    trace_id: str = ""
    parent_span_id: str = ""
    sampled: bool = False

    def __repr__(self) -> str:  # SECURITY: as above; here even the host is as sent
        return f"Unreadable(detail={self.detail.value!r}, ***)"
