"""How sinks are asked over TLS: whom we trust, and who we are.

Files are read whenever a connection begins: whoever replaces a certificate sends no signal.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import NamedTuple

from authz.shipping.delivery import Unavailable
from authz.shipping.errand import Access

# Where systems keep the CAs that they trust, as one file: Debian and Alpine, Fedora, openSUSE, BSD. The
# library for gRPC brings a list of its own and never looks.
_SYSTEM_CAS = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def client_context(access: Access) -> ssl.SSLContext:
    """Return what makes a connection a secure one: the server is proven, by name, or there is none.

    Raises:
        Unavailable: a file cannot be used.
    """
    named = "`record_ca`"
    try:
        context = ssl.create_default_context(cafile=access.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if access.cert is not None:
            named = "`record_cert` or `record_key`"
            # SECURITY: a key with a passphrase would ask for it on the terminal, and wait for ever.
            context.load_cert_chain(access.cert, access.key, password=lambda: "")
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise Unavailable(f"{named}: {_words(error)}") from None
    return context


class Material(NamedTuple):
    """The same for the library for gRPC, as PEM. SECURITY: never shown."""

    roots: bytes | None
    key: bytes | None
    cert: bytes | None

    def __repr__(self) -> str:
        return "Material(...)"


def material(access: Access) -> Material:
    """Return whom we trust and who we are, as bytes.

    Raises:
        Unavailable: a file cannot be used.
    """
    client_context(access)  # that library says nothing of files that it cannot use, and tries for ever
    try:
        return Material(_roots(access.ca), _read(access.key), _read(access.cert))
    except OSError as error:
        raise Unavailable(f"`record_ca`, `record_cert` or `record_key`: {_words(error)}") from None


def _roots(ca: Path | None) -> bytes | None:
    if ca is not None:
        return ca.read_bytes()
    named = (os.environ.get("SSL_CERT_FILE"), ssl.get_default_verify_paths().cafile, *_SYSTEM_CAS)
    found = next((Path(one) for one in named if one and Path(one).is_file()), None)
    return found.read_bytes() if found is not None else None


def _read(path: Path | None) -> bytes | None:
    return path.read_bytes() if path is not None else None


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"no use as PEM ({(error.reason or 'unreadable').lower()})"
    return (getattr(error, "strerror", None) or "cannot be read").lower()
