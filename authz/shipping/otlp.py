"""How OTLP is spoken: over gRPC (`otlp://`) or HTTP (`otlp+http://`), whatever is exported.

What is sent is a message of the collector's service, as bytes. Source: the OTLP specification, 1.x.
"""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.message import DecodeError

from authz.model.sink import SinkAddress
from authz.shipping.delivery import Refused, Rejected
from authz.shipping.errand import Access
from authz.shipping.exporter import Exporter, Kind
from authz.shipping.packing import packed
from authz.shipping.post import Poster

_CONTENT_TYPE = "application/x-protobuf"


class OtlpClient:
    """Exports to one collector. Connects when there is something to send. One thread uses it.

    Args:
        kind: which service: `logs` or `traces`.
    """

    def __init__(self, address: SinkAddress, access: Access, kind: Kind = "logs") -> None:
        self._exporter = _exporter(address, access, kind)

    def export(self, payload: bytes) -> bytes:
        """Send an `Export...ServiceRequest`; return the bytes of its response. See Exporter."""
        return self._exporter.export(payload)

    def close(self) -> None:
        """Let go of the connection; the next request makes another."""
        self._exporter.close()


class OtlpSink:
    """What sinks of both services do alike. See `delivery.Sink`."""

    def __init__(self, address: SinkAddress, access: Access, name: str, kind: Kind) -> None:
        self.name = name
        self._client = OtlpClient(address, access, kind)
        self._reopen = False

    def hand_over(self, message: bytes, count: int, rejected: Callable[[bytes], int]) -> None:
        """Export a request of so many items.

        A collector may take a part. The specification forbids to send such a request again, so what it did
        not take is Rejected: counted, not repeated. Where it took nothing at all, that is Refused.

        Args:
            rejected: reads out of the answer how many were not taken; raises DecodeError where it is no such
                message, which was a yes all the same: gRPC and HTTP have said so.
        """
        if self._reopen:
            self._reopen = False
            self._client.close()
        answer = self._client.export(message)
        try:
            missed = max(0, rejected(answer))
        except DecodeError:
            missed = 0
        if missed >= count > 0:
            raise Refused("it answers that it took none of them")
        if missed > 0:
            raise Rejected(missed)

    def reopen(self) -> None:
        """Connect anew at the next batch."""
        self._reopen = True

    def close(self) -> None:
        """See `delivery.Sink`."""
        self._client.close()


class HttpExporter:
    """Over HTTP, as protobuf."""

    def __init__(self, address: SinkAddress, access: Access, kind: Kind) -> None:
        self._poster = Poster(address, access, address.target or f"/v1/{kind}", _CONTENT_TYPE)

    def export(self, payload: bytes) -> bytes:
        """See Exporter."""
        return self._poster.post(packed(payload), {})

    def close(self) -> None:
        """See Exporter."""
        self._poster.close()


def _exporter(address: SinkAddress, access: Access, kind: Kind) -> Exporter:
    if address.scheme in ("otlp+http", "otlp+https"):
        return HttpExporter(address, access, kind)
    from authz.shipping.otlp_grpc import GrpcExporter  # here: the library takes 10 MiB

    return GrpcExporter(address, access, kind)
