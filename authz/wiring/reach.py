"""Who reaches a listener: whoever does may ask about anybody, so it is said aloud or refused at the start."""

from __future__ import annotations

import time
from collections.abc import Sequence

from authz.config.rooms import TlsSettings
from authz.config.settings import Settings
from authz.model.address import Address, TcpAddress
from authz.model.errors import ConfigError


def require_reachable(settings: Settings) -> None:
    """Refuse listeners that would answer strangers, and certificates that cannot be used.

    Raises:
        ConfigError: see above; one line.
    """
    if settings.tls.tls_cert is None:
        _require_nothing(settings.tls)
        return
    _require_whole(settings.tls)
    _require_callers(settings.tls, settings.serve.listen)
    # Read here once, so that a supervisor does not start workers which cannot; and only here, since the
    # library costs memory.
    from authz.transport import certificate

    certificate.read(certificate.named(settings.tls), time.time())


def _require_nothing(tls: TlsSettings) -> None:
    given = {"--tls-key": tls.tls_key, "--tls-client-ca": tls.tls_client_ca, "--tls-clients": tls.tls_clients}
    for flag, value in given.items():
        if value:
            raise ConfigError(f"{flag}: there is no --tls-cert, which it belongs to; name both or neither")


def _require_whole(tls: TlsSettings) -> None:
    if tls.tls_key is None:
        raise ConfigError("--tls-cert: there is no --tls-key; name the certificate's key")
    if tls.tls_client_ca is not None and not tls.tls_clients:
        raise ConfigError(
            "--tls-client-ca: a CA speaks for a whole mesh; name with --tls-clients who of it may ask,"
            " or say `*` for all"
        )
    if tls.tls_clients and tls.tls_client_ca is None:
        raise ConfigError("--tls-clients: there is no --tls-client-ca that proves who asks; name it")


def _require_callers(tls: TlsSettings, listen: Sequence[Address]) -> None:
    ports = [address for address in listen if isinstance(address, TcpAddress)]
    if not ports:
        raise ConfigError(
            "--tls-cert: no --listen is HOST:PORT, and a Unix socket never speaks TLS; name one"
        )
    for address in ports:
        if not address.is_loopback and tls.tls_client_ca is None:
            raise ConfigError(
                f"--listen {address}: whoever reaches it may ask about anybody; name --tls-client-ca and"
                " --tls-clients, or listen on 127.0.0.1"
            )
