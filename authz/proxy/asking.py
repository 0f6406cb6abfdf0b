"""Requests through a proxy that somebody else runs, and whether the answers are those that were expected.

For tests of an installation: it may be starting, so whoever is not there yet is asked again for a while.
"""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from authz.model.address import TcpAddress
from authz.model.errors import ConfigError

STARTING = frozenset({502, 503, 504})
"""What a proxy answers for those behind it that are not there yet."""

_ANSWER_S = 10.0  # what one answer may take
_PAUSE_S = 0.25  # between two tries
_BODY_MAX_BYTES = 64 * 1024  # nobody looks at it, but a kept-open answer must not be read for ever
_METHOD = re.compile(r"[A-Za-z!#$%&'*+.^_`|~-]{1,32}")  # RFC 9110, section 5.6.2, without digits
_TARGET = re.compile(r"/[\x21-\x7e]*")
_REASON = re.compile(r"[a-z_]{1,64}")


@dataclass(frozen=True, slots=True)
class Expected:
    """A request, and the answer that it should get.

    Args:
        reason: what `x-authz-reason` should say; "" where anything may, and nothing.
    """

    status: int
    method: str
    target: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came.

    Args:
        reason: of a refusal of the sidecar's; "" where it was not the sidecar that answered.
    """

    status: int
    reason: str = ""

    def is_as(self, expected: Expected) -> bool:
        """Whether it is the answer that was expected."""
        return self.status == expected.status and expected.reason in ("", self.reason)


@dataclass(frozen=True, slots=True)
class Silence:
    """No answer came.

    Args:
        why: in the system's words.
    """

    why: str


Send = Callable[[Expected], Answer | Silence]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long whoever is starting is waited for.

    Args:
        until_s: on the clock's scale.
        clock: seconds, only ever growing.
        pause: waits for so many seconds.
    """

    until_s: float
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def is_left(self) -> bool:
        """Whether there is time for another try; waits for a moment where there is."""
        if self.clock() >= self.until_s:
            return False
        self.pause(_PAUSE_S)
        return True


def expected(text: str) -> Expected:
    """Read `STATUS METHOD PATH [REASON]`.

    Raises:
        ConfigError: it is nothing of the kind.
    """
    words = text.split(" ")
    if len(words) not in (3, 4) or not _is_status(words[0]) or not _is_request(words[1], words[2]):
        raise ConfigError(f"`{text}` is no expectation; write for example `200 GET /public`")
    if len(words) == 4 and not _REASON.fullmatch(words[3]):
        raise ConfigError(f"`{words[3]}` is no reason; docs/reasons.md lists what `x-authz-reason` may say")
    return Expected(int(words[0]), words[1], words[2], *words[3:])


def ask(wanted: Expected, send: Send, patience: Patience) -> Answer | Silence:
    """Return the answer to a request; whoever seems to be starting is asked again until patience ends."""
    while True:
        answer = send(wanted)
        settled = isinstance(answer, Answer) and (answer.status not in STARTING or answer.is_as(wanted))
        if settled or not patience.is_left():
            return answer


def sender(at: TcpAddress, host: str, headers: Sequence[tuple[str, str]]) -> Send:
    """Return what sends requests to one address, over a new connection each."""

    def send(wanted: Expected) -> Answer | Silence:
        connection = http.client.HTTPConnection(at.host, at.port, timeout=_ANSWER_S)
        try:
            connection.putrequest(wanted.method, wanted.target, skip_host=True, skip_accept_encoding=True)
            for name, value in (("host", host), *headers, ("connection", "close")):
                connection.putheader(name, value)
            connection.endheaders()
            reply = connection.getresponse()
            reply.read(_BODY_MAX_BYTES)
            return Answer(reply.status, _reason(reply.headers.get("x-authz-reason", "")))
        except OSError as error:
            return Silence((error.strerror or str(error) or "no answer").lower())
        except http.client.HTTPException:
            return Silence("what came is no answer of HTTP")
        finally:
            connection.close()

    return send


def _is_status(word: str) -> bool:
    return len(word) == 3 and word.isascii() and word.isdigit() and 100 <= int(word) <= 599


def _is_request(method: str, target: str) -> bool:
    return bool(_METHOD.fullmatch(method) and _TARGET.fullmatch(target))


def _reason(text: str) -> str:
    """Return a reason fit to be printed; whatever else stands in the header is none of ours."""
    return text if _REASON.fullmatch(text) else ""
