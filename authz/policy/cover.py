"""Which patterns hold everything that others hold, and which have something in common.

Asked of documents and never of requests: by warnings, and by whoever compares two sets.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from authz.policy.host import HostPattern
from authz.policy.path import PathPattern


def host_covers(wide: HostPattern, narrow: HostPattern) -> bool:
    """Whether every host of one pattern is one of another."""
    match wide.kind:
        case "any":
            return True
        case "exact":
            return narrow.kind == "exact" and narrow.host == wide.host
        case "capture":
            if narrow.kind == "exact":
                return wide.matches(narrow.host)
            return narrow.kind == "capture" and narrow.host == wide.host
        case "suffix":
            inside = narrow.host.endswith(f".{wide.host}")
            return narrow.kind != "any" and (inside or (narrow.kind != "exact" and narrow.host == wide.host))


def path_covers(wide: PathPattern, narrow: PathPattern) -> bool:
    """Whether every path of one pattern is one of another."""
    if len(wide.segments) > len(narrow.segments):
        return False
    if not wide.rest and (narrow.rest or len(wide.segments) != len(narrow.segments)):
        return False
    return all(own in (None, other) for own, other in zip(wide.segments, narrow.segments, strict=False))


def network_covers(wide: str, narrow: str) -> bool:
    """Whether every address of one network is in another."""
    one, other = ipaddress.ip_network(wide), ipaddress.ip_network(narrow)
    if isinstance(one, ipaddress.IPv4Network):
        return isinstance(other, ipaddress.IPv4Network) and other.subnet_of(one)
    return isinstance(other, ipaddress.IPv6Network) and other.subnet_of(one)


def peer_covers(wide: str, narrow: str) -> bool:
    """Whether every workload of one pattern is one of another."""
    if wide == narrow or not wide.endswith("/*"):
        return wide == narrow
    rest = narrow.removeprefix(wide[:-1])
    return rest != narrow and bool(rest) and "/" not in rest


def suffixes(host: str) -> Iterator[str]:
    """Every shorter host that ends it: `a.b.c` gives `b.c` and `c`."""
    _, _, rest = host.partition(".")
    while rest:
        yield rest
        _, _, rest = rest.partition(".")


def covering_keys(pattern: HostPattern) -> Iterator[tuple[str, str]]:
    """Yield (kind, host) of every pattern that covers one: so the few are looked up among many."""
    yield ("any", "")
    if pattern.kind != "any":
        yield (pattern.kind, pattern.host)
        if pattern.kind == "exact":
            yield ("capture", pattern.host.partition(".")[2])
        else:
            yield ("suffix", pattern.host)
        yield from (("suffix", rest) for rest in suffixes(pattern.host))


@dataclass(slots=True)
class HostSet:
    """Many host patterns; whether one has a host in common with any of them is a few look-ups."""

    _keys: set[tuple[str, str]] = field(default_factory=set)
    _above: set[str] = field(default_factory=set)  # every suffix of a pattern here
    _parents: set[str] = field(default_factory=set)  # exact hosts, less their first label

    def add(self, patterns: Iterable[HostPattern]) -> None:
        """Take some more."""
        for pattern in patterns:
            self._keys.add((pattern.kind, pattern.host))
            self._above.update(suffixes(pattern.host))
            if pattern.kind == "exact":
                self._parents.add(pattern.host.partition(".")[2])

    def meets(self, pattern: HostPattern) -> bool:
        """Whether a pattern has a host in common with one that was added."""
        if not self._keys or pattern.kind == "any":
            return bool(self._keys)
        if any(key in self._keys for key in covering_keys(pattern)):
            return True
        if pattern.kind == "suffix":
            return ("capture", pattern.host) in self._keys or pattern.host in self._above
        return pattern.kind == "capture" and pattern.host in self._parents
