"""The keys that this program knows, and the one question about them: whose token is this?

Timing. Every refusal of a well-formed token costs exactly two HMACs, whatever the cause: an unknown id, a
wrong secret, a key that is revoked, expired, not yet valid, rotated out, of another provider or tried from
another address. The good token of a key's current secret costs one, and only its holder can see that. Two
is the largest number of secrets that a key has, so a wrong secret does not tell whether a rotation is on.
What remains is memory: an id that exists may be out of the processor's cache. Ids are public.
What differs besides (which question ends the list) is a tenth of a microsecond, and
`tests/security/test_timing.py` holds it there.
Rejected: one HMAC for refusals of keys with one secret (tells keys in rotation apart); a cache from token to
key (keeps secrets in memory, and the HMAC it saves is a tenth of a check).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from hmac import HMAC, compare_digest

from authz.identity.apikey import digest_under, fingerprint, keyed, prefix_of, split_token
from authz.model.errors import ConfigError
from authz.model.identity import ANONYMOUS, Identity
from authz.model.reason import Detail
from authz.model.request import Client

PEPPER_MIN_BYTES = 32  # as long as the digest that it keys
SECRETS_MAX = 2  # current, and the one before while a rotation overlaps
DIGEST_BYTES = 32

Network = tuple[int, int, int]  # version (4 or 6), first and last address as integers, both inside


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Peppers:
    """What secrets are hashed with: `API_KEY_SALT`, and `API_KEY_SALT_PREVIOUS` while peppers rotate.

    Without a current pepper there is none: the previous one alone verifies nothing.
    SECURITY: their text never shows them.

    Raises:
        ConfigError: a pepper is shorter than 32 bytes.
    """

    current: bytes | None = None
    previous: bytes | None = None

    def __post_init__(self) -> None:
        for name, pepper in (("API_KEY_SALT", self.current), ("API_KEY_SALT_PREVIOUS", self.previous)):
            if pepper is not None and len(pepper) < PEPPER_MIN_BYTES:
                raise ConfigError(
                    f"{name}: {len(pepper)} bytes are too few; set at least {PEPPER_MIN_BYTES} random bytes,"
                    " for example from `openssl rand -base64 48`"
                )

    def by_fingerprint(self) -> dict[str, bytes]:
        """Return the usable peppers, each under the name that documents give it."""
        if self.current is None:
            return {}
        usable = [pepper for pepper in (self.previous, self.current) if pepper is not None]
        return {fingerprint(pepper): pepper for pepper in usable}

    def __repr__(self) -> str:
        shown = ("None" if pepper is None else "***" for pepper in (self.current, self.previous))
        return "Peppers(current={}, previous={})".format(*shown)


@dataclass(frozen=True, slots=True, eq=False)
class KeySecret:
    """What is kept of one secret of a key.

    Args:
        version: counts rotations from 1.
        pepper: fingerprint of the pepper that it was hashed with.
        digest: 32 bytes; see `apikey.digest`.
        expires_at_us: microseconds since 1970, exclusive; None: as long as the key.
    """

    version: int
    pepper: str
    digest: bytes = field(repr=False)
    expires_at_us: int | None = None

    def __post_init__(self) -> None:
        if len(self.digest) != DIGEST_BYTES or self.version < 0:
            raise ValueError("a secret's digest has 32 bytes and its version counts from 1")


@dataclass(frozen=True, slots=True, eq=False)
class Key:
    """One ApiKey document, ready to be asked.

    Args:
        id: the public id inside its tokens.
        identity: built once, handed out to every check that proves this key.
        secrets: one or two; kept with the newest version first.
        not_before_us: inclusive; None: always.
        expires_at_us: exclusive; None: never.
        networks: where it may be used from; empty: anywhere.
        customer_enabled: what its Customer document says; True where there is none.
    """

    id: str
    provider: str
    identity: Identity = field(repr=False)
    secrets: tuple[KeySecret, ...]
    not_before_us: int | None = None
    expires_at_us: int | None = None
    networks: tuple[Network, ...] = ()
    enabled: bool = True
    customer_enabled: bool = True

    def __post_init__(self) -> None:
        if not 1 <= len(self.secrets) <= SECRETS_MAX:
            raise ValueError("a key has one secret, or two while a rotation overlaps")
        newest_first = tuple(sorted(self.secrets, key=lambda secret: -secret.version))
        object.__setattr__(self, "secrets", newest_first)

    def refusal(self, now_us: int, client: Client) -> Detail | None:
        """Return why a holder of a right secret is refused now and from there, or None."""
        if not self.enabled:
            return Detail.KEY_REVOKED
        if not self.customer_enabled:
            return Detail.CUSTOMER_DISABLED
        if self.not_before_us is not None and now_us < self.not_before_us:
            return Detail.KEY_NOT_YET_VALID
        if self.expires_at_us is not None and now_us >= self.expires_at_us:
            return Detail.KEY_EXPIRED
        if not self.networks:
            return None
        # Neither a function nor a generator: both cost time that tells this refusal from the others.
        address_version, number = client.version, client.number
        for version, first, last in self.networks:
            if version == address_version and first <= number <= last:
                return None
        return Detail.KEY_ADDRESS


# Stands where no secret is: hashed against like any other, and never accepted.
_NO_SECRET = KeySecret(version=0, pepper="", digest=bytes(DIGEST_BYTES))
_NO_PEPPER = keyed(bytes(PEPPER_MIN_BYTES))
_UNKNOWN = Key(id="", provider="", identity=ANONYMOUS, secrets=(_NO_SECRET,), enabled=False)


class Keyring:
    """Every key of a policy set. Immutable once built.

    Args:
        keys: with distinct ids.
        brand, env: what the tokens of this installation begin with.

    Raises:
        ConfigError: brand or env cannot stand in a token, or two keys share an id.
    """

    __slots__ = ("_keys", "_peppers", "_prefix", "_unusable", "disabled")

    def __init__(
        self, keys: Iterable[Key] = (), peppers: Peppers | None = None, brand: str = "ak", env: str = "live"
    ) -> None:
        self._prefix = prefix_of(brand, env)
        usable = (peppers or Peppers()).by_fingerprint()
        self._peppers: Mapping[str, HMAC] = {name: keyed(pepper) for name, pepper in usable.items()}
        self._keys = _by_id(keys)
        # Nearly every key has the current pepper: looked at by one comparison each.
        odd = [key for key in self._keys.values() if key.secrets[0].pepper not in self._peppers]
        self.disabled: tuple[str, ...] = tuple(sorted(key.id for key in odd if not self._usable(key)))
        """Ids of the keys that cannot be verified, because no pepper of theirs is here; to be logged."""
        self._unusable = frozenset(self.disabled)

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def disabled_count(self) -> int:
        """How many keys have no pepper here."""
        return len(self.disabled)

    def get(self, key_id: str) -> Key | None:
        """Return the key of an id, whatever its state."""
        return self._keys.get(key_id)

    def verify(
        self, text: str, now_us: int, client: Client, providers: Collection[str] | None = None
    ) -> Key | Detail:
        """Return whose token this is, or why it is nobody's.

        Args:
            text: the credential exactly as presented.
            now_us: microseconds since 1970.
            providers: the providers that may own the token; None: any.

        Returns:
            The key, or the cause, which is for records and operators alone: a client must not learn it.
        """
        parts = split_token(text, self._prefix)
        if isinstance(parts, Detail):
            return parts
        key_id, secret = parts
        key = self._keys.get(key_id, _UNKNOWN)
        current = key.secrets[0]
        matches = self._matches(key_id, secret, current)
        # SECURITY: asked whether it matters or not, so that a wrong secret costs what a revoked key does.
        cause = _refusal(key, now_us, client, providers)
        if matches and cause is None and not _is_over(current, now_us):
            return key
        return self._verify_older(key, (key_id, secret), cause, now_us, fits_current=matches)

    def _verify_older(
        self, key: Key, parts: tuple[str, str], cause: Detail | None, now_us: int, *, fits_current: bool
    ) -> Key | Detail:
        """Finish a token that the current secret did not accept; `cause` says what is wrong with the key."""
        # SECURITY: the second HMAC is computed before anything is decided, needed or not; see the top.
        older = key.secrets[1] if len(key.secrets) > 1 else _NO_SECRET
        fits_older = self._matches(*parts, older) and older is not _NO_SECRET
        over = _is_over(older, now_us) or fits_current
        unproven = self._unproven(key)
        if not (fits_current or fits_older):
            return unproven
        if cause is not None:
            return cause
        return Detail.KEY_EXPIRED if over else key

    def _matches(self, key_id: str, secret: str, kept: KeySecret) -> bool:
        pepper = self._peppers.get(kept.pepper)
        computed = digest_under(pepper or _NO_PEPPER, key_id, kept.version, secret)
        # SECURITY: compared first, in constant time; a secret whose pepper is not here never matches.
        return compare_digest(computed, kept.digest) and pepper is not None

    def _unproven(self, key: Key) -> Detail:
        if key is _UNKNOWN:
            return Detail.KEY_UNKNOWN
        return Detail.PEPPER_MISSING if key.id in self._unusable else Detail.KEY_SECRET_WRONG

    def _usable(self, key: Key) -> bool:
        return any(secret.pepper in self._peppers for secret in key.secrets)


def _refusal(key: Key, now_us: int, client: Client, providers: Collection[str] | None) -> Detail | None:
    """Return why a right secret of this key is refused, or None."""
    if providers is not None and key.provider not in providers:
        return Detail.CREDENTIAL_NOT_OWNED
    return key.refusal(now_us, client)


def _is_over(secret: KeySecret, now_us: int) -> bool:
    return secret.expires_at_us is not None and now_us >= secret.expires_at_us


def _by_id(keys: Iterable[Key]) -> dict[str, Key]:
    listed = tuple(keys)
    known = {key.id: key for key in listed}
    if len(known) < len(listed):
        twice = next(key.id for key in listed if known[key.id] is not key)
        raise ConfigError(f"key id `{twice}`: two keys have it; ids are never reused, create a new key")
    return known
