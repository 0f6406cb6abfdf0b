"""Which front serves an address, and what the fronts of a process count together.

Unix sockets and plain TCP: what `--transport` says. TCP where a certificate is set: TLS, always grpcio.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable

from authz.config.settings import Settings
from authz.model.address import Address, TcpAddress
from authz.model.errors import ConfigError
from authz.record.metrics import TlsFacts
from authz.transport.front import Front, Secured
from authz.transport.native import NativeFront
from authz.transport.shield import LAST_RESORT


def make_front(address: Address, settings: Settings, serving: Callable[[], bool]) -> Front:
    """Return the front of one listener, not started yet.

    Args:
        serving: whether checks are judged by a policy set just now.

    Raises:
        ConfigError: the certificate cannot be used.
    """
    secured = isinstance(address, TcpAddress) and settings.tls.tls_cert is not None
    if settings.serve.transport == "native" and not secured:
        return NativeFront(address, serving)
    # Only here: whoever serves native alone does not pay for it.
    from authz.transport.grpcio import GrpcioFront
    from authz.transport.tls import server_tls

    return GrpcioFront(
        address, serving, LAST_RESORT, server_tls(settings.tls, time.time) if secured else None
    )


def require_reachable(settings: Settings) -> None:
    """Refuse listeners that would answer strangers, and certificates that cannot be used.

    Raises:
        ConfigError: see above; one line.
    """
    tls = settings.tls
    given = {"--tls-key": tls.tls_key, "--tls-client-ca": tls.tls_client_ca, "--tls-clients": tls.tls_clients}
    if tls.tls_cert is None:
        for flag, value in given.items():
            if value:
                raise ConfigError(
                    f"{flag}: there is no --tls-cert, which it belongs to; name both or neither"
                )
        return
    if tls.tls_key is None:
        raise ConfigError("--tls-cert: there is no --tls-key; name the certificate's key")
    if tls.tls_client_ca is not None and not tls.tls_clients:
        raise ConfigError(
            "--tls-client-ca: a CA speaks for a whole mesh; name who of it may ask with --tls-clients,"
            " or say `*` for all"
        )
    if tls.tls_clients and tls.tls_client_ca is None:
        raise ConfigError("--tls-clients: there is no --tls-client-ca that proves who asks; name it")
    for address in settings.serve.listen:
        if isinstance(address, TcpAddress) and not address.is_loopback and tls.tls_client_ca is None:
            raise ConfigError(
                f"--listen {address}: whoever reaches it may ask about anybody; name --tls-client-ca and"
                " --tls-clients, or listen on 127.0.0.1"
            )
    from authz.transport.tls import server_tls

    server_tls(tls, time.time)


def tls_facts(fronts: Iterable[Front]) -> TlsFacts:
    """Add up what the fronts of a process know of certificates."""
    expiry_s: dict[str, float] = {}
    reloads: Counter[str] = Counter()
    strangers = 0
    for front in fronts:
        facts = front.tls_facts() if isinstance(front, Secured) else TlsFacts()
        expiry_s |= facts.expiry_s  # of one set of files: alike but for a second
        reloads.update(facts.reloads)
        strangers += facts.strangers
    return TlsFacts(expiry_s, reloads, strangers)
