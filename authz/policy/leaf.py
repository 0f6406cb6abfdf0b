"""What is kept of a document between two loads: little, so that keeping ten thousand keys costs little.

A model of an ApiKey takes twice what its key takes while it is served, and nobody asks it again. So of the
kinds that come by the thousand only the written text is kept, in canonical form, and what the document says
about others. Whoever asks for the model afterwards has it made again from the text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from sys import intern
from weakref import WeakValueDictionary

import msgspec

from authz.model.errors import PolicyError
from authz.policy.document import READERS
from authz.policy.host import HostPattern, parse_host
from authz.policy.kind_identity import ApiKeySpec, CustomerSpec
from authz.policy.kind_policy import PolicySpec, Rule
from authz.policy.shape import Model

MANY = frozenset(("ApiKey", "Customer", "Policy"))  # kinds of which sets have thousands

_SPECIAL_IDENTITIES = frozenset({"anonymous", "anyone"})
_encode = msgspec.json.Encoder(order="sorted").encode


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Ties:
    """What a document says about others. Equal ones are one object, so a set has few of them.

    Args:
        shadow: of a Policy: it is in `mode: shadow`.
        hosts: of a Policy.
        providers: identity providers that it names.
        limits: limits that it names.
        limits_of_known: of a Policy: those of rules that others fit than who presented nothing.
        headers: of a Policy: header to expression, as `onAllow` has them.
        rules: of a Policy: the names of its rules.
        customer: of an ApiKey: its customer; of a Customer: the name space that it writes, or "".
    """

    shadow: bool = False
    hosts: tuple[HostPattern, ...] = ()
    providers: frozenset[str] = frozenset()
    limits: frozenset[str] = frozenset()
    limits_of_known: frozenset[str] = frozenset()
    headers: tuple[tuple[str, str], ...] = ()
    rules: tuple[str, ...] = ()
    customer: str = ""


_FIELDS = tuple(field.name for field in fields(Ties))


class Bonds:
    """Makes equal ties one object."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[tuple[object, ...], Ties] = WeakValueDictionary()

    def of(self, spec: Model) -> Ties:
        """Return what a document says about others."""
        made = _ties(spec)
        return self._known.setdefault(tuple([getattr(made, name) for name in _FIELDS]), made)


class Leaf:
    """One document, wherever it stands. Compared by identity: an unchanged document stays the same leaf.

    Args:
        row: what the revision covers of it: `["kind","name",document]` in canonical JSON.
        index: its place among the documents of the text that it was read with.
        values: how many values its text has, of those that a file may have.
        ties: what it says about others.
        clean: nothing is wrong in it alone.
        warnings: what deserves a look in it alone; lines count from its own text.
    """

    __slots__ = (
        "clean",
        "id",
        "index",
        "kind",
        "made",
        "maker",
        "name",
        "row",
        "spec",
        "ties",
        "values",
        "warnings",
    )

    def __init__(
        self, kind: str, name: str, spec: Model, canonical: bytes, index: int, values: int, ties: Ties
    ):
        self.kind = kind
        self.name = name
        self.row = b"".join((_encode([kind, name])[:-1], b",", canonical, b"]"))
        self.spec: Model | None = spec
        self.index = index
        self.values = values
        self.ties = ties
        self.id = intern(spec.id) if isinstance(spec, ApiKeySpec) else ""
        self.clean = True
        self.warnings: tuple[PolicyError, ...] = ()
        self.maker: object = None  # who made what follows, with everything that it depends on
        self.made: object = None  # what has become of the document: compiled rules, a key

    @property
    def canonical(self) -> bytes:
        """Return what was written, as canonical JSON."""
        return self.row[len(self.kind) + len(self.name) + 7 : -1]

    def slim(self) -> None:
        """Forget the model, if there are many of its kind."""
        if self.kind in MANY:
            self.spec = None

    def read(self) -> Model:
        """Return the model; made again where it was forgotten."""
        return self.spec if self.spec is not None else READERS[self.kind].validate_json(self.canonical).spec


def _ties(spec: Model) -> Ties:
    match spec:
        case PolicySpec():
            return Ties(
                shadow=spec.mode == "shadow",
                hosts=tuple(map(parse_host, spec.hosts)),
                providers=frozenset(_named(spec)),
                limits=frozenset(_limits(spec.rules)),
                limits_of_known=frozenset(_limits(rule for rule in spec.rules if not rule.anonymous_alone)),
                headers=tuple(sorted(spec.on_allow.headers.items())) if spec.on_allow is not None else (),
                rules=tuple(rule.name for rule in spec.rules),
            )
        case ApiKeySpec():
            providers = frozenset((spec.provider,))
            return Ties(providers=providers, limits=frozenset(spec.limits or ()), customer=spec.customer)
        case CustomerSpec():
            return Ties(limits=frozenset(spec.limits or ()), customer=spec.customers or "")
    return Ties()


def _limits(rules: Iterable[Rule]) -> Iterable[str]:
    return (name for rule in rules for name in rule.limits or ())


def _named(spec: PolicySpec) -> Iterable[str]:
    for rule in spec.rules:
        yield from (name for name in rule.identity or () if name not in _SPECIAL_IDENTITIES)
