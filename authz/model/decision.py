"""What is decided. There is no default: a decision is an Allow or a Deny, and somebody built it."""

from __future__ import annotations

from typing import NamedTuple

from authz.model.identity import Caller
from authz.model.limit import Spend, Spent
from authz.model.reason import Detail, Reason
from authz.model.request import Request, Unreadable
from authz.model.shadow import Shade
from authz.model.trace import Steps


class RuleName(NamedTuple):
    """A rule, by the names in its document."""

    policy: str
    rule: str


class Grant(NamedTuple):
    """What the allowing rules ask for, known before any token is spent."""

    rules: tuple[RuleName, ...]  # sorted, never empty; the record names the first
    headers: tuple[tuple[str, str], ...]  # for the upstream, from onAllow; no empty values
    spends: tuple[Spend, ...]
    lasting: bool = False  # follows from the identity alone, so its answer is worth keeping
    spenders: tuple[RuleName, ...] = ()  # of each spend the first rule, by name, that asks for it


class Allow(NamedTuple):
    """Yes: with these headers, having spent these tokens."""

    grant: Grant
    spent: tuple[Spent, ...] = ()


class Deny(NamedTuple):
    """No, and why."""

    reason: Reason
    detail: Detail | None = None
    # The deny rule, where one decided; where a limit refused, the allow rule that spends it.
    rule: RuleName | None = None
    spent: tuple[Spent, ...] = ()  # state of the buckets, where a limit refused; nothing was charged
    retry_ms: int = 0  # of a guard: until it lets the next request through
    override: bool = False  # the rule stands in the overrides


Decision = Allow | Deny


class Answered(NamedTuple):
    """One check, answered: everything that its record and its metrics are made from."""

    decision_id: str  # UUIDv7
    time_us: int  # wall clock when it was judged, microseconds since 1970
    request: Request | Unreadable
    caller: Caller
    decision: Decision
    status: int  # HTTP status that the client sees; 302 for a redirect; 200 for an allow
    duration_us: int  # from taking the call to handing over the reply
    checks: int = 1  # how many were refused alike, unread, by one decision: see `shield.py`
    shadow: tuple[Shade, ...] = ()  # what documents in shadow would have said
    trace: Steps | None = None  # its span, where it is traced
