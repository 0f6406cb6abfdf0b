"""From ApiKey, Customer and IdentityProvider documents to the nouns that `identity/` asks."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from sys import intern
from types import MappingProxyType
from typing import NamedTuple

from authz.identity.keyring import Key, KeySecret
from authz.model.identity import Identity, IdentityKind, Provider
from authz.model.limit import Rate
from authz.policy.compile import network
from authz.policy.kind_identity import ApiKeySpec, CustomerSpec
from authz.policy.loaded import Document, Loaded, namespace_of
from authz.policy.shape import RateSpec

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_RATES: Mapping[str, Rate] = MappingProxyType({})
_NO_CLAIMS: Mapping[str, object] = MappingProxyType({})


class _Customer(NamedTuple):
    """What a customer's document adds to its keys."""

    enabled: bool
    labels: Mapping[str, str]
    limits: Mapping[str, Rate]


_NO_CUSTOMER = _Customer(True, MappingProxyType({}), _NO_RATES)  # noqa: FBT003 - a field of a tuple


def providers(loaded: Loaded) -> dict[str, Provider]:
    """Return every provider by name."""
    return {
        document.name: Provider(document.name, namespace_of(document), document.spec.places)
        for document in loaded.providers
    }


def keys(loaded: Loaded, known: Mapping[str, Provider], processes: int = 1) -> Iterator[Key]:
    """Yield every API key of a set; equal scopes and labels are shared, as most keys have the same.

    Args:
        processes: so many keep buckets of their own: overrides of limits are this one's share.
    """
    customers = {
        (loaded.customer_namespace(document), document.name): _customer(document, processes)
        for document in loaded.customers
    }
    shared: dict[object, Mapping[str, str]] = {}
    for document in loaded.keys:
        namespace = known[document.spec.provider].namespace
        customer = customers.get((namespace, document.spec.customer), _NO_CUSTOMER)
        labels = {**customer.labels, **document.spec.labels}
        own = shared.setdefault(tuple(sorted(labels.items())), MappingProxyType(labels))
        yield _key(document, namespace, customer, own, processes)


def _customer(document: Document[CustomerSpec], processes: int) -> _Customer:
    return _Customer(document.spec.enabled, document.spec.labels, _rates(document.spec.limits, processes))


def _key(
    document: Document[ApiKeySpec],
    namespace: str,
    customer: _Customer,
    labels: Mapping[str, str],
    processes: int,
) -> Key:
    spec = document.spec
    own = _rates(spec.limits, processes)
    key_id = intern(spec.id)
    identity = Identity(
        kind=IdentityKind.API_KEY,
        provider=intern(spec.provider),
        subject=key_id,
        key_id=key_id,
        customer=intern(spec.customer),
        namespace=intern(namespace),
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


def _rates(limits: Mapping[str, RateSpec] | None, processes: int) -> Mapping[str, Rate]:
    if not limits:
        return _NO_RATES
    return {name: spec.to_rate().share(processes) for name, spec in limits.items()}


def _digest(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=")


def _us(moment: datetime | None) -> int | None:
    return (moment - _EPOCH) // timedelta(microseconds=1) if moment is not None else None
