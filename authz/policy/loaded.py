"""A policy set as documents: read, checked each for itself, and not yet compiled."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Generic, TypeVar

import msgspec

from authz.model.errors import Place, PolicyError
from authz.policy.kind_identity import ApiKeySpec, CustomerSpec, IdentityProviderSpec
from authz.policy.kind_limit import LimitSpec
from authz.policy.kind_policy import PolicySpec
from authz.policy.kind_scope import ScopeSpec
from authz.policy.kind_site import SiteSpec
from authz.policy.kind_test import PolicyTestSpec
from authz.policy.shape import Model
from authz.policy.source import Source
from authz.policy.yaml import Data

REVISION_CHARS = 12

_encode = msgspec.json.Encoder(order="sorted").encode
_Spec = TypeVar("_Spec", bound=Model, covariant=True)


def canonical_json(data: object) -> bytes:
    """Write data so that equal data gives equal bytes: sorted keys, no spaces, UTF-8."""
    return _encode(data)


@dataclass(frozen=True, slots=True, eq=False)
class Document(Generic[_Spec]):
    """One document of a set. Compared by identity: an unchanged file gives the same documents again.

    Args:
        spec: what it says, as a model.
        canonical: what was written, as canonical JSON; defaults are not filled in.
        position: its place among the documents of its file, from 0.
    """

    kind: str
    name: str
    spec: _Spec
    source: Source
    position: int
    canonical: bytes

    @property
    def file(self) -> str:
        """Return the file that holds the document."""
        return self.source.file

    @property
    def data(self) -> Data:
        """Return what was written, as plain data (made anew: keep it if you need it twice)."""
        return json.loads(self.canonical)  # type: ignore[no-any-return]  # canonical JSON of Data is Data

    def place(self, *path: str | int) -> Place:
        """Return where the value at a path such as `"spec", "rules", 0` stands, or its nearest ancestor."""
        return self.source.place(self.position, path)

    def fault(self, what: str, *path: str | int, at_key: bool = False, code: str = "") -> PolicyError:
        """Make the fault of a path; `at_key` points at the key, not the value; `code` makes it a warning."""
        return PolicyError(self.source.place(self.position, path, key=at_key), what, code=code)


AnyDocument = Document[Model]


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """Every document of a set, by kind, each kind sorted by name.

    Args:
        warnings: what deserves a look but is no fault.
    """

    policies: tuple[Document[PolicySpec], ...] = ()
    providers: tuple[Document[IdentityProviderSpec], ...] = ()
    keys: tuple[Document[ApiKeySpec], ...] = ()
    customers: tuple[Document[CustomerSpec], ...] = ()
    limits: tuple[Document[LimitSpec], ...] = ()
    sites: tuple[Document[SiteSpec], ...] = ()
    tests: tuple[Document[PolicyTestSpec], ...] = ()
    scopes: tuple[Document[ScopeSpec], ...] = ()
    revision: str = ""
    warnings: tuple[PolicyError, ...] = ()

    def documents(self) -> Iterator[AnyDocument]:
        """Yield every document, kind by kind."""
        yield from self.policies
        yield from self.providers
        yield from self.keys
        yield from self.customers
        yield from self.limits
        yield from self.sites
        yield from self.tests
        yield from self.scopes

    @property
    def namespaces(self) -> frozenset[str]:
        """Return every name space of customers that a provider of the set speaks about."""
        return frozenset(namespace_of(provider) for provider in self.providers)

    def customer_namespace(self, customer: Document[CustomerSpec]) -> str:
        """Return the name space of a Customer document; it may leave it out where the set has one."""
        return customer.spec.customers or next(iter(sorted(self.namespaces)), "")


def namespace_of(provider: Document[IdentityProviderSpec]) -> str:
    """Return the name space of a provider's customers: its own name unless it says otherwise."""
    return provider.spec.customers or provider.name


def revision_of(documents: Iterable[AnyDocument], overrides: Iterable[AnyDocument] = ()) -> str:
    """Return the revision: 12 hex digits of SHA-256 over [[kind, name, document], ...] in canonical JSON.

    Tests do not count; the order of files and documents does not either. Documents are taken as written:
    whoever adds a comment changes nothing, whoever writes out a default does.

    Args:
        overrides: policies that come first; their kind counts as `Override`, since the same document says
            something else there.

    Source: section 1 of the contract.
    """
    rows_of = [(d.kind, d.name, d.canonical) for d in documents if d.kind != "PolicyTest"]
    counted = sorted(rows_of + [("Override", d.name, d.canonical) for d in overrides])
    rows = (b"".join((_encode([kind, name])[:-1], b",", text, b"]")) for kind, name, text in counted)
    return sha256(b"".join((b"[", b",".join(rows), b"]"))).hexdigest()[:REVISION_CHARS]
