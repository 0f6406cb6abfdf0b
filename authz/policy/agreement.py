"""Two policies that may allow one request must not set one header from different expressions.

Which of them won would be an accident. Source: step 8 of the contract's decision order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from authz.model.errors import PolicyError
from authz.policy.host import HostPattern
from authz.policy.kind_policy import PolicySpec
from authz.policy.leaf import Leaf, Ties
from authz.policy.loaded import Documents
from authz.policy.texts import plain_header


def disagreements(policies: Documents[PolicySpec]) -> Iterator[PolicyError]:
    """Yield a fault for each policy that sets a header otherwise than one before it on a common host.

    Policies with the same hosts and headers answer alike, so each such kind is looked at once.
    """
    sources: dict[str, set[str]] = {}
    for ties in policies.group.ties:
        if not ties.shadow:  # a policy in shadow sets no header: it agrees with everybody
            for name, source in ties.headers:
                sources.setdefault(plain_header(name), set()).add(source.strip())
    disputed = {plain for plain, texts in sources.items() if len(texts) > 1}
    if disputed:
        enforcing = [leaf for leaf in policies.leaves if not leaf.ties.shadow and leaf.ties.headers]
        for plain in disputed:
            yield from _disputed(policies, enforcing, plain)


def _disputed(
    policies: Documents[PolicySpec], enforcing: Sequence[Leaf], plain: str
) -> Iterator[PolicyError]:
    groups: dict[str, list[Leaf]] = {}
    for leaf in enforcing:
        for name, source in leaf.ties.headers:
            if plain_header(name) == plain:
                groups.setdefault(source.strip(), []).append(leaf)
    at_odds = _between(list(groups.values()))
    for document in policies.of([leaf for leaf in enforcing if leaf.ties in at_odds]):
        name = next(name for name, _ in document.ties.headers if plain_header(name) == plain)
        other = at_odds[document.ties]
        what = f"`{name}` is set from another expression by `{other}` on a common host: agree on one"
        yield document.fault(what, "spec", "onAllow", "headers", name)


def _between(groups: list[list[Leaf]]) -> dict[Ties, str]:
    """Return those that share a host with a policy of an earlier group, and its name."""
    covered, found = _Hosts(), {}
    for group in groups:
        first: dict[Ties, str] = {}
        for leaf in group:
            first.setdefault(leaf.ties, leaf.name)
        for ties in first:
            other = covered.owner(ties)
            if other:
                found[ties] = other
        for ties, name in first.items():
            covered.add(ties, name)
    return found


@dataclass(slots=True)
class _Hosts:
    """The hosts of some policies, so that an overlap is a few look-ups and not a comparison with each.

    Of several policies that share a host, the one that was added first is named.
    """

    exact: dict[str, str] = field(default_factory=dict)  # host -> policy
    below: dict[str, str] = field(default_factory=dict)  # `*.suffix`
    captures: dict[str, str] = field(default_factory=dict)  # `{name}.suffix`
    ancestors: dict[str, str] = field(default_factory=dict)  # every suffix of an exact host or longer pattern
    parents: dict[str, str] = field(default_factory=dict)  # exact hosts, less their first label
    any: str = ""
    first: str = ""

    def add(self, ties: Ties, name: str) -> None:
        """Take the hosts of one more policy."""
        self.first = self.first or name
        for pattern in ties.hosts:
            self._add(pattern, name)

    def owner(self, ties: Ties) -> str:
        """Return a policy here that shares a host with a policy, or ""."""
        return next(filter(None, map(self._owner, ties.hosts)), "")

    def _add(self, pattern: HostPattern, name: str) -> None:
        host = pattern.host
        match pattern.kind:
            case "any":
                self.any = self.any or name
            case "exact":
                self.exact.setdefault(host, name)
                self.parents.setdefault(host.partition(".")[2], name)
            case "suffix":
                self.below.setdefault(host, name)
            case "capture":
                self.captures.setdefault(host, name)
        for suffix in _suffixes(host):
            self.ancestors.setdefault(suffix, name)

    def _owner(self, pattern: HostPattern) -> str:
        host = pattern.host
        if pattern.kind == "any" or self.any:
            return self.any or self.first
        above = next((self.below[suffix] for suffix in _suffixes(host) if suffix in self.below), "")
        if above:
            return above
        if pattern.kind == "exact":
            return self.exact.get(host) or self.captures.get(host.partition(".")[2], "")
        here = self.below.get(host) or self.captures.get(host, "")
        if pattern.kind == "suffix":
            return here or self.ancestors.get(host, "")
        return here or self.parents.get(host, "")


def _suffixes(host: str) -> Iterator[str]:
    """Every shorter host that ends it: `a.b.c` gives `b.c` and `c`."""
    _, _, rest = host.partition(".")
    while rest:
        yield rest
        _, _, rest = rest.partition(".")
