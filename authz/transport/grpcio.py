"""The front for TLS, and the fallback for everything: the reference implementation, `grpcio`.

Its sync server keeps one thread busy with each call, from its headers to its answer. So a few threads carry
calls to the judging thread, a bounded number waits for them, and what does not fit is refused at once.

Loaded only where it serves: it costs memory and a tenth of a second.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from threading import Event, Lock, get_ident
from typing import Any, NoReturn

# The library writes a line of its own to standard error for each handshake that fails: whoever reaches the
# port could fill the log. Must be said before it is loaded.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
import grpc

from authz.config.rooms import MESSAGE_MAX_BYTES
from authz.model.address import TcpAddress, UnixAddress
from authz.record.facts import TlsFacts
from authz.transport import health
from authz.transport.desk import Desk, Unanswered
from authz.transport.front import METHOD, Arrival
from authz.transport.pool import Pool
from authz.transport.socket import SOCKET_MODE, Claim, claim, require_free, require_loopback, unusable
from authz.transport.tls import ServerTls

# Each costs switches between threads: 16 answer 9,000 empty calls a second on this design's 2-core test
# machines, 64 answer 7,000.
THREADS = 16

# Calls that wait for a thread: a tenth of a second's work, half of what Envoy waits by default.
WAITING_MAX = 1024

# How long a call may take to send its message, in looks of LOOK_S: a caller of ours has it ready before it
# asks. Looks, since a machine that paused is no reason to give up whoever was sending.
LOOK_S = 0.05
READ_MAX_LOOKS = 100
READ_CROWDED_LOOKS = 2  # while others wait for a thread: a thousand calls that send nothing hold it for 6 s

_WATCH_POLL_S = 0.2

_OPTIONS = (
    ("grpc.so_reuseport", 0),  # a port that is taken is an error, never shared
    # One of exactly our limit still reaches us, and is refused by an answer.
    ("grpc.max_receive_message_length", MESSAGE_MAX_BYTES + 64 * 1024),
    # SECURITY: the library measures a message before it unpacks it, not after. Packed ones reach us as they
    # are and are refused as undecodable; Envoy packs none.
    ("grpc.per_message_decompression", 0),
    ("grpc.max_concurrent_streams", 1024),  # of one connection, as on the native front
    ("grpc.max_allowed_incoming_connections", 512),  # Envoy opens one for each of its threads
    ("grpc.server_handshake_timeout_ms", 5_000),
    # Beyond 1,000 that it has not handed over yet the library refuses some by chance, beyond 3,000 all, with
    # an error of gRPC. We refuse with an answer, which takes a moment longer.
    ("grpc.server.max_pending_requests", 16_384),
    ("grpc.server.max_pending_requests_hard_limit", 32_768),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.absolute_max_metadata_size", 16 * 1024),
    ("grpc.keepalive_time_ms", 60_000),  # a peer that has vanished is forgotten in 80 s
    ("grpc.keepalive_timeout_ms", 20_000),
)
# SECURITY: certificates are looked at when a connection begins, so none may last for ever.
_TLS_OPTIONS = (
    ("grpc.max_connection_age_ms", 3_600_000),
    ("grpc.max_connection_age_grace_ms", 60_000),
)

_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


class GrpcioFront:
    """A front on a Unix socket or a TCP address.

    Args:
        serving: whether checks are judged by a policy set; what health is.
        overloaded: the answer to a call for which there is no room.
        tls: how TCP connections are secured; None for plain ones.
        threads: how many calls are read and carried at once.
        waiting_max: how many may wait for that.
    """

    def __init__(
        self,
        address: UnixAddress | TcpAddress,
        serving: health.Serving,
        overloaded: bytes,
        tls: ServerTls | None = None,
        *,
        threads: int = THREADS,
        waiting_max: int = WAITING_MAX,
    ) -> None:
        self._address = address
        self._tls = tls
        self._sizes = (threads, waiting_max)
        self._claim: Claim | None = None
        self._desk = Desk()
        self._calls: _Calls | None = None
        self._server: Any = None
        self._serving = serving
        self._overloaded = overloaded

    def tls_facts(self) -> TlsFacts:
        """Return what metrics say of certificates here; see Secured."""
        return self._tls.facts() if self._tls is not None else TlsFacts()

    def start(self) -> None:
        """Listen; raises ConfigError where the address is taken or not ours, or a certificate unusable."""
        if isinstance(self._address, UnixAddress):
            self._claim = claim(self._address.path)
        else:
            if self._tls is None:
                require_loopback(self._address)
            require_free(self._address)
        pool = Pool(*self._sizes)
        self._calls = _Calls(self._desk, pool, self._serving, self._overloaded, self._tls)
        # The file must never be wider open than its mode, not even until `chmod`.
        before = os.umask(0o117)
        try:
            options = _OPTIONS + (_TLS_OPTIONS if self._tls else ())
            self._server = grpc.server(pool, handlers=[_Methods(self._calls)], options=options)
            self._bind(self._server)
        except (OSError, RuntimeError, ValueError) as error:
            self.close()
            raise unusable(self._address, error) from None
        finally:
            os.umask(before)
        self._server.start()

    def _bind(self, server: Any) -> None:
        if self._tls is not None:
            server.add_secure_port(str(self._address), self._tls.credentials())
            return
        server.add_insecure_port(str(self._address))
        if isinstance(self._address, UnixAddress):
            self._address.path.chmod(SOCKET_MODE)

    def take(self, most: int, timeout_ms: int) -> list[Arrival] | None:
        """Return waiting calls; see Front. Those that were given up meanwhile are left out."""
        if self._calls is None:
            return None
        self._calls.hurry(time.monotonic())
        return self._desk.take(most, timeout_ms)

    def respond(self, call_id: int, payload: bytes) -> bool:
        """Answer a call; see Front."""
        return self._desk.answer(call_id, payload)

    def fail(self, call_id: int, code: int, message: str) -> None:
        """End a call with a gRPC error; see Front."""
        self._desk.end(call_id, code, message)

    def close(self) -> None:
        """Stop listening, drop what is pending, and give the socket back. Safe to call again."""
        if self._server is not None:
            self._server.stop(None)
        self._desk.close()
        if self._calls is not None:
            self._calls.close()
        if self._claim is not None:
            self._claim.release()
            self._claim = None


class _Calls:
    """What happens to a call on grpcio's threads."""

    def __init__(
        self, desk: Desk, pool: Pool, serving: health.Serving, overloaded: bytes, tls: ServerTls | None
    ) -> None:
        self._desk = desk
        self._pool = pool
        self._serving = serving
        self._overloaded = overloaded
        self._admits = tls.admits if tls is not None else None
        self._reading: dict[int, tuple[int, Any]] = {}  # thread -> since which look, and which call
        self._looks = 0
        self._next_look_s = 0.0
        self._watchers = 0
        self._lock = Lock()
        self._closed = Event()

    def check(self, messages: Iterator[bytes], context: Any) -> bytes:
        """Answer one check."""
        self._admit(context)
        if self._pool.shedding:
            self._desk.turn_away()
            return self._overloaded
        payload = self._read(messages, context)
        try:
            return self._desk.ask(payload, context)
        except Unanswered as ended:
            _abort(context, ended.code, str(ended))

    def health_check(self, messages: Iterator[bytes], context: Any) -> bytes:
        """Answer one question about health."""
        self._admit(context)
        try:
            return health.checked(self._read_health(messages, context), self._serving)
        except health.Fault as fault:
            _abort(context, fault.code, str(fault))

    def health_watch(self, messages: Iterator[bytes], context: Any) -> Iterator[bytes]:
        """Tell a watcher how we are, and again whenever it changes."""
        self._admit(context)
        try:
            known = health.known(self._read_health(messages, context))
        except health.Fault as fault:
            _abort(context, fault.code, str(fault))
        with self._lock:
            if self._watchers >= health.WATCHERS_MAX:
                _abort(context, health.RESOURCE_EXHAUSTED, "as many watch as may; ask with Check")
            self._watchers += 1
        try:
            with self._pool.lent():
                yield from self._tell(context, known=known)
        finally:
            with self._lock:
                self._watchers -= 1

    def _tell(self, context: Any, *, known: bool) -> Iterator[bytes]:
        last = b""
        while context.is_active():
            now = health.told(serving=self._serving()) if known else health.UNKNOWN
            if now != last:
                last = now
                yield now
            if self._closed.wait(_WATCH_POLL_S):
                return

    def _admit(self, context: Any) -> None:
        if self._admits is not None and not self._admits(context):
            # Not a refusal that Envoy shows its client: this is no question of ours, it is a stranger's. An
            # Envoy that lets errors through would not be ours either, and learns nothing from us.
            _abort(context, _PERMISSION_DENIED, "this certificate may not ask here")

    def _read_health(self, messages: Iterator[bytes], context: Any) -> bytes:
        if self._pool.shedding:
            _abort(context, health.RESOURCE_EXHAUSTED, "overloaded")
        return self._read(messages, context)

    def _read(self, messages: Iterator[bytes], context: Any) -> bytes:
        """Return the one message of a call; none at all is an empty one, which is refused like others."""
        thread = get_ident()
        self._reading[thread] = (self._looks, context)
        try:
            return next(messages, b"")
        finally:
            del self._reading[thread]

    def hurry(self, now_s: float) -> None:
        """Give up calls whose message does not come: each of them keeps a thread from the others."""
        if now_s < self._next_look_s:
            return
        self._next_look_s = now_s + LOOK_S
        self._looks += 1
        most = READ_CROWDED_LOOKS if self._pool.crowded else READ_MAX_LOOKS
        for since, context in list(self._reading.values()):
            if self._looks - since > most:
                context.cancel()

    def close(self) -> None:
        """Let every thread end."""
        self._closed.set()
        self._pool.shutdown()


_PERMISSION_DENIED = 7


def _abort(context: Any, code: int, words: str) -> NoReturn:
    context.abort(_CODES.get(code, grpc.StatusCode.UNKNOWN), words)
    raise AssertionError("abort raises")


class _Methods(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc has no types
    """Which method is answered by what.

    All are declared as streams of messages, of which we read one: so we are called before the message is
    there, and may answer without it. On the wire there is no difference.
    """

    def __init__(self, calls: _Calls) -> None:
        self._by_path = {
            METHOD: grpc.stream_unary_rpc_method_handler(calls.check),
            health.HEALTH_CHECK: grpc.stream_unary_rpc_method_handler(calls.health_check),
            health.HEALTH_WATCH: grpc.stream_stream_rpc_method_handler(calls.health_watch),
        }

    def service(self, handler_call_details: Any) -> Any:
        """Return what answers a method, or None."""
        return self._by_path.get(handler_call_details.method)
