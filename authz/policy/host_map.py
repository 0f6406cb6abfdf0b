"""Values for some hosts: a host has those of every pattern that matches it."""

from __future__ import annotations

from typing import Generic, TypeVar

from authz.policy.host import MAX_HOST_CHARS, HostPattern

_Value = TypeVar("_Value")

# Different sets of scopes that hosts have: one for each scope, and a few where scopes share a host. Past this
# many, one is made anew each time, so a client that invents hosts fills no memory.
_SETS_MAX = 4096


class HostMap(Generic[_Value]):
    """Built once, then only read."""

    __slots__ = ("_any", "_captures", "_exact", "_suffixes")

    def __init__(self) -> None:
        self._exact: dict[str, list[_Value]] = {}
        self._suffixes: dict[str, list[_Value]] = {}
        self._captures: dict[str, list[_Value]] = {}  # `{name}.suffix`: exactly one label more
        self._any: list[_Value] = []

    def __bool__(self) -> bool:
        return bool(self._exact or self._suffixes or self._captures or self._any)

    def add(self, pattern: HostPattern, value: _Value) -> None:
        """Give a value to every host of a pattern."""
        match pattern.kind:
            case "exact":
                self._exact.setdefault(pattern.host, []).append(value)
            case "suffix":
                self._suffixes.setdefault(pattern.host, []).append(value)
            case "capture":
                self._captures.setdefault(pattern.host, []).append(value)
            case "any":
                self._any.append(value)

    def of(self, host: str) -> list[_Value]:
        """Return the values of a canonical host; of several patterns, in no order that means anything."""
        found = [*self._any, *self._exact.get(host, ())]
        # SECURITY: no pattern is as long, and cutting label after label off 60 KB of dots takes 0.3 s.
        if (self._suffixes or self._captures) and len(host) <= MAX_HOST_CHARS:
            _, _, rest = host.partition(".")
            found += self._captures.get(rest, ())
            while rest:
                found += self._suffixes.get(rest, ())
                _, _, rest = rest.partition(".")
        return found


class OwnedHeaders:
    """Which headers only we may set: those of the platform everywhere, those of a scope on its hosts.

    SECURITY: were they owned everywhere, a team that sets `content-type` would take it from every other
    team's requests.

    Args:
        everywhere: of policies that belong to no scope.
        of_scopes: by the hosts of each scope.
    """

    __slots__ = ("_everywhere", "_of_scopes", "_sets")

    def __init__(self, everywhere: frozenset[str], of_scopes: HostMap[frozenset[str]]) -> None:
        self._everywhere = everywhere
        self._of_scopes = of_scopes
        self._sets: dict[frozenset[frozenset[str]], frozenset[str]] = {}

    def of(self, host: str) -> frozenset[str]:
        """Return the headers of a host; for the same scopes always the same object."""
        found = self._of_scopes.of(host)
        if not found:
            return self._everywhere
        key = frozenset(found)
        known = self._sets.get(key)
        if known is None:
            known = self._everywhere.union(*found)
            if len(self._sets) < _SETS_MAX:
                self._sets[key] = known
        return known
