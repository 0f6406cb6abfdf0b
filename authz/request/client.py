"""The client's address: the direct peer, or what a trusted proxy says of it.

Source: design.md, section 5 (`--trusted-hops`, `xff_appended`) and law 6.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NamedTuple

from authz.model.request import NOWHERE, Client
from authz.model.site import Listener

# "[" + 45 characters of IPv6 with IPv4 inside + "]:65535", and room for a zone. Longer is no address.
_ADDRESS_MAX_CHARS = 64
_IPV6_NETWORK_BITS = 64


class _Address(NamedTuple):
    """An address, read: the parts of a Client that do not change from connection to connection."""

    address: str
    network: str
    version: int
    number: int


def locate(peer: str, port: int, forwarded: bytes | None, listener: Listener) -> Client:
    """Return who connects.

    Args:
        peer: address of the direct peer as Envoy asserts it; "" where it has none (a Unix socket).
        port: its port, 0 where unknown.
        forwarded: the joined `x-forwarded-for`, or None.
        listener: how many proxies are trusted.

    Fewer entries than trusted proxies: the request did not come through them all, so the direct peer counts.
    SECURITY: an entry that stands in the right place but is no address gives NOWHERE, which is in no
    network, and never the peer: that would be the proxy, whose address may be one that rules trust.
    """
    if not listener.trusted_hops:
        return direct(peer, port)
    depth = listener.trusted_hops + listener.xff_appended
    # Counted by position from the right: what stands further left is the client's to write.
    entries = forwarded.rsplit(b",", depth) if forwarded and forwarded.strip() else []
    if len(entries) < depth:
        return direct(peer, port)
    return direct(_entry_address(entries[-depth].strip()), port)


def _entry_address(entry: bytes) -> str:
    """Return the address out of one entry: `1.2.3.4`, `1.2.3.4:80`, `2001:db8::1`, `[2001:db8::1]:80`."""
    if len(entry) > _ADDRESS_MAX_CHARS or not entry.isascii():
        return ""
    text = entry.decode("ascii")
    if text.startswith("["):
        address, bracket, port = text[1:].partition("]")
        return address if bracket and ":" in address and _is_port(port) else ""
    address, colon, port = text.partition(":")
    if colon and ":" not in port:
        return address if _is_port(colon + port) else ""
    return text


def _is_port(text: str) -> bool:
    """Tell whether a text is nothing, or a colon and digits."""
    return not text or (text[0] == ":" and text[1:].isdigit() and len(text) <= len(":65535"))


def direct(text: str, port: int) -> Client:
    """Return the client at an address as Envoy, or a proxy that it trusts, writes it."""
    # SECURITY: the length comes before the caches, or a client could fill our memory.
    return _known_client(text, port) if len(text) <= _ADDRESS_MAX_CHARS else NOWHERE


@lru_cache(maxsize=4096)
def _known_client(text: str, port: int) -> Client:
    """Connections live long, so address and port make a good key; `_parse` helps where they do not."""
    found = _parse(text)
    return (
        NOWHERE if found is None else Client(found.address, found.network, port, found.version, found.number)
    )


@lru_cache(maxsize=4096)
def _parse(text: str) -> _Address | None:
    """Read an address. A zone (`%eth0`) names an interface of ours and is dropped; mapped IPv4 is IPv4."""
    if ":" not in text:
        return _ipv4(text)
    try:
        address = IPv6Address(text.partition("%")[0])
    except AddressValueError:
        return None
    if address.ipv4_mapped is not None:
        return _ipv4(str(address.ipv4_mapped))
    host_bits = 128 - _IPV6_NETWORK_BITS
    network = IPv6Address(int(address) >> host_bits << host_bits)
    return _Address(str(address), f"{network}/{_IPV6_NETWORK_BITS}", 6, int(address))


def _ipv4(text: str) -> _Address | None:
    try:
        address = IPv4Address(text)  # refuses leading zeros, which some readers take for octal
    except AddressValueError:
        return None
    return _Address(str(address), f"{address}/32", 4, int(address))
