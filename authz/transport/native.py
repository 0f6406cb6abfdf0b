"""The default front: `pygrpc-native`, whose HTTP/2 runs outside the interpreter lock.

Its rules, as tried: Unix sockets and loopback only, no TLS; made in the process that serves; one queue, so
one judging thread; calls past their deadline still arrive; no limit on messages; a second bind on a socket
silently steals it; `close` fails what is pending.
"""

from __future__ import annotations

import os
import socket

from pygrpc_native import EVENT_CALL, NativeGrpcFront

from authz.model.address import TcpAddress, UnixAddress
from authz.model.errors import ConfigError
from authz.transport.front import METHOD, Arrival
from authz.transport.socket import Claim, claim

# Envoy shares our group; nobody else may ask about anybody.
_SOCKET_MODE = 0o660

# One thread moves 80,000 empty calls a second on this design's 2-core test machines: more than is judged.
_IO_THREADS = 1


class NativeFront:
    """A front on a Unix socket or on loopback."""

    def __init__(self, address: UnixAddress | TcpAddress) -> None:
        self._address = address
        self._claim: Claim | None = None
        self._front: NativeGrpcFront | None = None

    def start(self) -> None:
        """Listen; raises ConfigError where the address is taken, not ours to use, or not loopback."""
        if isinstance(self._address, UnixAddress):
            self._claim = claim(self._address.path)
            self._listen(f"unix:{self._address.path}")
            self._address.path.chmod(_SOCKET_MODE)
        else:
            _require_loopback(self._address)
            _require_free(self._address)
            self._listen(str(self._address))

    def _listen(self, target: str) -> None:
        # The file must never be wider open than its mode, not even until `chmod`.
        before = os.umask(0o117)
        try:
            self._front = NativeGrpcFront(
                target, [(METHOD, False)], io_threads=_IO_THREADS, call_details=True
            )
            self._front.start()
        except (OSError, RuntimeError, ValueError) as error:
            self.close()
            raise ConfigError(f"--listen {target}: {_words(error)}; free it or choose another") from None
        finally:
            os.umask(before)

    def take(self, most: int, timeout_ms: int) -> list[Arrival] | None:
        """Return waiting calls; see Front."""
        if self._front is None:
            return None
        events = self._front.recv_batch_details(most, timeout_ms)
        if events is None:
            return None
        return [
            Arrival(call_id, payload or b"", details[2] if details is not None else None)
            for kind, call_id, _, payload, _, details in events
            if kind == EVENT_CALL
        ]

    def respond(self, call_id: int, payload: bytes) -> bool:
        """Answer a call; see Front."""
        return self._front is not None and self._front.respond(call_id, payload)

    def fail(self, call_id: int, code: int, message: str) -> None:
        """End a call with a gRPC error; see Front."""
        if self._front is not None:
            self._front.fail(call_id, code, message)

    def close(self) -> None:
        """Stop listening and give the socket back. Safe to call again."""
        if self._front is not None:
            self._front.close()
        if self._claim is not None:
            self._claim.release()
            self._claim = None


def _require_loopback(address: TcpAddress) -> None:
    if not address.is_loopback:
        raise ConfigError(
            f"--listen {address}: the native front has no TLS and serves loopback only;"
            " use `unix:PATH` or 127.0.0.1"
        )


def _require_free(address: TcpAddress) -> None:
    """Ask the kernel first: the library writes lines of its own on standard error when it cannot bind."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            words = (error.strerror or "cannot be used").lower()
            raise ConfigError(f"--listen {address}: {words}; free the port or choose another") from None


def _words(error: Exception) -> str:
    return " ".join(str(error).lower().split()) or "cannot be used"
