"""The keys of a policy set, as operators ask about them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, NamedTuple

from authz.cli.keychange import written
from authz.identity.keyring import Key, Keyring, Peppers
from authz.model.errors import ConfigError
from authz.model.reason import Detail
from authz.model.request import Client
from authz.policy.load import load
from authz.snapshot.keys import keys, providers
from authz.snapshot.sources import read

ACTIVE = "active"
HEADINGS = ("NAME", "ID", "PROVIDER", "CUSTOMER", "STATE", "EXPIRES", "SECRETS")


class Row(NamedTuple):
    """One key in a list."""

    name: str
    key_id: str
    provider: str
    customer: str
    state: str  # `active`, or the cause by which records name its refusal
    expires_at: str  # "" for never
    versions: tuple[int, ...]  # of the secrets that are good now, newest first

    def cells(self) -> tuple[str, ...]:
        """Return the row as texts."""
        versions = ", ".join(f"v{version}" for version in self.versions)
        return (
            self.name,
            self.key_id,
            self.provider,
            self.customer,
            self.state,
            self.expires_at or "never",
            versions or "none",
        )

    def as_json(self) -> dict[str, Any]:
        """Return the row for machines; absent means never."""
        row = self._asdict()
        if not self.expires_at:
            del row["expires_at"]
        return row


class KeySet:
    """Every key of a set, under the peppers that are here."""

    def __init__(
        self, held: Sequence[Key], names: dict[str, str], ring: Keyring, *, has_pepper: bool
    ) -> None:
        self._held = held
        self._names = names
        self._ring = ring
        self._disabled = frozenset(ring.disabled) if has_pepper else frozenset()

    def name(self, key_id: str) -> str:
        """Return the name of a key's document."""
        return self._names[key_id]

    def verify(self, token: str, now_us: int, address: str | None) -> Key | Detail:
        """Return whose token this is, from an address or, where none is given, from one that its key allows.

        Raises:
            ConfigError: the address is none.
        """
        verdict = self._ring.verify(token, now_us, _client(address) if address else _ANYWHERE)
        if verdict is not Detail.KEY_ADDRESS or address:
            return verdict
        # The address is what is looked at last: everything else about the token is good.
        key = self._ring.get(token.split("_")[2])
        return key or verdict

    def rows(self, now_us: int) -> list[Row]:
        """Return every key by name, with its state now."""
        return sorted(self._row(key, now_us) for key in self._held)

    def _row(self, key: Key, now_us: int) -> Row:
        good = [one for one in key.secrets if one.expires_at_us is None or now_us < one.expires_at_us]
        cause = key.refusal(now_us, _ANYWHERE)
        if cause in (None, Detail.KEY_ADDRESS):
            cause = Detail.KEY_EXPIRED if not good else None
        if cause is None and key.id in self._disabled:
            cause = Detail.PEPPER_MISSING
        customer = key.identity.customer
        versions = tuple(one.version for one in good)
        return Row(
            self._names[key.id],
            key.id,
            key.provider,
            customer,
            cause or ACTIVE,
            _text(key.expires_at_us),
            versions,
        )


_ANYWHERE = Client(address="", network="", port=0, version=0, number=-1)


def read_keys(directories: Sequence[Path], peppers: Peppers, brand: str, env: str) -> KeySet:
    """Read the keys of a policy set.

    Raises:
        SnapshotRejected: the set has faults.
        ConfigError: the brand or environment cannot stand in a token.
    """
    loaded = load(read(directories))
    held = tuple(keys(loaded, providers(loaded)))
    names = {document.spec.id: document.name for document in loaded.keys}
    return KeySet(held, names, Keyring(held, peppers, brand, env), has_pepper=peppers.current is not None)


def _client(text: str) -> Client:
    try:
        address: IPv4Address | IPv6Address = ip_address(text)
    except ValueError:
        raise ConfigError(
            f"--address: `{ascii(text)[1:-1][:60]}` is no IP address; write one such as `203.0.113.7`"
        ) from None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return Client(str(address), "", 0, address.version, int(address))


def _text(moment_us: int | None) -> str:
    if moment_us is None:
        return ""
    return written(datetime.fromtimestamp(moment_us // 1_000_000, UTC))
