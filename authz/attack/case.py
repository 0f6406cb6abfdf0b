"""The nouns of the suite: what is sent, over which wire, what must come of it, and what did.

A case is data. It says what is sent (an `Input`), which outcome holds (an `Expect`), in one sentence why, and
which advisory it comes from where there is one. Who sends it is in `doors.py`, who judges it in `verdict.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

Pair = tuple[bytes, bytes]


class Wire(Enum):
    """How a request travels."""

    HTTP1 = "HTTP/1.1"
    HTTP2 = "HTTP/2"
    RAW = "Check, raw headers"  # Envoy's `encode_raw_headers: true`
    JOINED = "Check, joined headers"
    FRAMES = "gRPC frames"


HTTP = frozenset({Wire.HTTP1, Wire.HTTP2})
CHECKS = frozenset({Wire.RAW, Wire.JOINED})


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that every wire can carry, spelled as it stands.

    Args:
        path: the request target, query included.
        host: None for the target's own.
        headers: names and values in order; a name may stand several times.
    """

    path: bytes
    method: bytes = b"GET"
    host: bytes | None = None
    headers: tuple[Pair, ...] = ()
    scheme: bytes = b"http"
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Raw:
    """The bytes of one connection of HTTP/1.1, whatever they are."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Fields:
    """A header list of HTTP/2, pseudo headers included, in this order."""

    pairs: tuple[Pair, ...]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Message:
    """The bytes of a CheckRequest, or whatever is sent as one in a well-formed gRPC call."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Frames:
    """gRPC as nobody should speak it.

    Args:
        data: what follows the headers of each stream; gRPC's own five bytes of length are part of it.
        headers: besides the usual ones of a call.
        streams: how many are opened, one after the other on one connection.
        reset: each stream is reset as soon as it was sent.
        end: each stream is ended; else its other half stays open.
        opening: sent instead of everything else.
    """

    data: bytes = b""
    headers: tuple[Pair, ...] = ()
    streams: int = 1
    reset: bool = False
    end: bool = True
    opening: bytes = b""


Input = Ask | Raw | Fields | Message | Frames


class Expect(Enum):
    """What holds."""

    REFUSED = "refused"  # nothing of it reaches the upstream
    SHIELDED = "not protected under any reading"  # or refused
    CLEAN = "without what the client forged or presented"  # what reaches the upstream; or refused
    ALIKE = "refused, and all alike"  # several inputs, one answer, ids apart
    AGREED = "the same decision for each"  # several inputs; allowed or refused, but each the same
    ANSWERED = "answered in time"  # either way
    UNPASSED = "not allowed, and the server lives"  # an error will do
    AT_MOST = "allowed no more often than the limit says"  # several inputs


class Need(Enum):
    """What a case needs of the target."""

    KEY = "a good credential (--key)"
    ECHO = "an upstream that tells what it saw (--echo), or --check"
    OPEN = "a path that needs no credential (--open)"


@dataclass(frozen=True, slots=True)
class Case:
    """One attack.

    Args:
        name: unique within its group.
        group: the class of attack, as `--class` names it.
        why: one sentence: what goes wrong where this gets through.
        advisory: a CVE, GHSA or other public record of somebody for whom it did; "" where none is known.
        wires: the wires that it makes sense on; empty for every wire that can carry its inputs.
        forbidden: for CLEAN, what must not be found in anything that the upstream sees.
        required: for CLEAN, names of headers that the upstream must get.
        grave: whether something got through if it does not hold; else it is a matter of strictness.
        most: for AT_MOST, how many may pass.
    """

    name: str
    group: str
    inputs: tuple[Input, ...]
    expect: Expect
    why: str
    advisory: str = ""
    wires: frozenset[Wire] = frozenset()
    needs: frozenset[Need] = frozenset()
    forbidden: tuple[bytes, ...] = ()
    required: tuple[bytes, ...] = ()
    grave: bool = True
    most: int = 0

    def fits(self, wire: Wire) -> bool:
        """Whether a wire can carry every input, and the case makes sense on it."""
        return (not self.wires or wire in self.wires) and all(wire in _carriers(each) for each in self.inputs)


def _carriers(given: Input) -> frozenset[Wire]:
    match given:
        case Ask():
            return HTTP | CHECKS
        case Raw():
            return frozenset({Wire.HTTP1})
        case Fields():
            return frozenset({Wire.HTTP2})
        case Message():
            return frozenset({Wire.RAW})
        case Frames():
            return frozenset({Wire.FRAMES})


@dataclass(frozen=True, slots=True)
class Seen:
    """What the upstream got, or would get by the answer to a check."""

    path: bytes
    headers: tuple[Pair, ...] = ()
    method: bytes = b""

    def everything(self) -> bytes:
        """Return all of it as one text, to look for what must not be there."""
        lines = [self.method + b" " + self.path, *(name + b": " + value for name, value in self.headers)]
        return b"\n".join(lines)


class Verdict(Enum):
    """What a target made of one input."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    FAILED = "an error instead of an answer"  # what then happens is up to `failure_mode_allow`
    SILENT = "no answer in time"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one input.

    Args:
        status: of HTTP; 0 where the connection was closed without one.
        note: what a reader of the report should know; one line.
        seen: what reached the upstream; empty where that is not known, or nothing did.
    """

    verdict: Verdict
    status: int = 0
    note: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    seen: tuple[Seen, ...] = ()


class Severity(Enum):
    """How bad it is that a case does not hold."""

    HIGH = "high"  # something got through, or the server is dead
    LOW = "low"  # refused, but not explicitly, not in time, not alike


@dataclass(frozen=True, slots=True)
class Broken:
    """Why a case does not hold."""

    severity: Severity
    what: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """Why a case was not tried."""

    what: str


@dataclass(frozen=True, slots=True)
class Held:
    """The case holds."""

    what: str = ""


Outcome = Held | Broken | Skipped


@dataclass(frozen=True, slots=True)
class Result:
    """One case on one wire."""

    case: Case
    wire: Wire | None
    outcome: Outcome
    answers: tuple[Answer, ...] = field(default=())
