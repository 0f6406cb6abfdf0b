"""Takes whatever records come, and says yes at once: `python -m authz.bench.records_receiver http|otlp PORT`.

It reads each request whole and looks into none of them, so that what is measured is who sends. With `--log
FILE` it writes down when each came, and what it brought: see `arrivals`.
"""

from __future__ import annotations

import argparse
import gzip
import socketserver
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, NamedTuple

import grpc

_LOOPBACK = "127.0.0.1"
_MESSAGE_MAX_BYTES = 64 * 1024 * 1024
_HEAD = struct.Struct("<dI")
_LENGTH = b"content-length:"
_YES = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"

_Take = Callable[[bytes], None]


class Arrival(NamedTuple):
    """One request."""

    when_s: float  # by the monotonic clock
    records: int


def arrivals(log: Path) -> list[Arrival]:
    """Read what `--log` wrote, as far as it is whole."""
    data, at, found = log.read_bytes() if log.exists() else b"", 0, []
    while at + _HEAD.size <= len(data):
        when_s, size = _HEAD.unpack_from(data, at)
        body = data[at + _HEAD.size : at + _HEAD.size + size]
        if len(body) < size:
            break
        lines = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        found.append(Arrival(when_s, lines.count(b"\n")))
        at += _HEAD.size + size
    return found


class _Handler(socketserver.StreamRequestHandler):
    """One connection: requests, one after the other."""

    take: _Take
    rbufsize = 256 * 1024
    disable_nagle_algorithm = True

    def handle(self) -> None:
        while (size := self._length()) is not None:
            self.take(self.rfile.read(size))
            self.wfile.write(_YES)

    def _length(self) -> int | None:
        """Return how long the next body is; None where there is none."""
        size = None
        while line := self.rfile.readline():
            if line == b"\r\n":
                return size or 0
            if line.lower().startswith(_LENGTH):
                size = int(line[len(_LENGTH) :])
        return None


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def _serve_http(port: int, take: _Take) -> None:
    handler = type("Handler", (_Handler,), {"take": staticmethod(take)})
    with _Server((_LOOPBACK, port), handler) as server:
        server.serve_forever()


class _Any(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc has no types
    """Every method is served, and bytes stay bytes: an empty message is a yes in all of them."""

    def __init__(self, take: _Take) -> None:
        self._take = take

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        def answer(data: bytes, _: grpc.ServicerContext) -> bytes:
            self._take(data)
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


def _serve_grpc(port: int, take: _Take) -> None:
    options = [("grpc.max_receive_message_length", _MESSAGE_MAX_BYTES), ("grpc.so_reuseport", 0)]
    server = grpc.server(ThreadPoolExecutor(4), handlers=[_Any(take)], options=options)
    server.add_insecure_port(f"{_LOOPBACK}:{port}")
    server.start()
    server.wait_for_termination()


def _writing(log: IO[bytes]) -> _Take:
    lock = threading.Lock()

    def take(body: bytes) -> None:
        with lock:
            log.write(_HEAD.pack(time.monotonic(), len(body)) + body)
            log.flush()

    return take


def main() -> None:
    """Serve until somebody ends us."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("http", "otlp"))
    parser.add_argument("port", type=int)
    parser.add_argument("--log", type=Path)
    chosen = parser.parse_args()
    take: _Take = _writing(chosen.log.open("ab")) if chosen.log else lambda _: None
    (_serve_http if chosen.kind == "http" else _serve_grpc)(chosen.port, take)


if __name__ == "__main__":
    main()
