"""A certificate for the webhook and the CA that vouches for it, made together and replaced together.

The CA signs one certificate and its key is thrown away: whoever reads our Secret can pretend to be this
webhook until the pair is replaced, and nothing more. Loaded only by the webhook: `cryptography` is large.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY_S = 86_400.0
LIFETIME_S = 90 * DAY_S  # as public CAs give; it is replaced long before, see `rotation.py`
# Clocks of API servers may be behind ours, and a certificate that is not valid yet stops every labelled pod.
BACKDATED_S = DAY_S


@dataclass(frozen=True, slots=True)
class Generation:
    """A serving certificate, its key and the CA that signed it; PEM.

    Args:
        ca: goes into the bundle by which the API server knows us.
        cert: what we show.
        key: never leaves this process and our Secret.
    """

    ca: bytes
    cert: bytes
    key: bytes = field(repr=False)


def mint(names: Sequence[str], now_s: float) -> Generation:
    """Make a new pair.

    Args:
        names: DNS names and addresses by which the API server connects; at least one.
        now_s: seconds since 1970.
    """
    ca_key = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    # Each CA has a name of its own: with two in a bundle, who verifies tries the right one.
    issuer = _named(f"authz webhook CA {serial:x}"[:64])
    ca = _builder(issuer, issuer, ca_key.public_key(), now_s).serial_number(serial)
    ca = ca.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    ca = ca.add_extension(_usage(signs=True), critical=True)
    ca = ca.add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
    leaf = _builder(_named(names[0][:64]), issuer, key.public_key(), now_s)
    leaf = leaf.serial_number(x509.random_serial_number())
    leaf = leaf.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    leaf = leaf.add_extension(_usage(signs=False), critical=True)
    leaf = leaf.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    leaf = leaf.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
    leaf = leaf.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
    )
    return Generation(
        ca.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.PEM),
        leaf.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def fault(generation: Generation, names: Sequence[str], now_s: float) -> str:
    """Say why nobody should be served with this pair now; "" where it is good."""
    try:
        ca = x509.load_pem_x509_certificate(generation.ca)
        cert = x509.load_pem_x509_certificate(generation.cert)
        key = load_pem_private_key(generation.key, password=None)
        cert.verify_directly_issued_by(ca)
        spoken = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound, x509.DuplicateExtension):
        return "cannot be read, or its parts do not belong together"
    if key.public_key() != cert.public_key():
        return "its key is another's"
    if missing := sorted({str(_general(name)) for name in names} - {str(name) for name in spoken}):
        return f"does not speak for {missing[0]}"
    return _untimely(ca, now_s) or _untimely(cert, now_s)


def expiry_s(certificate: bytes) -> float:
    """Return when a certificate can no longer be used, seconds since 1970; 0.0 for what is none."""
    try:
        return x509.load_pem_x509_certificate(certificate).not_valid_after_utc.timestamp()
    except ValueError:
        return 0.0


def _untimely(certificate: x509.Certificate, now_s: float) -> str:
    now = datetime.fromtimestamp(now_s, UTC)
    if now >= certificate.not_valid_after_utc:
        return f"expired at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    if now < certificate.not_valid_before_utc:
        return f"is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
    return ""


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now_s: float
) -> x509.CertificateBuilder:
    now = datetime.fromtimestamp(int(now_s), UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .not_valid_before(now - timedelta(seconds=BACKDATED_S))
        .not_valid_after(now + timedelta(seconds=LIFETIME_S))
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
