"""TLS as the webhook speaks it: 1.2 or newer, HTTP/1.1, the certificate of the moment."""

from __future__ import annotations

import os
import ssl

from authz.admission.certificate import Generation


def server_context(generation: Generation) -> ssl.SSLContext:
    """Return what secures connections that begin from now on."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # The library reads files alone. SECURITY: this one is memory, and has no name that outlives the block.
    descriptor = os.memfd_create("webhook", os.MFD_CLOEXEC)
    with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123 - it has no path
        file.write(generation.key + generation.cert)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    return context
