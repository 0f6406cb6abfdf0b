"""What Scope documents say together: no two of them may speak for one directory or one name.

SECURITY: a name belongs to one scope. Were it whoever writes it first, a team could take the name of
another's policy, and of two sidecars that start with the same files one might serve the one team's and one
the other's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from authz.model.errors import PolicyError
from authz.policy.cover import host_covers
from authz.policy.host import HostPattern, parse_host
from authz.policy.kind_scope import EVERY, ScopeSpec
from authz.policy.loaded import Document

MAX_SCOPES = 1000
MAX_FAULTS = 100

Scope = Document[ScopeSpec]


class Bounds:
    """One Scope document, ready to be asked."""

    __slots__ = ("_exact", "_hosts", "_prefixes", "document", "name", "spec")

    def __init__(self, document: Scope) -> None:
        self.document = document
        self.name = document.name
        self.spec = document.spec
        self._hosts = tuple(map(parse_host, document.spec.hosts))
        names = names_of(document)
        self._exact = frozenset(name for name in names if not name.endswith("*"))
        self._prefixes = tuple(name[:-1] for name in names if name.endswith("*"))

    @property
    def hosts(self) -> tuple[HostPattern, ...]:
        """The hosts that the scope speaks about."""
        return self._hosts

    def covers(self, pattern: HostPattern) -> bool:
        """Whether every host of a pattern is one of this scope's."""
        return any(host_covers(host, pattern) for host in self._hosts)

    def names(self, name: str) -> bool:
        """Whether a document may have a name."""
        return name in self._exact or name.startswith(self._prefixes)

    def provides(self, provider: str) -> bool:
        """Whether an identity provider may be named."""
        return provider in (self.spec.providers or ())

    def holds(self, customer: str) -> bool:
        """Whether a customer may be spoken about."""
        customers = self.spec.customers or ()
        return customer in customers or EVERY in customers

    def owns(self, path: str) -> bool:
        """Whether a file, by its path below a directory of `--policies`, belongs to the scope."""
        return path.startswith(f"{self.spec.directory}/")


def names_of(document: Scope) -> tuple[str, ...]:
    """Return the names that the documents of a scope may have; `prefix-*` stands for many."""
    return document.spec.names or (document.name, f"{document.name}-*")


def faults_among(scopes: Sequence[Scope]) -> list[PolicyError]:
    """Return everything on which Scope documents disagree."""
    if len(scopes) > MAX_SCOPES:
        return [scopes[MAX_SCOPES].fault(f"more than {MAX_SCOPES} scopes: join some", "metadata", "name")]
    return list(islice(_faults(scopes), MAX_FAULTS))


def _faults(scopes: Sequence[Scope]) -> Iterator[PolicyError]:
    yield from _names_twice(scopes)
    yield from _directories(scopes)
    yield from _names(scopes)
    yield from _writers(scopes)


def _names_twice(scopes: Sequence[Scope]) -> Iterator[PolicyError]:
    first: dict[str, Scope] = {}
    for scope in scopes:
        other = first.setdefault(scope.name, scope)
        if other is not scope:
            taken = other.place("metadata", "name")
            yield scope.fault(
                f"the name `{scope.name}` is taken by {taken}: choose another", "metadata", "name"
            )


def _directories(scopes: Sequence[Scope]) -> Iterator[PolicyError]:
    """A file belongs to one scope: no directory is another's, or lies in it."""
    known: dict[str, Scope] = {}
    for scope in sorted(scopes, key=lambda one: one.spec.directory):
        segments = scope.spec.directory.split("/")
        above = ("/".join(segments[:count]) for count in range(1, len(segments) + 1))
        other = next((known[directory] for directory in above if directory in known), None)
        if other is not None:
            what = (
                f"`{scope.spec.directory}` is, or lies in, `{other.spec.directory}` of the scope"
                f" `{other.name}`: give each a directory of its own"
            )
            yield scope.fault(what, "spec", "directory")
        known.setdefault(scope.spec.directory, scope)


def _names(scopes: Sequence[Scope]) -> Iterator[PolicyError]:
    prefixes: dict[str, Scope] = {}
    exact: dict[str, Scope] = {}
    for scope in scopes:
        for name in names_of(scope):
            (prefixes if name.endswith("*") else exact).setdefault(name.rstrip("*"), scope)
    for scope in scopes:
        for index, name in enumerate(names_of(scope)):
            other = _holder(name, scope, prefixes, exact)
            if other is not None:
                at = ("names", index) if scope.spec.names else ()
                what = (
                    f"the names `{name}` belong to the scope `{other.name}` as well: write `names` in one of"
                    " them that the other has not"
                )
                yield scope.fault(what, "spec", *at)
                break


def _holder(name: str, scope: Scope, prefixes: dict[str, Scope], exact: dict[str, Scope]) -> Scope | None:
    """Return another scope that holds a name, or all names of a pattern; the longer of two is at fault."""
    stem = name.rstrip("*")
    for length in range(len(stem) + 1):
        other = prefixes.get(stem[:length])
        if other is not None and other is not scope:
            return other
    other = exact.get(stem) if not name.endswith("*") else None
    return other if other is not scope else None


def _writers(scopes: Sequence[Scope]) -> Iterator[PolicyError]:
    """Customers and providers are named after whom they speak about: one scope alone may write each."""
    customers: dict[str, Scope] = {}
    providers: dict[str, Scope] = {}
    for scope in scopes:
        if "Customer" in scope.spec.kinds:
            yield from _written(scope, "customers", scope.spec.customers or (), customers, "Customer")
        if "IdentityProvider" in scope.spec.kinds:
            yield from _written(scope, "providers", scope.spec.providers or (), providers, "IdentityProvider")


def _written(
    scope: Scope, field: str, named: Sequence[str], writers: dict[str, Scope], kind: str
) -> Iterator[PolicyError]:
    earlier = dict(writers)
    for index, name in enumerate(named):
        other = earlier.get(name) or earlier.get(EVERY)
        if other is None and name == EVERY:
            other = next(iter(earlier.values()), None)
        if other is not None:
            what = (
                f"the scope `{other.name}` may write the {kind} `{name}` as well: leave `{kind}` out of"
                " `kinds` of one of them"
            )
            yield scope.fault(what, "spec", field, index)
        writers.setdefault(name, scope)
