"""From a request to the few rules that may speak about it, whatever the number of policies.

Hosts first: every pattern has a trie of path segments; a host finds the tries of all patterns that match it
by one look-up for itself and one for each suffix. What a host's policies have in common (the providers whose
credentials the upstream must not see) is worked out when a host is first asked for, per set of patterns.

An index is changed by drafting its successor: it shares with it whatever no change touches, and is itself not
touched, since it is still being asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

from authz.model.request import Request
from authz.policy.host import HostPattern
from authz.policy.path import PathPattern
from authz.policy.rule import Candidate, Rule

_NOTHING: Mapping[str, str] = MappingProxyType({})

# Most nodes lead nowhere further or nothing ends at them, and ten thousand policies have thirty thousand.
# INVARIANT: these stay empty.
_NO_LITERALS: dict[str, _Node] = {}
_NO_ENTRIES: list[_Entry] = []


class _Entry(NamedTuple):
    """A rule at the end of one of its patterns."""

    rule: Rule
    candidate: Candidate | None  # the same for every request, where no expression asks what was captured
    captures: tuple[tuple[str, int], ...]  # name -> index of the segment
    host_capture: str  # name of the first label of the host, or ""


class _Node:
    """One segment deep in a trie of path patterns.

    INVARIANT: only the index that made a node changes it, and only before it is sealed.
    """

    __slots__ = ("below", "ends", "literals", "owner", "wildcard")

    def __init__(self, owner: object) -> None:
        self.owner = owner
        self.literals = _NO_LITERALS
        self.wildcard: _Node | None = None
        self.ends = _NO_ENTRIES  # patterns that end here
        self.below = _NO_ENTRIES  # patterns that end here in `**`

    def owned(self, owner: object) -> _Node:
        """Return the node, or a copy that its new owner may change."""
        if self.owner is owner:
            return self
        copy = _Node(owner)
        copy.literals = self.literals.copy() if self.literals else _NO_LITERALS
        copy.wildcard = self.wildcard
        copy.ends = self.ends.copy() if self.ends else _NO_ENTRIES
        copy.below = self.below.copy() if self.below else _NO_ENTRIES
        return copy

    def child(self, segment: str | None) -> _Node:
        """Return the node of the next segment, made or copied so that the owner of this one may change it."""
        known = self.wildcard if segment is None else self.literals.get(segment)
        child = _Node(self.owner) if known is None else known.owned(self.owner)
        if segment is None:
            self.wildcard = child
        elif self.literals is _NO_LITERALS:
            self.literals = {segment: child}
        else:
            self.literals[segment] = child
        return child

    def cut(self, segment: str | None) -> None:
        """Forget the node of the next segment."""
        if segment is None:
            self.wildcard = None
        else:
            del self.literals[segment]

    @property
    def empty(self) -> bool:
        """Whether no pattern leads here or further."""
        return not (self.literals or self.wildcard or self.ends or self.below)

    def put(self, pattern: PathPattern, entry: _Entry) -> None:
        """Add an entry to a pattern."""
        node = self
        for segment in pattern.segments:
            node = node.child(segment)
        if pattern.rest:
            node.below = _with(node.below, entry)
        else:
            node.ends = _with(node.ends, entry)

    def lost(self, now: _Node | None) -> Iterator[_Node]:
        """Yield every node from here on that is not in another trie, each before those below it."""
        ahead: list[tuple[_Node, _Node | None]] = [(self, now)]
        while ahead:
            node, other = ahead.pop()
            if node is other:
                continue
            yield node
            for segment, child in node.literals.items():
                ahead.append((child, other.literals.get(segment) if other is not None else None))
            if node.wildcard is not None:
                ahead.append((node.wildcard, other.wildcard if other is not None else None))

    def prune(self, pattern: PathPattern, rules: Set[Rule]) -> None:
        """Take the entries of some rules away from a pattern, and the nodes that then lead nowhere."""
        way = [self]
        for segment in pattern.segments:
            way.append(way[-1].child(segment))
        last = way[-1]
        if pattern.rest:
            last.below = [entry for entry in last.below if entry.rule not in rules] or _NO_ENTRIES
        else:
            last.ends = [entry for entry in last.ends if entry.rule not in rules] or _NO_ENTRIES
        for segment in reversed(pattern.segments):
            if not way.pop().empty:
                return
            way[-1].cut(segment)

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


def _with(entries: list[_Entry], entry: _Entry) -> list[_Entry]:
    if entries is _NO_ENTRIES:
        return [entry]
    entries.append(entry)
    return entries


@dataclass(frozen=True, slots=True)
class HostView:
    """All that policies say about one host.

    Args:
        tries: path tries of every host pattern that matches it.
        providers: every provider that an enforcing policy of it names.
    """

    tries: tuple[_Node, ...]
    providers: frozenset[str]


class _HostNode:
    """One host pattern: its policies' paths, and how many of them name each provider."""

    __slots__ = ("owner", "providers", "trie")

    def __init__(self, owner: object, trie: _Node, providers: dict[str, int]) -> None:
        self.owner = owner
        self.trie = trie
        self.providers = providers


