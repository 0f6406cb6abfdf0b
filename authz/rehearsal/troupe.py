"""Who plays the callers of a rehearsal: keys with a secret that lives for one rehearsal.

A key is as its document says, but for its secret; so its expiry, its addresses and its customer are asked by
the very code that asks a served check, and neither a pepper nor anybody's token is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

from authz.identity.apikey import Token, digest, fingerprint, new_token
from authz.identity.keyring import Key, Keyring, KeySecret, Peppers
from authz.model.errors import ConfigError
from authz.model.identity import Identity, IdentityKind
from authz.policy.kind_identity import CustomerSpec
from authz.policy.kind_test import TestIdentity
from authz.snapshot.build import Built

_PEPPER = (
    b"of no secret but those of rehearsals"  # documents name other peppers: it verifies none of their digests
)
_FINGERPRINT = fingerprint(_PEPPER)
_MADE_UP_ID = "rehearsalkey"  # of an identity without a subject: every key has an id


class Part(NamedTuple):
    """One caller, ready to be played: a ring that knows one token, and the token."""

    provider: str
    keyring: Keyring
    token: str

    def __repr__(self) -> str:
        return f"Part(provider={self.provider!r}, ***)"


class Troupe:
    """Who can be played in one policy set; made once for many rehearsals."""

    def __init__(self, built: Built) -> None:
        self._built = built
        self._brand, self._env = built.snapshot.fixed.token_prefix.decode().strip("_").split("_")
        self._secret = new_token(self._brand, self._env).secret
        self._parts: dict[str, Part] = {}

    def holder(self, name: str) -> Part:
        """Return who holds a valid token of an ApiKey document.

        Raises:
            ConfigError: the set has no such document.
        """
        part = self._parts.get(name)
        if part is None:
            key = self._built.snapshot.keyring.get(self._ids.get(name, ""))
            if key is None:
                raise ConfigError(f"there is no ApiKey `{name}` in this set: name one of `authz key list`")
            part = self._parts[name] = self._played(key)
        return part

    def proven(self, who: TestIdentity) -> Part:
        """Return whom a provider has proven, as if by a key of its own.

        Raises:
            ConfigError: the set has no such provider.
        """
        provider = self._built.snapshot.providers.get(who.provider)
        if provider is None:
            raise ConfigError(
                f"there is no IdentityProvider `{who.provider}` in this set: name one of its own"
            )
        customer = self._customers.get((provider.namespace, who.customer or ""))
        limits = (customer.limits or {}) if customer else {}
        identity = Identity(
            kind=IdentityKind.API_KEY,
            provider=provider.name,
            subject=who.subject or _MADE_UP_ID,
            key_id=who.subject or _MADE_UP_ID,
            customer=who.customer or "",
            namespace=provider.namespace,
            scopes=tuple(who.scopes or ()),
            labels={**(customer.labels if customer else {}), **who.labels},
            claims=who.claims,
            limits={name: rate.to_rate() for name, rate in limits.items()},
        )
        enabled = customer is None or customer.enabled
        secret = self._kept(_MADE_UP_ID, None)
        return self._played(Key(_MADE_UP_ID, provider.name, identity, (secret,), customer_enabled=enabled))

    @cached_property
    def _ids(self) -> Mapping[str, str]:
        return {document.name: document.spec.id for document in self._built.loaded.keys}

    @cached_property
    def _customers(self) -> Mapping[tuple[str, str], CustomerSpec]:
        loaded = self._built.loaded
        return {
            (loaded.customer_namespace(document), document.name): document.spec
            for document in loaded.customers
        }

    def _kept(self, key_id: str, expires_at_us: int | None) -> KeySecret:
        return KeySecret(1, _FINGERPRINT, digest(_PEPPER, key_id, 1, self._secret), expires_at_us)

    def _played(self, key: Key) -> Part:
        """Give a key the secret of this rehearsal; it lasts as long as the last of the key's own."""
        ends = [secret.expires_at_us for secret in key.secrets]
        until = None if None in ends else max(end for end in ends if end is not None)
        mine = replace(key, secrets=(self._kept(key.id, until),))
        ring = Keyring([mine], Peppers(_PEPPER), self._brand, self._env)
        return Part(key.provider, ring, Token(self._brand, self._env, key.id, self._secret).render())
