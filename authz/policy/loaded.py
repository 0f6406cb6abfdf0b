"""A policy set as documents: read, checked each for itself, and not yet compiled."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Generic, TypeVar, overload

import msgspec

from authz.model.errors import Place, PolicyError
from authz.policy.group import Group
from authz.policy.kind_identity import ApiKeySpec, CustomerSpec, IdentityProviderSpec
from authz.policy.kind_limit import LimitSpec
from authz.policy.kind_policy import PolicySpec
from authz.policy.kind_scope import ScopeSpec
from authz.policy.kind_site import SiteSpec
from authz.policy.kind_test import PolicyTestSpec
from authz.policy.leaf import Leaf, Ties
from authz.policy.page import Page
from authz.policy.shape import Model
from authz.policy.yaml import Data

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

REVISION_CHARS = 12
_ROWS = 512  # hashed at a time: meanwhile other threads run; each time is a turn to wait for

_encode = msgspec.json.Encoder(order="sorted").encode
_Spec = TypeVar("_Spec", bound=Model, covariant=True)


def canonical_json(data: object) -> bytes:
    """Write data so that equal data gives equal bytes: sorted keys, no spaces, UTF-8."""
    return _encode(data)


class Document(Generic[_Spec]):
    """One document of a set, where it stands.

    Args:
        leaf: the document, wherever it stands; what is worked out from it alone may be remembered by it.
        page: its file.
        number: its place among the leaves of the page.
    """

    __slots__ = ("_spec", "leaf", "number", "page")

    def __init__(self, leaf: Leaf, page: Page, number: int) -> None:
        self.leaf = leaf
        self.page = page
        self.number = number
        self._spec: Model | None = leaf.spec

    @property
    def kind(self) -> str:
        """Return its kind."""
        return self.leaf.kind

    @property
    def name(self) -> str:
        """Return its name."""
        return self.leaf.name

    @property
    def ties(self) -> Ties:
        """Return what it says about others: cheaper to ask than `spec`."""
        return self.leaf.ties

    @property
    def spec(self) -> _Spec:
        """Return what it says, as a model."""
        if self._spec is None:
            self._spec = self.leaf.read()
        return self._spec  # type: ignore[return-value]  # the kind of the leaf says so

    @property
    def canonical(self) -> bytes:
        """Return what was written, as canonical JSON; defaults are not filled in."""
        return self.leaf.canonical

    @property
    def file(self) -> str:
        """Return the file that holds the document."""
        return self.page.file

    @property
    def position(self) -> int:
        """Return its place among the documents of its file, from 0."""
        return self.page.position(self.number)

    @property
    def line(self) -> int:
        """Return how many lines of the file stand before the text that it was read with."""
        return self.page.line(self.number)

    @property
    def data(self) -> Data:
        """Return what was written, as plain data (made anew: keep it if you need it twice)."""
        return json.loads(self.canonical)  # type: ignore[no-any-return]  # canonical JSON of Data is Data

    def place(self, *path: str | int, key: bool = False) -> Place:
        """Return where the value at a path such as `"spec", "rules", 0` stands, or its nearest ancestor."""
        return self.page.source(self.number).place(self.leaf.index, path, key=key)

    def fault(self, what: str, *path: str | int, at_key: bool = False, code: str = "") -> PolicyError:
        """Make the fault of a path; `at_key` points at the key, not the value; `code` makes it a warning."""
        return PolicyError(self.place(*path, key=at_key), what, code=code)


AnyDocument = Document[Model]


_NO_GROUP = Group(())


class Documents(Sequence[Document[_Spec]]):
    """The documents of one kind; each is put together when somebody asks for it.

    Args:
        pages: every file of the set, sorted by name.
    """

    __slots__ = ("_made", "_pages", "group", "kind")

    def __init__(self, kind: str = "", group: Group = _NO_GROUP, pages: Sequence[Page] = ()) -> None:
        self.kind = kind
        self.group = group
        self._pages = pages
        self._made: tuple[Document[_Spec], ...] | None = None

    @property
    def pages(self) -> Sequence[Page]:
        """Return every file of the set, sorted by name."""
        return self._pages

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """Return the same documents, wherever they stand."""
        return self.group.leaves

    def of(self, wanted: Collection[Leaf]) -> Iterator[Document[_Spec]]:
        """Yield some of them."""
        if wanted:
            yield from self._find(frozenset(wanted))

    def tied(self, bad: Callable[[Ties], bool]) -> Iterator[Document[_Spec]]:
        """Yield those of which something is true that follows from their ties."""
        found = {ties for ties in self.group.ties if bad(ties)}
        if found:
            yield from self._find(frozenset(leaf for leaf in self.leaves if leaf.ties in found))

    def warnings(self) -> Iterator[PolicyError]:
        """Yield what deserves a look in each of them alone."""
        for document in self.of(self.group.telling):
            yield from (document.page.placed(document.number, each) for each in document.leaf.warnings)

    def __len__(self) -> int:
        return len(self.group.leaves)

    @overload
    def __getitem__(self, index: int) -> Document[_Spec]: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Document[_Spec], ...]: ...
    def __getitem__(self, index: int | slice) -> Document[_Spec] | tuple[Document[_Spec], ...]:
        return self._all()[index]

    def __iter__(self) -> Iterator[Document[_Spec]]:
        return iter(self._all())

    def _all(self) -> tuple[Document[_Spec], ...]:
        if self._made is None:
            self._made = tuple(self._find(None))
        return self._made

    def _find(self, wanted: frozenset[Leaf] | None) -> list[Document[_Spec]]:
        found: list[Document[_Spec]] = [
            Document(leaf, page, number)
            for page in self._pages
            if self.kind in page.by_kind
            and (wanted is None or not wanted.isdisjoint(page.by_kind[self.kind]))
            for number, leaf in enumerate(page.leaves)
            if leaf.kind == self.kind and (wanted is None or leaf in wanted)
        ]
        # Sorted as the group is: by name, and of equal names in the order of files and documents.
        return sorted(found, key=_name_of)


def _name_of(document: Document[Model]) -> str:
    return document.leaf.name


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """Every document of a set, by kind, each kind sorted by name.

    Args:
        warnings: what deserves a look but is no fault.
    """

    policies: Documents[PolicySpec] = field(default_factory=Documents)
    providers: Documents[IdentityProviderSpec] = field(default_factory=Documents)
    keys: Documents[ApiKeySpec] = field(default_factory=Documents)
    customers: Documents[CustomerSpec] = field(default_factory=Documents)
    limits: Documents[LimitSpec] = field(default_factory=Documents)
    sites: Documents[SiteSpec] = field(default_factory=Documents)
    tests: Documents[PolicyTestSpec] = field(default_factory=Documents)
    scopes: Documents[ScopeSpec] = field(default_factory=Documents)
    revision: str = ""
    warnings: tuple[PolicyError, ...] = ()

    def kinds(self) -> tuple[Documents[Model], ...]:
        """Return the documents of each kind."""
        first = (self.policies, self.providers, self.keys, self.customers)
        return (*first, self.limits, self.sites, self.tests, self.scopes)

    def documents(self) -> Iterator[AnyDocument]:
        """Yield every document, kind by kind."""
        for kind in self.kinds():
            yield from kind

    @property
    def namespaces(self) -> frozenset[str]:
        """Return every name space of customers that a provider of the set speaks about."""
        return frozenset(namespace_of(provider) for provider in self.providers)

    def customer_namespace(self, customer: Document[CustomerSpec]) -> str:
        """Return the name space of a Customer document; it may leave it out where the set has one."""
        return customer.ties.customer or next(iter(sorted(self.namespaces)), "")


def namespace_of(provider: Document[IdentityProviderSpec]) -> str:
    """Return the name space of a provider's customers: its own name unless it says otherwise."""
    return provider.spec.customers or provider.name