_Kind = Literal["exact", "suffix", "capture", "any"]


class Index:
    """Every rule of a policy set, by host and path. Drafted, sealed, then only read.

    Args:
        before: the index that it shall be the successor of.
    """

    def __init__(self, before: Index | None = None) -> None:
        self._owner = object()  # not the index itself: its nodes outlive it in its successors
        kinds: tuple[_Kind, ...] = ("exact", "suffix", "capture", "any")
        self._nodes: dict[_Kind, dict[str, _HostNode]] = {
            kind: before._nodes[kind].copy() if before is not None else {}  # noqa: SLF001 - one of ours
            for kind in kinds
        }
        # Made when a host is first asked for: by as many as documents name. None: not asked for yet.
        self._exact: dict[str, HostView | None] = {}
        self._suffixes: dict[str, tuple[HostView, HostView] | None] = {}  # one label more, several more
        self._any = HostView((), frozenset())

    def add(self, rule: Rule, host: HostPattern, paths: Iterable[PathPattern]) -> None:
        """Place a rule under one of its hosts."""
        trie = self._node(host).trie
        for pattern in paths:
            asked = rule.params and (pattern.captures or host.capture)
            plain = None if asked else Candidate(rule, _NOTHING)
            trie.put(pattern, _Entry(rule, plain, pattern.captures, host.capture))

    def remove(self, rules: Set[Rule], host: HostPattern, pattern: PathPattern) -> None:
        """Take some rules away from one pattern under which they were placed."""
        node = self._node(host)
        node.trie.prune(pattern, rules)
        if node.trie.empty:
            del self._nodes[host.kind][host.host]

    def name_providers(self, host: HostPattern, providers: Iterable[str], count: int = 1) -> None:
        """Note that `count` more enforcing policies of a host name these providers; it may be negative."""
        if host.host not in self._nodes[host.kind] and count < 0:
            return  # its last rule is gone already
        named = self._node(host).providers
        for name in providers:
            named[name] = named.get(name, 0) + count
            if named[name] == 0:
                del named[name]

    def lost(self, now: Index) -> Iterator[object]:
        """Yield what this index is made of and another is not, each before what it leads to."""
        for kind, nodes in self._nodes.items():
            for host, node in nodes.items():
                other = now._nodes[kind].get(host)
                yield from node.trie.lost(other.trie if other is not None else None)

    def seal(self) -> None:
        """Call once, after the last change."""
        suffixes = self._nodes["suffix"].keys() | self._nodes["capture"].keys()
        self._suffixes = dict.fromkeys(suffixes)
        self._exact = dict.fromkeys(self._nodes["exact"])
        self._any = self._view("")

    def view(self, host: str) -> HostView:
        """Return what policies say about a canonical host."""
        exact = self._exact.get(host)
        if exact is not None:
            return exact
        if host in self._exact:
            exact = self._exact[host] = self._view(host)
            return exact
        if self._suffixes:
            _, _, rest = host.partition(".")
            single = True
            while rest:
                if rest in self._suffixes:
                    views = self._suffixes[rest] or self._below(rest)
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
        """Return the node of a host, made or copied so that it may be changed."""
        nodes = self._nodes[host.kind]
        node = nodes.get(host.host)
        if node is None:
            node = nodes[host.host] = _HostNode(self._owner, _Node(self._owner), {})
        elif node.owner is not self._owner:
            node = nodes[host.host] = _HostNode(
                self._owner, node.trie.owned(self._owner), node.providers.copy()
            )
        return node

    def _below(self, suffix: str) -> tuple[HostView, HostView]:
        # Labels that no pattern spells: they stand for "one label more" and "several more".
        views = self._suffixes[suffix] = (self._view("?." + suffix), self._view("?.?." + suffix))
        return views

    def _view(self, host: str) -> HostView:
        nodes = [self._nodes["any"].get(""), self._nodes["exact"].get(host)]
        _, _, rest = host.partition(".")
        single = True
        while rest:
            if rest in self._suffixes:
                nodes.append(self._nodes["suffix"].get(rest))
                if single:
                    nodes.append(self._nodes["capture"].get(rest))
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
