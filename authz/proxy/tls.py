"""How Envoy proves the sidecar over TCP, and itself to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from authz.model.address import Address, TcpAddress
from authz.proxy import messages as m
from authz.proxy.choices import SidecarTls, is_ip

_SOCKET = "envoy.transport_sockets.tls"
_TLS_1_3 = m.TlsParametersTlsProtocol.TLSv1_3


def transport_socket(tls: SidecarTls, authz: Sequence[Address]) -> m.TransportSocket:
    """Return what secures each connection of a cluster."""
    context = m.UpstreamTlsContext(
        sni=_server_name(tls, authz),
        common_tls_context=m.CommonTlsContext(
            # Both ends are ours, so there is nothing older to get along with.
            tls_params=m.TlsParameters(
                tls_minimum_protocol_version=_TLS_1_3, tls_maximum_protocol_version=_TLS_1_3
            ),
            alpn_protocols=["h2"],
            validation_context=m.CertificateValidationContext(
                trusted_ca=_file(tls.ca),
                # SECURITY: without a name any certificate of the CA could answer for us, every client's too.
                match_typed_subject_alt_names=[_matcher(name) for name in _names(tls, authz)],
            ),
            tls_certificates=[m.TlsCertificate(certificate_chain=_file(tls.cert), private_key=_file(tls.key))]
            if tls.cert and tls.key
            else [],
        ),
    )
    return m.TransportSocket(name=_SOCKET, typed_config=m.Packed.pack(context))


def _names(tls: SidecarTls, authz: Sequence[Address]) -> list[str]:
    if tls.name:
        return [tls.name]
    return sorted({where.host for where in authz if isinstance(where, TcpAddress)})


def _server_name(tls: SidecarTls, authz: Sequence[Address]) -> str:
    """Return the name that Envoy asks for; there is none for addresses, for SPIFFE ids, or for several."""
    names = _names(tls, authz)
    return names[0] if len(names) == 1 and _kind(names[0]) is m.SanType.DNS else ""


def _matcher(name: str) -> m.SubjectAltNameMatcher:
    return m.SubjectAltNameMatcher(san_type=_kind(name), matcher=m.StringMatcher(exact=name))


def _kind(name: str) -> m.SanType:
    if "://" in name:
        return m.SanType.URI
    return m.SanType.IP_ADDRESS if is_ip(name) else m.SanType.DNS


def _file(path: Path) -> m.DataSource:
    return m.DataSource(filename=str(path))