class Reviser:
    """Works out the revision of one set after the other; kinds that did not change are not hashed again."""

    def __init__(self) -> None:
        self._states: list[tuple[tuple[Group, str], Hash]] = []  # after each kind, in the order of the digest

    def revision(self, loaded: Loaded, overrides: Loaded | None = None) -> str:
        """Return the revision: 12 hex digits of SHA-256 over [[kind, name, document], ...] in canonical JSON.

        Tests do not count; the order of files and documents does not either. Documents are taken as written:
        whoever adds a comment changes nothing, whoever writes out a default does.

        Args:
            overrides: policies that come first; their kind counts as `Override`, since the same document says
                something else there.

        Source: section 1 of the contract.
        """
        counted = [(kind.group, kind.kind) for kind in loaded.kinds() if kind and kind.kind != "PolicyTest"]
        if overrides is not None and overrides.policies:
            counted.append((overrides.policies.group, "Override"))
        counted.sort(key=_kind)
        alike = 0
        while alike < min(len(counted), len(self._states)) and counted[alike] == self._states[alike][0]:
            alike += 1
        del self._states[alike:]
        state = self._states[-1][1].copy() if self._states else sha256(b"[")
        for group, kind in counted[alike:]:
            comma = b"," if self._states else b""
            rows = _rows(group, kind)
            for start in range(0, len(rows), _ROWS):
                state.update(comma)
                state.update(b",".join(rows[start : start + _ROWS]))
                comma = b","
            self._states.append(((group, kind), state.copy()))
        state.update(b"]")
        return state.hexdigest()[:REVISION_CHARS]


def _kind(counted: tuple[Group, str]) -> str:
    return counted[1]


def _rows(group: Group, kind: str) -> list[bytes]:
    if kind != "Override":
        return group.rows()
    return [b'["Override"' + row[len('["Policy"') :] for row in group.rows()]
