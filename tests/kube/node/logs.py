"""The door at which an API server asks a kubelet for the logs of containers, for `kubectl logs` and Helm."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from tests.support.certificates import Authority

if TYPE_CHECKING:
    from tests.kube.node.pod import Pod

_POLL_S = 0.1
Find = Callable[[str, str], "Pod | None"]


class LogDoor:
    """Answers `/containerLogs/NAMESPACE/POD/CONTAINER` until it is closed; its certificate is anybody's.

    Args:
        find: namespace, name -> the pod, if it runs here.
        home: for its certificate.
    """

    def __init__(self, find: Find, home: Path) -> None:
        pair = Authority().server().written(home, "kubelet")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(find))
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trust.load_cert_chain(*pair)
        self._server.socket = trust.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens, on the loopback."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(find: Find) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Tells one log, and with `follow` waits for its end."""

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            match url.path.split("/"):
                case ["", "containerLogs", namespace, name, container] if pod := find(namespace, name):
                    self._tell(pod, container, follow=parse_qs(url.query).get("follow") == ["true"])
                case _:
                    self.send_error(404)

        def _tell(self, pod: Pod, container: str, *, follow: bool) -> None:
            while follow and pod.container(container).running:
                time.sleep(_POLL_S)
            text = pod.log(container).encode()
            self.send_response(200)
            self.send_header("content-type", "text/plain")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *values: object) -> None:  # noqa: A002 - the library names it
            """Say nothing."""

    return Handler
