"""Certificates as files: read, and found good or not before anybody is served with them.

Loaded only where TLS is served.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from authz.config.rooms import TlsSettings
from authz.model.errors import ConfigError

FILE_MAX_BYTES = 1024 * 1024  # a bundle of every public CA has a fifth of it

SERVER, CLIENT_CA = "server", "client_ca"


class Files(NamedTuple):
    """Where the certificates of a listener are."""

    cert: Path  # our certificate first, then those that lead to its CA
    key: Path
    client_ca: Path | None = None  # whose certificates callers must show; None: callers show none


def named(settings: TlsSettings) -> Files:
    """Return what the settings name.

    Raises:
        ConfigError: they name a certificate without a key, or none.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        raise ConfigError("--tls-cert and --tls-key: one goes with the other; name both")
    return Files(settings.tls_cert, settings.tls_key, settings.tls_client_ca)


@dataclass(frozen=True, slots=True)
class Material:
    """What the files held: good, and together.

    Args:
        expiry_s: `server` and `client_ca` -> when it can no longer be used, seconds since 1970.
    """

    cert: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None
    expiry_s: Mapping[str, float]


def read(files: Files, now_s: float) -> Material:
    """Read what a listener needs.

    Raises:
        ConfigError: one of the files cannot be used at this time, or they do not belong together.
    """
    cert, key = _bytes(files.cert), _bytes(files.key)
    chain = _certificates(cert, files.cert)
    _require_pair(chain[0], key, files)
    expiry_s = {SERVER: _require_valid(chain[:1], files.cert, now_s)}
    client_ca = None
    if files.client_ca is not None:
        client_ca = _bytes(files.client_ca)
        expiry_s[CLIENT_CA] = _require_valid(
            _certificates(client_ca, files.client_ca), files.client_ca, now_s
        )
    return Material(cert, key, client_ca, expiry_s)


class Shown(NamedTuple):
    """What a caller's certificate says."""

    spiffe_id: str  # its one URI, as it stands; "" where it has none, or more
    expires_s: float  # seconds since 1970


_NOTHING = Shown("", 0.0)


@lru_cache(1024)  # callers at once; each check asks, and reading costs 50 us
def shown(pem: bytes) -> Shown:
    """Read a caller's certificate; what is none says nothing, and expired in 1970."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        return Shown(_only_uri(certificate), certificate.not_valid_after_utc.timestamp())
    except (ValueError, x509.DuplicateExtension):
        return _NOTHING


def _only_uri(certificate: x509.Certificate) -> str:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return uris[0] if len(uris) == 1 else ""


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            found = file.read(FILE_MAX_BYTES + 1)
    except OSError as error:
        words = (error.strerror or "cannot be read").lower()
        raise ConfigError(f"{path}: {words}; name a file that this user may read") from None
    if len(found) > FILE_MAX_BYTES:
        raise ConfigError(f"{path}: is larger than 1 MiB; name a file of certificates")
    return found


def _certificates(pem: bytes, path: Path) -> Sequence[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise ConfigError(f"{path}: holds no certificate that can be read; write PEM") from None


def _require_pair(certificate: x509.Certificate, key: bytes, files: Files) -> None:
    # SECURITY: whatever is wrong with the key, nothing of it is told but that.
    try:
        ours = load_pem_private_key(key, password=None).public_key()
        theirs = certificate.public_key()
        pair = _spoken(ours) == _spoken(theirs)
    except TypeError:
        raise ConfigError(f"{files.key}: is locked by a passphrase; write the key without one") from None
    except Exception:  # noqa: BLE001 - the library names a dozen, and none of them means another thing
        raise ConfigError(f"{files.key}: holds no private key that can be read; write PEM") from None
    if not pair:
        raise ConfigError(
            f"{files.key}: is not the key of the first certificate in {files.cert}; write both anew, together"
        )


def _spoken(key: object) -> bytes:
    return bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))  # type: ignore[attr-defined] # every kind of key that the library reads has it


def _require_valid(certificates: Sequence[x509.Certificate], path: Path, now_s: float) -> float:
    """Return until when the last of these can be used; one of several CAs that is over harms nobody."""
    now = datetime.fromtimestamp(now_s, UTC)
    valid = [each.not_valid_after_utc for each in certificates if each.not_valid_before_utc <= now]
    if not valid:
        begins = min(each.not_valid_before_utc for each in certificates)
        raise ConfigError(f"{path}: is not valid before {begins:%Y-%m-%d %H:%M} UTC; look at the clock")
    ends = max(valid)
    if ends <= now:
        raise ConfigError(f"{path}: expired at {ends:%Y-%m-%d %H:%M} UTC; put a new certificate there")
    return ends.timestamp()
