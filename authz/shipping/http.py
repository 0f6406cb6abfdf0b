"""Records to an HTTP server: a POST of lines of JSON, packed with gzip.

Each batch has a key in `idempotency-key`, made of its stream, its range and a checksum: one key, one text.
A server that remembers keys takes nothing twice.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable

from authz.model.sink import SinkAddress
from authz.shipping.delivery import Batch
from authz.shipping.errand import Access
from authz.shipping.packing import packed
from authz.shipping.post import Poster
from authz.shipping.wire import Clock

CONTENT_TYPE = "application/x-ndjson"

_BATCH_BYTES = 1024 * 1024  # nginx takes no larger body unless told; and this is the size before gzip


class HttpSink:
    """One server. See `delivery.Sink`."""

    batch_bytes = _BATCH_BYTES

    def __init__(
        self,
        address: SinkAddress,
        access: Access,
        name: str,
        *,
        clock: Clock = time.monotonic,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._reopen = False
        self._poster = Poster(
            address, access, address.target or "/", CONTENT_TYPE, clock=clock, wall_s=wall_s
        )

    def deliver(self, batch: Batch) -> None:
        """See `delivery.Sink`."""
        if self._reopen:
            self._reopen = False
            self._poster.close()
        self._poster.post(packed(batch.lines), _headers(batch))

    def reopen(self) -> None:
        """Connect anew at the next batch."""
        self._reopen = True

    def close(self) -> None:
        """See `delivery.Sink`."""
        self._poster.close()


def _headers(batch: Batch) -> dict[str, str]:
    """Return what a server needs to know of a batch without unpacking it.

    The range alone is no key: thinning makes fewer lines of the same range, and checkpoints have none.
    Source: draft-ietf-httpapi-idempotency-key-header, 2: a string in quotes.
    """
    covered = f"{batch.first_seq}-{batch.last_seq}"
    return {
        "idempotency-key": f'"{batch.stream}-{covered}-{zlib.crc32(batch.lines):08x}"',
        "x-authz-stream": batch.stream,
        "x-authz-seq": covered,
        "x-authz-records": str(batch.records),
    }
