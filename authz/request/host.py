"""The canonical host: lower case, without port and trailing dot; anything odd is no host at all.

Decisions where the contract leaves room:
- Underscores are letters like any other: Compose and Windows networks serve such names, and nothing reads
  `_` in a host as another character.
- A label that begins or ends with a hyphen is odd.
- A name whose last label is a number (`127.1`, `0x7f.1`, `2130706433`) is read as an IPv4 address by
  resolvers and browsers. No honest name ends so; only the plain form of four decimal numbers is one.
- An IPv4 address in IPv6 clothes (`[::ffff:127.0.0.1]`) would be a second name of one address: odd.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from authz.model.errors import ConfigError
from authz.model.site import ServedHosts

# 253 characters of name, a trailing dot, a colon and five digits. Source: RFC 1035, section 2.3.4.
_RAW_MAX_CHARS = 260
_NAME_MAX_CHARS = 253
_PORT_MAX = 65535

_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([1-9][0-9]{0,4}))?")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?:{_LABEL}\.)*({_LABEL})")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


def canonical_host(raw: str) -> str:
    """Return the canonical form of a `host` field, or "" where it is no host.

    IPv6 keeps its brackets and is written in its shortest form.
    Source: documents.md, section 2; RFC 3986, section 3.2.2.
    """
    # SECURITY: the length comes before the cache, or a client could fill our memory with long hosts.
    return _canonical(raw) if len(raw) <= _RAW_MAX_CHARS else ""


def host_names(texts: Iterable[str]) -> tuple[str, ...]:
    """Return hosts as an operator names them in canonical form, sorted, each once; () for every host.

    Brought there by the same function as the hosts of requests, so that the two can be compared.

    Args:
        texts: hosts, `*.suffix` for every host with one or more labels before the suffix, or `*`.

    Raises:
        ConfigError: one of them is none of these. A port is: requests have one, hosts have not.
    """
    names = {text if text == "*" else _host_name(text) for text in texts}
    return () if "*" in names else tuple(sorted(names))


def served_hosts(texts: Iterable[str]) -> ServedHosts | None:
    """Return the hosts that an operator names as requests are compared with them; None for every host.

    Raises:
        ConfigError: see `host_names`.
    """
    names = host_names(texts)
    suffixes = frozenset(name[2:] for name in names if name.startswith("*."))
    exact = frozenset(name for name in names if not name.startswith("*."))
    return ServedHosts(exact, suffixes) if names else None


def _host_name(text: str) -> str:
    star = "*." if text.startswith("*.") else ""
    name = text[len(star) :]
    host = canonical_host(name) if name.endswith("]") or ":" not in name else ""
    if not host or (star and _is_address(host)):
        raise ConfigError(f"--hosts: `{text}` is not a host; write `items.example.com` or `*.example.com`")
    return star + host


def _is_address(host: str) -> bool:
    return host.startswith("[") or host.rpartition(".")[2].isdigit()


@lru_cache(maxsize=2048)
def _canonical(raw: str) -> str:
    match = _AUTHORITY.fullmatch(raw)
    if match is None or int(match[2] or 1) > _PORT_MAX:
        return ""
    name = match[1].lower()
    return _canonical_ipv6(name) if name[0] == "[" else _canonical_name(name.removesuffix("."))


def _canonical_name(name: str) -> str:
    match = _NAME.fullmatch(name)
    if match is None or len(name) > _NAME_MAX_CHARS:
        return ""
    return _canonical_ipv4(name) if _NUMBER.fullmatch(match[1]) else name


def _canonical_ipv4(name: str) -> str:
    try:
        return str(IPv4Address(name))  # refuses leading zeros, hexadecimal and fewer than four numbers
    except AddressValueError:
        return ""


def _canonical_ipv6(name: str) -> str:
    try:
        address = IPv6Address(name[1:-1])
    except AddressValueError:
        return ""
    return "" if address.ipv4_mapped else f"[{address}]"
