"""From a request to the few rules that may speak about it, whatever the number of policies.

Hosts first: every pattern has a trie of path segments; a host finds the tries of all patterns that match
it by one look-up for itself and one for each suffix. What a host's policies have in common (the providers
whose credentials the upstream must not see) is worked out at load, per set of patterns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from authz.model.request import Request
from authz.policy.host import HostPattern
from authz.policy.path import PathPattern
from authz.policy.rule import Candidate, Rule

_NOTHING: Mapping[str, str] = MappingProxyType({})


class _Entry(NamedTuple):
    """A rule at the end of one of its patterns."""

    rule: Rule
    candidate: Candidate | None  # the same for every request, where no expression asks what was captured
    captures: tuple[tuple[str, int], ...]  # name -> index of the segment
    host_capture: str  # name of the first label of the host, or ""


class _Node:
    """One segment deep in a trie of path patterns."""

    __slots__ = ("below", "ends", "literals", "wildcard")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.wildcard: _Node | None = None
        self.ends: list[_Entry] = []  # patterns that end here
        self.below: list[_Entry] = []  # patterns that end here in `**`

    def grow(self, pattern: PathPattern) -> _Node:
        """Return the node where a pattern ends."""
        node = self
        for segment in pattern.segments:
            if segment is None:
                node.wildcard = node.wildcard or _Node()
                node = node.wildcard
            else:
                node = node.literals.setdefault(segment, _Node())
        return node

    def walk(self, segments: tuple[str, ...]) -> list[_Entry]:
        """Return the entries of every pattern that matches; the patterns bound the steps."""
        found: list[_Entry] = []
        front = [self]
        for segment in segments:
            ahead: list[_Node] = []
            for node in front:
                if node.below:
                    found += node.below
                child = node.literals.get(segment)
                if child is not None:
                    ahead.append(child)
                if node.wildcard is not None:
                    ahead.append(node.wildcard)
            front = ahead
            if not front:
                return found
        for node in front:
            found += node.ends
            found += node.below
        return found


@dataclass(frozen=True, slots=True)
class HostView:
    """All that policies say about one host.

    Args:
        tries: path tries of every host pattern that matches it.
        providers: every provider that an enforcing policy of it names.
    """

    tries: tuple[_Node, ...]
    providers: frozenset[str]


@dataclass(slots=True)
class _HostNode:
    """One host pattern: its policies' paths and providers."""

    trie: _Node = field(default_factory=_Node)
    providers: set[str] = field(default_factory=set)


class Index:
    """Every rule of a policy set, by host and path. Built once, then only read."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[str, str], _HostNode] = {}  # (kind, host) -> node
        self._exact: dict[str, HostView] = {}
        self._suffixes: dict[str, tuple[HostView, HostView]] = {}  # one label more, several more
        self._any = HostView((), frozenset())

    def add(self, rule: Rule, host: HostPattern, paths: Iterable[PathPattern]) -> None:
        """Place a rule under one of its hosts."""
        node = self._node(host)
        for pattern in paths:
            asked = rule.params and (pattern.captures or host.capture)
            plain = None if asked else Candidate(rule, _NOTHING)
            entry = _Entry(rule, plain, pattern.captures, host.capture)
            leaf = node.trie.grow(pattern)
            (leaf.below if pattern.rest else leaf.ends).append(entry)

    def name_providers(self, host: HostPattern, providers: Iterable[str]) -> None:
        """Note that an enforcing policy of a host names these providers."""
        self._node(host).providers.update(providers)

    def seal(self) -> None:
        """Work out the view of every host and suffix that is named; call once, after the last `add`."""
        suffixes = {host for kind, host in self._nodes if kind in ("suffix", "capture")}
        self._any = self._view("", suffixes)
        for kind, host in self._nodes:
            if kind == "exact":
                self._exact[host] = self._view(host, suffixes)
        for suffix in suffixes:
            # Labels that no pattern spells: they stand for "one label more" and "several more".
            self._suffixes[suffix] = (
                self._view("?." + suffix, suffixes),
                self._view("?.?." + suffix, suffixes),
            )

    def view(self, host: str) -> HostView:
        """Return what policies say about a canonical host."""
        exact = self._exact.get(host)
        if exact is not None:
            return exact
        if self._suffixes:
            _, _, rest = host.partition(".")
            single = True
            while rest:
                views = self._suffixes.get(rest)
                if views is not None:
                    return views[0] if single else views[1]
                _, _, rest = rest.partition(".")
                single = False
        return self._any

    def candidates(self, view: HostView, request: Request) -> list[Candidate]:
        """Return every rule whose host, method and path match."""
        found = []
        for trie in view.tries:
            for rule, plain, captures, host_capture in trie.walk(request.segments):
                if rule.asks(request):
                    found.append(plain or Candidate(rule, _params(request, captures, host_capture)))
        return found

    def _node(self, host: HostPattern) -> _HostNode:
        return self._nodes.setdefault((host.kind, host.host), _HostNode())

    def _view(self, host: str, suffixes: set[str]) -> HostView:
        nodes = [self._nodes.get(("any", "")), self._nodes.get(("exact", host))]
        _, _, rest = host.partition(".")
        single = True
        while rest:
            if rest in suffixes:
                nodes.append(self._nodes.get(("suffix", rest)))
                if single:
                    nodes.append(self._nodes.get(("capture", rest)))
            _, _, rest = rest.partition(".")
            single = False
        return _merge([node for node in nodes if node is not None])


def _merge(nodes: list[_HostNode]) -> HostView:
    providers = frozenset(name for node in nodes for name in node.providers)
    return HostView(tuple(node.trie for node in nodes), providers)


def _params(request: Request, captures: tuple[tuple[str, int], ...], host_capture: str) -> dict[str, str]:
    params = {name: request.segments[index] for name, index in captures}
    if host_capture:
        params[host_capture] = request.host.partition(".")[0]
    return params
