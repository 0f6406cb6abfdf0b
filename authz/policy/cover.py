"""Which patterns hold everything that others hold, and which have something in common.

Asked of documents and never of requests: by warnings, and by whoever compares two sets.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from authz.policy.host import HostPattern
from authz.policy.kind_policy import Rule
from authz.policy.path import PathPattern, parse_path

_Pattern = TypeVar("_Pattern")
_EVERY_PATH = (PathPattern((), (), rest=True),)


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


def path_meets(one: PathPattern, other: PathPattern) -> bool:
    """Whether some path is of both patterns."""
    short, long = sorted((one, other), key=lambda pattern: len(pattern.segments))
    if len(short.segments) < len(long.segments) and not short.rest:
        return False
    pairs = zip(short.segments, long.segments, strict=False)
    return all(own is None or its is None or own == its for own, its in pairs)


def reach_covers(
    wide_hosts: Sequence[HostPattern], wide: Rule, hosts: Sequence[HostPattern], narrow: Rule
) -> bool:
    """Whether a rule speaks about every request that another one speaks about, whoever sends it."""
    return (
        _each_covered(wide_hosts, hosts, host_covers)
        and _each_covered(paths_of(wide), paths_of(narrow), path_covers)
        and _methods_covered(wide, narrow)
        and (wide.grpc is None or narrow.grpc is not None)
        and _listed(wide.peers, narrow.peers, peer_covers)
        and _listed(wide.addresses, narrow.addresses, network_covers)
    )


def reach_meets(hosts: Sequence[HostPattern], one: Rule, others: Sequence[HostPattern], other: Rule) -> bool:
    """Whether two rules may speak about one request."""
    mine, its = methods_of(one), methods_of(other)
    if mine is not None and its is not None and not {*mine} & {*its}:
        return False
    if not any(path_meets(a, b) for a in paths_of(one) for b in paths_of(other)):
        return False
    there = HostSet()
    there.add(others)
    return any(map(there.meets, hosts))


def identities_cover(wide: Rule, narrow: Rule) -> bool:
    """Whether a rule names everybody whom another one names."""
    everybody = wide.identity is None or "anyone" in wide.identity
    return everybody or {*(narrow.identity or ())} <= {*(wide.identity or ())} - {"anyone"}


def methods_of(rule: Rule) -> Sequence[str] | None:
    """Return the methods of a rule; None: every method."""
    return ("POST",) if rule.grpc is not None else rule.methods


def paths_of(rule: Rule) -> Sequence[PathPattern]:
    """Return the path patterns of a rule, those of gRPC calls included."""
    if rule.grpc is not None:
        return [
            PathPattern((match.service, method), (), rest=False)
            for match in rule.grpc
            for method in match.methods or (None,)
        ]
    return list(map(parse_path, rule.paths)) if rule.paths is not None else _EVERY_PATH


def _each_covered(
    wide: Sequence[_Pattern], narrow: Sequence[_Pattern], covers: Callable[[_Pattern, _Pattern], bool]
) -> bool:
    return all(any(covers(one, other) for one in wide) for other in narrow)


def _listed(
    wide: Sequence[str] | None, narrow: Sequence[str] | None, covers: Callable[[str, str], bool]
) -> bool:
    """Whether a list that narrows a rule holds all that another one does; None does not narrow."""
    return wide is None or (narrow is not None and _each_covered(wide, narrow, covers))


def _methods_covered(wide: Rule, narrow: Rule) -> bool:
    asked = methods_of(narrow)
    return wide.methods is None or (asked is not None and {*asked} <= {*wide.methods})


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
