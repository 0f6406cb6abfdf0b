"""OTLP over gRPC. Loaded only where it is spoken.

SECURITY: what a server says beside the code of its answer is not repeated: it has seen our token and our
records, and may give both back.
"""

from __future__ import annotations

import os
import re

# The library writes lines of its own to standard error for each connection that fails; before it is loaded.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from authz.model.sink import SinkAddress
from authz.shipping.delivery import Refused, Unavailable
from authz.shipping.errand import Access
from authz.shipping.exporter import Kind
from authz.shipping.post import RETRY_MAX_S
from authz.shipping.tls import material

_METHODS = {
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
}
_OPTIONS = (
    ("grpc.enable_http_proxy", 0),  # SECURITY: the environment names no place for records
    ("grpc.enable_retries", 0),  # the carrier tries again, and knows of it
    ("grpc.use_local_subchannel_pool", 1),  # what failed for another sink is not ours
    ("grpc.service_config_disable_resolution", 1),  # a name server decides nothing of how we ask
    # An answer says little. It is measured packed, and may be a thousand times as long when unpacked.
    ("grpc.max_receive_message_length", 16 * 1024),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.absolute_max_metadata_size", 16 * 1024),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)
# What a batch is refused for, so that a smaller one may pass. Of the codes that the specification calls final
# the others are about settings (who we are, what is served there) or about a server's faults: records wait.
_UNFIT = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED})
_WORDS = {
    grpc.StatusCode.UNAUTHENTICATED: "; look at `record_http_token`",
    grpc.StatusCode.PERMISSION_DENIED: "; look at `record_http_token`, and at what it may do",
    grpc.StatusCode.UNIMPLEMENTED: "; it takes no such data, or speaks OTLP over HTTP",
    grpc.StatusCode.DEADLINE_EXCEEDED: ": no answer in time",
}
# The library's own words for a connection that fails, and ours.
_CAUSES = (
    ("Connection refused", "connection refused"),
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not to be trusted"),
    ("Hostname Verification Check failed", "its certificate is for another name"),
    ("DNS resolution failed", "its name is not known"),
    ("Domain name not found", "its name is not known"),
    ("Ssl handshake failed", "no TLS"),
    ("Tls handshake failed", "no TLS"),
    ("Socket closed", "hung up"),
    ("Connection reset", "hung up"),
    ("Timeout occurred", "does not answer in time"),
    ("FD Shutdown", "does not answer in time"),
)
_OVERLONG = "CLIENT: Received message larger than max"  # our own bound; a server's own says `SERVER`
_TOKEN = re.compile(r"[\x21-\x7e]*")


class GrpcExporter:
    """One channel to one collector; see `otlp.Exporter`."""

    def __init__(self, address: SinkAddress, access: Access, kind: Kind) -> None:
        (host, port), *_ = address.servers
        self._where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._tls = address.tls
        self._access = access
        self._method = _METHODS[kind]
        self._channel: grpc.Channel | None = None

    def export(self, payload: bytes) -> bytes:
        """See `otlp.Exporter`."""
        channel = self._opened()
        call = channel.unary_unary(self._method, request_serializer=None, response_deserializer=None)
        try:
            answer: bytes = call(
                payload,
                timeout=self._access.timeout_s,
                metadata=self._metadata(),
                compression=grpc.Compression.Gzip,
            )
        except grpc.RpcError as error:
            # A new channel reads certificates anew, and waits for nothing that the old one waits for.
            self.close()
            raise judged(error, self._where) from None
        return answer

    def close(self) -> None:
        """See `otlp.Exporter`."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _opened(self) -> grpc.Channel:
        if self._channel is None:
            self._channel = self._made()
        return self._channel

    def _made(self) -> grpc.Channel:
        target = f"dns:///{self._where}"
        if not self._tls:
            return grpc.insecure_channel(target, options=_OPTIONS)
        proof = material(self._access)
        credentials = grpc.ssl_channel_credentials(proof.roots, proof.key, proof.cert)
        return grpc.secure_channel(target, credentials, options=_OPTIONS)

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        token = self._access.http_token.strip()
        if not _TOKEN.fullmatch(token):
            raise Unavailable("`record_http_token` holds what no header may; write printable ASCII")
        return (("authorization", f"Bearer {token}"),) if token else ()


def judged(error: grpc.RpcError, where: str) -> Unavailable | Refused:
    """Return what a failed call means.

    Source: the OTLP specification, "OTLP/gRPC Response" and "OTLP/gRPC Throttling": RESOURCE_EXHAUSTED is to
    be tried again only where a RetryInfo comes with it.
    """
    code: grpc.StatusCode = error.code()
    if _OVERLONG in (error.details() or ""):
        return Unavailable(f"{where}: an answer without end")
    retry_s = _retry_s(error)
    if code in _UNFIT and not (code is grpc.StatusCode.RESOURCE_EXHAUSTED and retry_s is not None):
        return Refused(f"{where} answers {code.name}")
    return Unavailable(f"{where} answers {code.name}{_why(error, code)}", retry_s or 0.0)


def _why(error: grpc.RpcError, code: grpc.StatusCode) -> str:
    if code is not grpc.StatusCode.UNAVAILABLE:
        return _WORDS.get(code, "")
    details = error.details() or ""
    return next((f": {ours}" for theirs, ours in _CAUSES if theirs in details), "")


def _retry_s(error: grpc.RpcError) -> float | None:
    """Return how long a server asks us to wait, or None where it says nothing of it."""
    for name, value in error.trailing_metadata() or ():
        if name == "grpc-status-details-bin":
            return _delay_s(value)
    return None


def _delay_s(data: bytes) -> float | None:
    info = error_details_pb2.RetryInfo()
    try:
        for detail in status_pb2.Status.FromString(data).details:
            if detail.Is(info.DESCRIPTOR) and detail.Unpack(info):
                delay = info.retry_delay
                delay_s: float = delay.seconds + delay.nanos / 1e9
                return min(RETRY_MAX_S, max(0.0, delay_s))
    except DecodeError:
        return None
    return None
