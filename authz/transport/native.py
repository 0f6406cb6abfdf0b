"""The default front: `pygrpc-native`, whose HTTP/2 runs outside the interpreter lock.

Its rules, as tried: Unix sockets and loopback only, no TLS; made in the process that serves; one queue, so
one judging thread; calls past their deadline still arrive; no limit on messages; a second bind on a socket
silently steals it; `close` fails what is pending.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from pygrpc_native import EVENT_CALL, STREAM_FULL, STREAM_SENT, NativeGrpcFront

from authz.model.address import TcpAddress, UnixAddress
from authz.transport import health
from authz.transport.front import METHOD, Arrival, traceparent_of
from authz.transport.socket import SOCKET_MODE, Claim, claim, require_free, require_loopback, unusable

# One thread moves 80,000 empty calls a second on this design's 2-core test machines: more than is judged.
_IO_THREADS = 1

_new = tuple.__new__  # what a NamedTuple's own constructor does: saves what looking for a trace costs
_NO_DETAILS = (None, "")

# Path, and whether it answers with a stream. Their numbers are the library's method ids.
_METHODS = ((METHOD, False), (health.HEALTH_CHECK, False), (health.HEALTH_WATCH, True))
_CHECK, _HEALTH_CHECK, _HEALTH_WATCH = range(3)


class NativeFront:
    """A front on a Unix socket or on loopback.

    Args:
        serving: whether checks are judged by a policy set; what health is.
    """

    def __init__(self, address: UnixAddress | TcpAddress, serving: health.Serving = lambda: False) -> None:
        self._address = address
        self._serving = serving
        self._watchers: dict[int, _Watcher] = {}
        self._claim: Claim | None = None
        self._front: NativeGrpcFront | None = None

    def start(self) -> None:
        """Listen; raises ConfigError where the address is taken, not ours to use, or not loopback."""
        if isinstance(self._address, UnixAddress):
            self._claim = claim(self._address.path)
            self._listen(f"unix:{self._address.path}")
            self._address.path.chmod(SOCKET_MODE)
        else:
            require_loopback(self._address)
            require_free(self._address)
            self._listen(str(self._address))

    def _listen(self, target: str) -> None:
        # The file must never be wider open than its mode, not even until `chmod`.
        before = os.umask(0o117)
        try:
            self._front = NativeGrpcFront(target, _METHODS, io_threads=_IO_THREADS, call_details=True)
            self._front.start()
        except (OSError, RuntimeError, ValueError) as error:
            self.close()
            raise unusable(self._address, error) from None
        finally:
            os.umask(before)

    def take(self, most: int, timeout_ms: int) -> list[Arrival] | None:
        """Return waiting calls; see Front."""
        if self._front is None:
            return None
        events = self._front.recv_batch_details(most, timeout_ms)
        if events is None:
            return None
        arrivals = [
            _new(
                Arrival,
                (
                    call_id,
                    payload or b"",
                    *((details[2], traceparent_of(details[0])) if details is not None else _NO_DETAILS),
                ),
            )
            for kind, call_id, method, payload, _, details in events
            if kind == EVENT_CALL and method == _CHECK
        ]
        if len(arrivals) < len(events):
            self._attend(events)
        if self._watchers:
            self._tell()
        return arrivals

    def _attend(self, events: Sequence[tuple[Any, ...]]) -> None:
        """See to what is no check: questions about health, and watchers that leave."""
        for kind, call_id, method, payload, *_ in events:
            if kind != EVENT_CALL:
                self._watchers.pop(call_id, None)
            elif method != _CHECK:
                try:
                    self._about_health(call_id, payload or b"", watch=method == _HEALTH_WATCH)
                except health.Fault as fault:
                    self.fail(call_id, fault.code, str(fault))

    def _about_health(self, call_id: int, question: bytes, *, watch: bool) -> None:
        if not watch:
            self.respond(call_id, health.checked(question, self._serving))
            return
        known = health.known(question)
        if len(self._watchers) >= health.WATCHERS_MAX:
            raise health.Fault(health.RESOURCE_EXHAUSTED, "as many watch as may; ask with Check")
        self._watchers[call_id] = _Watcher(known=known)

    def _tell(self) -> None:
        """Tell watchers what they have not been told yet; one that does not read is told later."""
        told = health.told(serving=self._serving())
        for call_id, watcher in list(self._watchers.items()):
            now = told if watcher.known else health.UNKNOWN
            if self._front is None or now == watcher.told:
                continue
            sent = self._front.stream_try_send(call_id, now)
            if sent == STREAM_SENT:
                watcher.told = now
            elif sent != STREAM_FULL:
                del self._watchers[call_id]

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


class _Watcher:
    """Somebody who watches our health."""

    __slots__ = ("known", "told")

    def __init__(self, *, known: bool) -> None:
        self.known = known
        self.told = b""
