"""What a process and a child of it say to each other, over a socket that nobody else can reach.

First what the child is to do is sent whole: settings, secrets among them, which therefore stand on no command
line and in no file. Then lines go either way. A closed end means that the other process is gone.
"""

from __future__ import annotations

import socket
from collections.abc import Generator

_SIZE_BYTES = 8
_RECEIVE_BYTES = 65536


def send_whole(link: socket.socket, data: bytes) -> None:
    """Send bytes that `receive_whole` returns at the other end."""
    link.sendall(len(data).to_bytes(_SIZE_BYTES, "big") + data)


def receive_whole(link: socket.socket) -> bytes:
    """Return what was sent whole.

    Raises:
        EOFError: the other process is gone.
    """
    return _exactly(link, int.from_bytes(_exactly(link, _SIZE_BYTES), "big"))


def whole_lines(link: socket.socket) -> Generator[bytes]:
    """Yield lines until the other one is gone; the last words of one that was killed may be half a line."""
    with link.makefile("rb") as lines:
        try:
            for line in lines:
                if line.endswith(b"\n"):
                    yield line
        except OSError:
            return


def _exactly(link: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = link.recv(min(size - len(data), _RECEIVE_BYTES))
        if not chunk:
            raise EOFError
        data += chunk
    return data
