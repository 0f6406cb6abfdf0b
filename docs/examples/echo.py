"""An application to try the examples with: answers 200 and shows the request headers that reached it.

python3 docs/examples/echo.py 3000
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Echo(BaseHTTPRequestHandler):
    """Says what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer any request."""
        self.rfile.read(int(self.headers.get("content-length") or 0))
        body = "".join(f"{name}: {value}\n" for name, value in self.headers.items()).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - what the server looks for


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Echo).serve_forever()
