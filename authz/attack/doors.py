"""Who tries: one door for each wire. A door takes an input and returns what the target made of it.

What goes wrong on the way is an answer too: silence, a closed connection, an error instead of a reply.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Protocol

import grpc

from authz.attack import http1
from authz.attack.case import Answer, Ask, Fields, Input, Message, Raw, Seen, Verdict
from authz.attack.dial import Dial
from authz.attack.http1 import Reply
from authz.attack.message import METHOD, check_request, read_answer
from authz.attack.verdict import printable
from authz.model.address import Address

# A proxy says 501 and 505 by itself about what it cannot speak. Other 5xx mean that somebody failed: refused
# by accident, or allowed and then lost behind the proxy.
_OWN_ERRORS = frozenset({501, 505})

_UNREADABLE = Answer(Verdict.FAILED, note="the answer cannot be read")


class Door(Protocol):
    """One way into a target."""

    def send(self, given: Input) -> Answer:
        """Send one input; never raises for anything that the target does."""
        ...


class Http1Door:
    """Through Envoy, over HTTP/1.1.

    Args:
        echo: the upstream answers with what it saw, as JSON.
    """

    def __init__(self, dial: Dial, host: bytes, *, echo: bool) -> None:
        self._dial = dial
        self._host = host
        self._echo = echo

    def send(self, given: Input) -> Answer:
        """Send the bytes of a request, or any bytes at all."""
        data = given.data if isinstance(given, Raw) else _spoken(given, self._host)
        return _exchanged(lambda: http1.send(self._dial, data), echo=self._echo)


def _spoken(given: Input, host: bytes) -> bytes:
    if isinstance(given, Ask):
        return http1.request_bytes(given, host)
    raise TypeError(f"HTTP/1.1 cannot carry {type(given).__name__}")


class Http2Door:
    """Through Envoy, over HTTP/2."""

    def __init__(self, dial: Dial, host: bytes, *, echo: bool) -> None:
        from authz.attack import http2  # needs the optional library

        self._send = http2.send
        self._dial = dial
        self._host = host
        self._echo = echo

    def send(self, given: Input) -> Answer:
        """Send a request, or any header list at all."""
        if isinstance(given, Fields):
            pairs, body = given.pairs, given.body
        elif isinstance(given, Ask):
            pairs, body = http1.pairs_of(given, self._host), given.body
        else:
            raise TypeError(f"HTTP/2 cannot carry {type(given).__name__}")
        return _exchanged(lambda: [self._send(self._dial, pairs, body)], echo=self._echo)


def _exchanged(exchange: Callable[[], Iterable[Reply]], *, echo: bool) -> Answer:
    """Send and judge what comes back, whatever becomes of the connection."""
    try:
        replies = exchange()
    except TimeoutError:
        return Answer(Verdict.SILENT)
    except OSError as error:
        return Answer(Verdict.FAILED, note=_words(error))
    except ValueError:
        return _UNREADABLE
    return told(replies, echo=echo)


def told(replies: Iterable[Reply], *, echo: bool) -> Answer:
    """Judge the answers on one connection: it was allowed if any of them came from the upstream."""
    final = [reply for reply in replies if not 100 <= reply.status < 200 or reply.status == 101]
    if not final:
        return Answer(Verdict.REFUSED, note="the connection was closed")
    passed = [reply for reply in final if allows(reply)]
    reply = passed[0] if passed else final[0]
    seen = tuple(found for each in passed if (found := echoed(each.body)) is not None) if echo else ()
    return Answer(_verdict(reply), reply.status, _note(reply), reply.headers, reply.body, seen)


def allows(reply: Reply) -> bool:
    """Whether an answer came from behind the authorization: a success that is no refusal of gRPC."""
    if reply.status == 101:
        return True
    return 200 <= reply.status < 300 and reply.header("grpc-status") in ("", "0")


def _verdict(reply: Reply) -> Verdict:
    if allows(reply):
        return Verdict.ALLOWED
    failed = reply.status >= 500 and reply.status not in _OWN_ERRORS
    return Verdict.FAILED if failed else Verdict.REFUSED


def _note(reply: Reply) -> str:
    code = reply.header("grpc-status")
    return f"status {reply.status}, grpc-status {printable(code)[:20]}" if code else f"status {reply.status}"


def echoed(body: bytes) -> Seen | None:
    """Return what an upstream says that it saw, or None where it does not say so.

    The form: a JSON object with `method`, `path`, and `headers` as a list of pairs.
    """
    try:
        told_ = json.loads(body)
        headers = tuple((_bytes(name).lower(), _bytes(value)) for name, value in told_["headers"])
        return Seen(_bytes(told_["path"]), headers, _bytes(told_["method"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _bytes(text: str) -> bytes:
    return text.encode("latin-1", "replace")


class CheckDoor:
    """Straight to an ext_authz server, by gRPC, as Envoy would ask.

    Args:
        raw: with `encode_raw_headers: true`; else with the older joined map.
    """

    def __init__(self, address: Address, host: bytes, timeout_s: float, *, raw: bool) -> None:
        options = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", 64 << 20),
            ("grpc.enable_http_proxy", 0),  # SECURITY: to the target and to nobody else
        ]
        self._channel = grpc.insecure_channel(str(address), options=options)
        self._call = self._channel.unary_unary(METHOD, request_serializer=None, response_deserializer=None)
        self._host = host
        self._timeout_s = timeout_s
        self._raw = raw

    def __enter__(self) -> CheckDoor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def send(self, given: Input) -> Answer:
        """Ask about a request, or send any message at all."""
        if isinstance(given, Message):
            payload, ask = given.payload, None
        elif isinstance(given, Ask):
            payload, ask = check_request(given, self._host, raw=self._raw), given
        else:
            raise TypeError(f"a check cannot carry {type(given).__name__}")
        try:
            reply = self._call(payload, timeout=self._timeout_s)
        except grpc.RpcError as error:
            return _failed(error)
        return read_answer(reply, ask, self._host)


def _failed(error: grpc.RpcError) -> Answer:
    code = error.code()
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Answer(Verdict.SILENT)
    return Answer(Verdict.FAILED, note=f"gRPC error {code.name}: {printable(str(error.details()))[:120]}")


def _words(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).lower()
