"""The floor: the same front, answering every call with the same prepared bytes and reading nothing.

Run as `python -m authz.bench.empty PATH`.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from threading import Event

from authz.model.address import UnixAddress
from authz.response.message import allow
from authz.transport.backlog import BATCH_MAX
from authz.transport.native import NativeFront


def main() -> None:
    """Serve until told to stop."""
    stopping = Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    front = NativeFront(UnixAddress(Path(sys.argv[1])))
    front.start()
    answer = allow((), ())
    while not stopping.is_set():
        for call_id, _, _ in front.take(BATCH_MAX, 100) or ():
            front.respond(call_id, answer)
    front.close()


if __name__ == "__main__":
    main()
