"""The application of a sample pod: says what reached it, and minds its own health.

    python -I sample.py        PORT in the environment, 8080 else

`/slow` takes half a second. Asked to end, it answers what it has begun with, and takes nothing new.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType

_SLOW_S = 0.5


class Application(ThreadingHTTPServer):
    """The server: the end waits for the answers that are under way."""

    daemon_threads = False
    request_queue_size = 128


class Handler(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    protocol_version = "HTTP/1.1"
    timeout = 2.0  # seconds that a silent connection stays open

    def do_GET(self) -> None:
        """Answer, whatever the method."""
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(length)
        if self.path.startswith("/slow"):
            time.sleep(_SLOW_S)
        seen = {"method": self.command, "path": self.path, "headers": list(self.headers.items())}
        text = json.dumps({**seen, "body_bytes": len(body), "peer": self.client_address[0]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_POST(self) -> None:
        """The same."""
        self.do_GET()

    def log_message(self, format: str, *values: object) -> None:  # noqa: A002 - the library names it
        """Say each request in a line."""
        _say(format % values)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Serve until told to stop."""
    server = Application(("0.0.0.0", int(os.environ.get("PORT", "8080"))), Handler)

    def end(_number: int, _frame: FrameType | None) -> None:
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, end)
    server.serve_forever(poll_interval=0.05)
    server.server_close()
    _say("ended")


if __name__ == "__main__":
    main()
