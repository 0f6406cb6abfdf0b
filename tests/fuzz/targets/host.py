"""A host, read: to one canonical name that patterns can be written in, or to none."""

from __future__ import annotations

import re
from ipaddress import IPv6Address

from authz.policy.host import parse_host
from authz.request.host import canonical_host
from tests.fuzz.target import Target

_PORT = re.compile(r":[1-9][0-9]{0,4}\Z")


def run(data: bytes) -> None:
    """Read one host."""
    raw = data.decode("utf-8", "replace")
    host = canonical_host(raw)
    assert canonical_host(raw) == host  # the cache answers alike
    if not host:
        return
    assert canonical_host(host) == host
    assert canonical_host(host + ":443") == host
    assert host.isascii()
    assert host == host.lower()
    bare = _PORT.sub("", raw.lower())
    if host[0] == "[":
        # The same address, written in the shortest way; never one of IPv4 in disguise.
        assert IPv6Address(bare[1:-1]) == IPv6Address(host[1:-1])
        assert IPv6Address(host[1:-1]).ipv4_mapped is None
    else:
        # An odd spelling selects nobody else's policy: only case, one dot and a port may differ.
        assert bare.removesuffix(".") == host
    pattern = parse_host(host)
    assert (pattern.kind, pattern.host) == ("exact", host)


TARGET = Target(
    run,
    300,
    (b"example.com", b":443", b".", b"[::1]", b"127.0.0.1", b"0x7f", b"xn--", b"*.", b"@", b"%00", b"65536"),
)
