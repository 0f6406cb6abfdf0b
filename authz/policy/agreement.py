"""Two policies that may allow one request must not set one header from different expressions.

Which of them won would be an accident. Source: step 8 of the contract's decision order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from authz.model.errors import PolicyError
from authz.policy.host import HostPattern, parse_host
from authz.policy.kind_policy import PolicySpec
from authz.policy.loaded import Document
from authz.policy.texts import plain_header

Policies = Sequence[Document[PolicySpec]]


def disagreements(policies: Policies) -> Iterator[PolicyError]:
    """Yield a fault for each policy that sets a header otherwise than one before it on a common host."""
    sources: dict[str, dict[str, list[Document[PolicySpec]]]] = {}
    for document in policies:
        on_allow = document.spec.on_allow
        for name, source in (on_allow.headers if on_allow is not None else {}).items():
            sources.setdefault(plain_header(name), {}).setdefault(source.strip(), []).append(document)
    for plain, groups in sources.items():
        if len(groups) > 1:
            yield from _between(plain, list(groups.values()))


def _between(plain: str, groups: list[list[Document[PolicySpec]]]) -> Iterator[PolicyError]:
    covered = _Hosts()
    for group in groups:
        for document in group:
            other = covered.owner(document)
            if other:
                name = _spelled(document, plain)
                what = f"`{name}` is set from another expression by `{other}` on a common host: agree on one"
                yield document.fault(what, "spec", "onAllow", "headers", name)
        covered.add(group)


def _spelled(document: Document[PolicySpec], plain: str) -> str:
    """Return a header as a policy writes it: an upstream may take `x_a` for `x-a`, so they are one here."""
    on_allow = document.spec.on_allow
    names = on_allow.headers if on_allow is not None else {}
    return next(name for name in names if plain_header(name) == plain)


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

    def add(self, documents: Policies) -> None:
        """Take the hosts of some more policies."""
        for document in documents:
            self.first = self.first or document.name
            for text in document.spec.hosts:
                self._add(parse_host(text), document.name)

    def owner(self, document: Document[PolicySpec]) -> str:
        """Return a policy here that shares a host with a document, or ""."""
        return next(filter(None, (self._owner(parse_host(text)) for text in document.spec.hosts)), "")

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
