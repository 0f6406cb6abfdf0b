"""API keys with known secrets, for tests."""

from __future__ import annotations

from typing import Any

from authz.identity.apikey import Token, digest, fingerprint
from authz.identity.keyring import Key, Keyring, KeySecret, Peppers
from authz.model.identity import Identity, IdentityKind

PEPPER = b"example-pepper-of-32-bytes-long!"
OTHER_PEPPER = b"another-pepper-of-32-bytes-long!"
KEY_ID = "k7Qm2VxP0aZs"
SECRET = "A" * 43
TOKEN = f"ak_live_{KEY_ID}_{SECRET}2Oob3N"  # the contract's test vector


def token(key_id: str = KEY_ID, secret: str = SECRET) -> str:
    """Return the text of a well-formed token."""
    return Token("ak", "live", key_id, secret).render()


def kept(
    secret: str = SECRET,
    version: int = 1,
    *,
    key_id: str = KEY_ID,
    pepper: bytes = PEPPER,
    expires_at_us: int | None = None,
) -> KeySecret:
    """Return what a document keeps of a secret."""
    return KeySecret(version, fingerprint(pepper), digest(pepper, key_id, version, secret), expires_at_us)


def key(*secrets: KeySecret, key_id: str = KEY_ID, provider: str = "partner-keys", **fields: Any) -> Key:
    """Return a key; `fields` are further fields of Key. Without secrets it has the test vector's."""
    identity = Identity(
        kind=IdentityKind.API_KEY,
        provider=provider,
        subject=key_id,
        key_id=key_id,
        customer="acme",
        namespace="example",
    )
    return Key(key_id, provider, identity, secrets or (kept(key_id=key_id),), **fields)


def keyring(*keys: Key, peppers: Peppers | None = None) -> Keyring:
    """Return a keyring under the test vector's pepper; without keys it has the test vector's."""
    return Keyring(keys or (key(),), peppers or Peppers(PEPPER))
