"""Which front serves an address, and what the fronts of a process count together.

Unix sockets and plain TCP: what `--transport` says. TCP where a certificate is set: TLS, always grpcio.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable

from authz.config.settings import Settings
from authz.model.address import Address, TcpAddress
from authz.record.facts import TlsFacts
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
