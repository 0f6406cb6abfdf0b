"""The floor: a front that answers every call with the same prepared bytes and reads nothing.

Run as `python -m authz.bench.empty PATH native|grpcio`.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from threading import Event

from authz.model.address import UnixAddress
from authz.response.message import allow
from authz.transport.backlog import BATCH_MAX
from authz.transport.front import Front
from authz.transport.native import NativeFront
from authz.transport.shield import LAST_RESORT


def main() -> None:
    """Serve until told to stop."""
    stopping = Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    front = _front(UnixAddress(Path(sys.argv[1])), sys.argv[2])
    front.start()
    answer = allow((), ())
    while not stopping.is_set():
        for call in front.take(BATCH_MAX, 100) or ():
            front.respond(call.id, answer)
    front.close()


def _front(address: UnixAddress, transport: str) -> Front:
    if transport == "native":
        return NativeFront(address)
    from authz.transport.grpcio import GrpcioFront

    return GrpcioFront(address, lambda: True, LAST_RESORT)


if __name__ == "__main__":
    main()
