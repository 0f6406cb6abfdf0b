"""One POST to one HTTP server: over a connection that is kept, all of it by a deadline, and judged.

SECURITY: nothing that a server says is repeated, but for the number of its answer: it has seen our token and
our records, and may give both back. No redirect is followed and no proxy is asked: either would take the
token, and records, where nobody said.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPMessage, HTTPResponse, IncompleteRead
from typing import NamedTuple

from authz.model.sink import SinkAddress
from authz.shipping.delivery import Refused, Unavailable
from authz.shipping.errand import Access
from authz.shipping.tls import client_context
from authz.shipping.wire import AnswerTooLong, Clock, Wire, connect

BODY_MAX_BYTES = 64 * 1024  # of an answer; of a longer one the rest is not read
RETRY_MAX_S = 60.0  # whatever a server says of when to come back

_DEFAULT_PORTS = {"http": 80, "https": 443, "otlp+http": 80, "otlp+https": 443}
_BUSY = frozenset({408, 425, 429})
_UNFIT = frozenset({400, 413, 415, 422})
_WORDS = {
    401: "look at `record_http_token`",
    403: "look at `record_http_token`, and at what it may do",
    404: "look at the path of the sink",
    405: "look at the path of the sink",
}
_TOKEN = re.compile(r"[\x21-\x7e]*")
_SECONDS = re.compile(r"[0-9]{1,9}")


class Reply(NamedTuple):
    """What a server answered."""

    status: int
    headers: HTTPMessage
    body: bytes


class Poster:
    """Posts to one place. One thread uses it.

    Args:
        target: path and query.
        clock: monotonic seconds.
        wall_s: seconds since 1970, for a `retry-after` that is a date.
    """

    def __init__(
        self,
        address: SinkAddress,
        access: Access,
        target: str,
        content_type: str,
        *,
        clock: Clock = time.monotonic,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        (self._host, self._port), *_ = address.servers
        self._where = f"{self._host}:{self._port}"
        self._tls = address.tls
        self._access = access
        self._head = _head(address, target, content_type)
        self._clock, self._wall_s = clock, wall_s
        self._wire: Wire | None = None

    def post(self, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Post; return the body of the answer, which was a yes.

        Args:
            body: packed with gzip.
            headers: ours: names and values as they may stand on a line.

        Raises:
            Unavailable: it did not take it, or nobody knows.
            Refused: it will not.
        """
        deadline_s = self._clock() + self._access.timeout_s
        question = self._question(body, headers)
        try:
            reply = self._asked_again(question, deadline_s)
        except BaseException:
            self.close()
            raise
        judge(reply, self._where, self._wall_s())
        return reply.body

    def close(self) -> None:
        """Let go of the connection; the next post makes another."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _question(self, body: bytes, headers: Mapping[str, str]) -> bytes:
        token = self._access.http_token.strip()
        if not _TOKEN.fullmatch(token):
            raise Unavailable("`record_http_token` holds what no header may; write printable ASCII")
        lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
        if token:
            lines.append(f"authorization: Bearer {token}\r\n")
        own = "".join(lines)
        return f"{self._head}{own}content-length: {len(body)}\r\n\r\n".encode("ascii") + body

    def _asked_again(self, question: bytes, deadline_s: float) -> Reply:
        """Ask; a kept connection that turns out to be dead is made anew, once."""
        wire = self._wire
        if wire is not None and wire.is_quiet():
            try:
                return self._ask(wire, question, deadline_s)
            except _Unheard:
                pass
        self.close()
        wire = self._connected(deadline_s)
        try:
            return self._ask(wire, question, deadline_s)
        except _Unheard as error:
            raise Unavailable(f"{self._where}: {error}") from None

    def _connected(self, deadline_s: float) -> Wire:
        context = client_context(self._access) if self._tls else None
        try:
            self._wire = connect(self._host, self._port, context, self._clock, deadline_s)
        except OSError as error:
            raise Unavailable(f"{self._where}: {words(error)}") from None
        return self._wire

    def _ask(self, wire: Wire, question: bytes, deadline_s: float) -> Reply:
        try:
            return self._exchange(wire, question, deadline_s)
        except TimeoutError:
            raise Unavailable(f"{self._where}: no whole answer in time") from None
        except AnswerTooLong:
            raise Unavailable(f"{self._where}: an answer without end") from None
        except (OSError, HTTPException, ValueError) as error:
            if not wire.heard:
                raise _Unheard(words(error)) from None
            raise Unavailable(f"{self._where}: what it answers is no HTTP, or ends too early") from None

    def _exchange(self, wire: Wire, question: bytes, deadline_s: float) -> Reply:
        wire.begin(deadline_s)
        wire.send(question)
        answer = HTTPResponse(wire, method="POST")  # type: ignore[arg-type]  # it asks for `makefile` alone
        try:
            answer.begin()
            if wire.hung_up:  # the library takes half a head for a whole one
                raise IncompleteRead(b"")
            body = answer.read(BODY_MAX_BYTES + 1) if answer.status >= 200 else b""
            if answer.length and len(body) <= BODY_MAX_BYTES:  # and half a body
                raise IncompleteRead(b"")
        finally:
            answer.close()
        keeps = not (answer.will_close or answer.length or wire.cut_short)
        if not keeps or answer.status < 200 or len(body) > BODY_MAX_BYTES:
            self.close()
        return Reply(answer.status, answer.headers, body[:BODY_MAX_BYTES])


class _Unheard(Exception):
    """A connection ended before it said anything."""


def judge(reply: Reply, where: str, wall_s: float) -> None:
    """Return where an answer is a yes.

    Raises:
        Unavailable, Refused: as the status says. What is a matter of settings is Unavailable, too: records
            wait until somebody mends them.
    """
    status = reply.status
    if 200 <= status < 300:
        return
    if status in _UNFIT:
        raise Refused(f"{where} answers {status}")
    if 300 <= status < 400:
        raise Unavailable(f"{where} answers {status}, which is not followed; name the place itself")
    busy = status in _BUSY or 500 <= status < 600
    retry_s = _retry_s(reply.headers.get("retry-after", ""), wall_s) if busy else 0.0
    hint = f"; {_WORDS[status]}" if status in _WORDS else ""
    raise Unavailable(f"{where} answers {status}{hint}", retry_s)


def words(error: Exception) -> str:
    """Return why a connection failed, in the system's words or ours."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not to be trusted ({error.verify_message[:120].lower()})"
    if isinstance(error, ssl.SSLError):
        return f"no TLS ({(error.reason or 'closed').lower()})"
    if isinstance(error, TimeoutError):
        return "does not answer in time"
    return (getattr(error, "strerror", None) or "hung up").lower()


def _retry_s(text: str, wall_s: float) -> float:
    """Read `retry-after`: seconds, or a date. Source: RFC 9110, 10.2.3."""
    if _SECONDS.fullmatch(text):
        return min(RETRY_MAX_S, float(text))
    try:
        return min(RETRY_MAX_S, max(0.0, parsedate_to_datetime(text).timestamp() - wall_s))
    except (ValueError, OverflowError, TypeError):
        return 0.0


def _head(address: SinkAddress, target: str, content_type: str) -> str:
    (host, port), *_ = address.servers
    shown = f"[{host}]" if ":" in host else host
    name = shown if port == _DEFAULT_PORTS.get(address.scheme) else f"{shown}:{port}"
    return (
        f"POST {target} HTTP/1.1\r\nhost: {name}\r\nuser-agent: authz\r\naccept-encoding: identity\r\n"
        f"content-type: {content_type}\r\ncontent-encoding: gzip\r\n"
    )
