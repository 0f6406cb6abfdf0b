"""From ApiKey, Customer and IdentityProvider documents to the nouns that `identity/` asks."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from sys import intern
from types import MappingProxyType
from typing import NamedTuple

from authz.identity.keyring import Key, KeySecret
from authz.model.identity import Identity, IdentityKind, Provider
from authz.model.limit import Rate
from authz.model.moment import microseconds
from authz.policy.group import Group
from authz.policy.kind_identity import ApiKeySpec, CustomerSpec
from authz.policy.leaf import Ties
from authz.policy.loaded import Document, Loaded, namespace_of
from authz.policy.shape import RateSpec
from authz.policy.workshop import network

_NO_RATES: Mapping[str, Rate] = MappingProxyType({})
_NO_CLAIMS: Mapping[str, object] = MappingProxyType({})


# Sets of labels that are shared among keys. Past this many they are collected anew: nothing depends on it.
_SHARED_MAX = 4096


class _Customer(NamedTuple):
    """What a customer's document adds to its keys."""

    enabled: bool
    labels: Mapping[str, str]
    limits: Mapping[str, Rate]


_NO_CUSTOMER = _Customer(True, MappingProxyType({}), _NO_RATES)  # noqa: FBT003 - a field of a tuple


@dataclass(frozen=True, slots=True, eq=False)
class _Ground:
    """What a key is made from besides its own document; a key is made anew only where this changes."""

    namespace: str
    customer: _Customer


def providers(loaded: Loaded) -> dict[str, Provider]:
    """Return every provider by name."""
    return {
        document.name: Provider(document.name, namespace_of(document), document.spec.places)
        for document in loaded.providers
    }


def keys(loaded: Loaded, known: Mapping[str, Provider], keepers: int = 1) -> tuple[Key, ...]:
    """Return every API key of a set."""
    return Keysmith(keepers).keys(loaded, known)


class Keysmith:
    """Makes the keys of one set after the other, and only those that are new.

    Args:
        keepers: so many keep buckets, each of its own: overrides of limits are this one's share.
    """

    def __init__(self, keepers: int = 1) -> None:
        self._keepers = keepers
        self._shared: dict[object, Mapping[str, str]] = {}
        self._grounds: dict[tuple[str, str], _Ground] = {}  # (name space, customer) -> as it was last
        self._groups: tuple[Group, ...] = ()
        self._keys: tuple[Key, ...] = ()

    def keys(
        self, loaded: Loaded, known: Mapping[str, Provider], pace: Callable[[], None] = lambda: None
    ) -> tuple[Key, ...]:
        """Return every API key of a set that has no faults; equal scopes and labels are shared."""
        groups = (loaded.keys.group, loaded.customers.group, loaded.providers.group)
        if groups != self._groups:
            self._keys = tuple(self._made(loaded, known, pace))
            self._groups = groups
        return self._keys

    def _made(self, loaded: Loaded, known: Mapping[str, Provider], pace: Callable[[], None]) -> list[Key]:
        grounds = self._grounded(loaded, known)
        stale = [leaf for leaf in loaded.keys.leaves if leaf.maker is not grounds[leaf.ties]]
        for document in loaded.keys.of(stale):
            leaf, ground = document.leaf, grounds[document.ties]
            leaf.made, leaf.maker = self._key(document.spec, ground), ground
            pace()
        return [leaf.made for leaf in loaded.keys.leaves]  # type: ignore[misc]  # whose maker is a ground

    def _grounded(self, loaded: Loaded, known: Mapping[str, Provider]) -> dict[Ties, _Ground]:
        """Return what each kind of key is made from."""
        customers = {
            (loaded.customer_namespace(document), document.name): self._customer(document)
            for document in loaded.customers
        }
        grounds: dict[Ties, _Ground] = {}
        kept: dict[tuple[str, str], _Ground] = {}
        for ties in loaded.keys.group.ties:
            (provider,) = ties.providers
            of = (known[provider].namespace, ties.customer)
            customer = customers.get(of, _NO_CUSTOMER)
            ground = kept.get(of) or self._grounds.get(of)
            if ground is None or ground.customer is not customer:
                ground = _Ground(intern(of[0]), customer)
            grounds[ties] = kept[of] = ground
        self._grounds = kept
        return grounds

    def _customer(self, document: Document[CustomerSpec]) -> _Customer:
        leaf = document.leaf
        if leaf.maker is not self:
            spec = document.spec
            leaf.made = _Customer(spec.enabled, spec.labels, _rates(spec.limits, self._keepers))
            leaf.maker = self
        return leaf.made  # type: ignore[return-value]  # made here

    def _key(self, spec: ApiKeySpec, ground: _Ground) -> Key:
        labels = {**ground.customer.labels, **spec.labels}
        if len(self._shared) >= _SHARED_MAX:
            self._shared.clear()
        own = self._shared.setdefault(tuple(sorted(labels.items())), MappingProxyType(labels))
        return _key(spec, ground.namespace, ground.customer, own, self._keepers)


def _key(
    spec: ApiKeySpec,
    namespace: str,
    customer: _Customer,
    labels: Mapping[str, str],
    keepers: int,
) -> Key:
    own = _rates(spec.limits, keepers)
    key_id = intern(spec.id)
    identity = Identity(
        kind=IdentityKind.API_KEY,
        provider=intern(spec.provider),
        subject=key_id,
        key_id=key_id,
        customer=intern(spec.customer),
        namespace=namespace,
        scopes=tuple(map(intern, spec.scopes or ())),
        labels=labels,
        claims=_NO_CLAIMS,
        limits={**customer.limits, **own} if own else customer.limits,
    )
    return Key(
        id=key_id,
        provider=identity.provider,
        identity=identity,
        secrets=tuple(
            KeySecret(one.version, intern(one.pepper), _digest(one.digest), _us(one.expires_at))
            for one in spec.secrets
        ),
        not_before_us=_us(spec.not_before),
        expires_at_us=_us(spec.expires_at),
        networks=tuple(map(network, spec.addresses or ())),
        enabled=spec.enabled,
        customer_enabled=customer.enabled,
    )


def _rates(limits: Mapping[str, RateSpec] | None, keepers: int) -> Mapping[str, Rate]:
    if not limits:
        return _NO_RATES
    return {name: spec.to_rate().share(keepers) for name, spec in limits.items()}


def _digest(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=")


def _us(moment: datetime | None) -> int | None:
    return microseconds(moment) if moment is not None else None
