"""One check, from the bytes that Envoy sent to the bytes that it gets back: the page to read first.

    read -> guard -> candidates -> resolve -> overrides -> evaluate -> spend -> reply
    ... and when the reply has left: shadow

This is the only file that knows the order of the rooms. It decides nothing itself, reads no clock and
writes nothing; whoever calls it brings the time and takes the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, assert_never

from authz.identity.removal import strip
from authz.identity.resolve import resolve
from authz.limits.guard import Guard
from authz.limits.store import Spender
from authz.model.decision import Allow, Decision, Deny, Grant
from authz.model.identity import NOBODY, Caller
from authz.model.limit import Spend, Spent
from authz.model.reason import Detail, Reason
from authz.model.request import Request, Unreadable
from authz.model.shadow import Review
from authz.model.site import Site
from authz.model.trace import Steps
from authz.policy.evaluate import evaluate
from authz.policy.index import HostView
from authz.policy.rule import Candidate
from authz.policy.shadow import Judged
from authz.record.tracing import Tracer
from authz.request.host import canonical_host
from authz.request.read import read
from authz.response import message
from authz.response.refusal import Refuser
from authz.snapshot.snapshot import Snapshot

_NO_PROVIDERS: frozenset[str] = frozenset()
_UNREAD = Unreadable(Detail.UNDECODABLE)
_UNDECIDED = Deny(Reason.INTERNAL_ERROR)


class Call(NamedTuple):
    """One call, as the transport took it."""

    id: int
    payload: bytes  # a CheckRequest, or whatever was sent as one
    traceparent: str = ""  # of the call itself: our Envoy's own span

    def __repr__(self) -> str:  # SECURITY: credentials are in it
        return f"Call(id={self.id}, payload={len(self.payload)} bytes)"


class Check:
    """One call on its way through the rooms. It begins refused, and only `decide` changes that."""

    __slots__ = ("call", "caller", "crash", "decision", "grant", "named", "request", "trace", "view")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.request: Request | Unreadable = _UNREAD
        self.view: HostView | None = None
        self.named = _NO_PROVIDERS  # providers that candidate allow rules name
        self.caller: Caller = NOBODY
        self.grant: Grant | None = None  # what would be allowed, while its tokens are not spent
        self.decision: Decision = _UNDECIDED
        self.crash: BaseException | None = None  # what it was refused for, where a room broke
        self.trace: Steps | None = None  # nearly never: only where its caller keeps the trace, and so do we

    @property
    def spends(self) -> tuple[Spend, ...]:
        """The tokens that it waits for; empty once it is settled."""
        return self.grant.spends if self.grant is not None else ()

    def settle(self, spent: tuple[Spent, ...]) -> None:
        """Take what came of spending: allowed only if there is a result for each bucket and all passed."""
        if self.trace is not None:
            self.trace.step("spent")
        grant = self.grant
        if grant is None or len(spent) != len(grant.spends):
            self.decision = _UNDECIDED
            return
        for bucket in spent:
            if not bucket.passed:
                self.decision = _limited(grant, spent)
                return
        self.decision = Allow(grant, spent)


def _limited(grant: Grant, spent: tuple[Spent, ...]) -> Deny:
    """Refuse for the buckets that did not pass: for want of their store, else for want of room."""
    unanswered = any(bucket.failed for bucket in spent)
    refusing = [bucket.failed if unanswered else not bucket.passed for bucket in spent]
    rule = min(
        (rule for rule, refuses in zip(grant.spenders, refusing, strict=False) if refuses), default=None
    )
    if unanswered:
        return Deny(Reason.STORE_UNAVAILABLE, rule=rule, spent=spent)
    hopeless = any(bucket.retry_ms < 0 for bucket in spent)
    return Deny(Reason.RATE_LIMITED, Detail.COST_EXCEEDS_BURST if hopeless else None, rule, spent)


Finish = Callable[[Sequence[Check]], None]


def answer(
    batch: Sequence[Call],
    snapshot: Snapshot,
    limiter: Spender,
    guard: Guard,
    finish: Finish,
    now_us: int,
    tracer: Tracer | None = None,
) -> None:
    """Judge every call of a batch and hand each to `finish` once: at once, or when its tokens are spent.

    Args:
        batch: all calls that were waiting.
        finish: replies first, then keeps the record.
        now_us: wall clock, microseconds since 1970.
        tracer: brings the clock for the steps of sampled checks; None: none is traced.
    """
    checks = [judge(call, snapshot, guard, now_us, tracer) for call in batch]
    spending = [check for check in checks if check.grant is not None]
    if len(spending) < len(checks):
        finish([check for check in checks if check.grant is None])
    if spending:
        limiter.spend(spending, finish)


def judge(call: Call, snapshot: Snapshot, guard: Guard, now_us: int, tracer: Tracer | None = None) -> Check:
    """Read one call and decide everything about it but its tokens."""
    check = Check(call)
    check.request = request = read(call.payload, snapshot.reading, call.traceparent)
    if tracer is not None and request.sampled:
        check.trace = tracer.begin(call.id, request)
    if not snapshot.ready:
        check.decision = Deny(Reason.NOT_READY)
    elif snapshot.sites.guarded:
        _decide_guarded(check, request, snapshot, guard, now_us)
    else:
        _decide(check, request, snapshot, now_us)
    return check


def _decide_guarded(
    check: Check, request: Request | Unreadable, snapshot: Snapshot, guard: Guard, now_us: int
) -> None:
    """Ask the guard before anybody looks at credentials, and tell it what came of the rest.

    It is told at once, so that of a batch of faults no more pass than the burst.
    """
    site = _site(request, snapshot)
    wait_ms = guard.wait_ms(site, request.client) if isinstance(request, Request) else 0
    if check.trace is not None:
        check.trace.step("guard")
    if wait_ms != 0:  # SECURITY: nothing said is no "go on"
        check.decision = Deny(Reason.GUARDED, retry_ms=wait_ms)
        return
    _decide(check, request, snapshot, now_us)
    guard.charge(site, request.client, check.decision)


def _decide(check: Check, request: Request | Unreadable, snapshot: Snapshot, now_us: int) -> None:
    """Where a Site keeps two readings of a path, the structural one must be allowed first."""
    if isinstance(request, Unreadable):
        check.decision = Deny(Reason.BAD_REQUEST, request.detail)
        return
    if snapshot.closed is not None and snapshot.closed.of(request.host):
        # SECURITY: a scope of this host was never good, and what is good elsewhere may allow what it denies.
        check.decision = Deny(Reason.NOT_READY)
        return
    check.view = view = snapshot.index.view(request.host)
    if request.structural:
        verdict = _structurally(check, request, view, snapshot, now_us)
        if not isinstance(verdict, Grant):
            check.decision = verdict
            return
    verdict = _permit(check, request, view, snapshot, now_us)
    if not isinstance(verdict, Grant):
        check.decision = verdict
    elif verdict.spends:
        check.grant = verdict
    else:
        check.decision = Allow(verdict)


def _permit(check: Check, request: Request, view: HostView, snapshot: Snapshot, now_us: int) -> Grant | Deny:
    trace = check.trace
    candidates = snapshot.index.candidates(view, request)
    if trace is not None:
        trace.step("candidates")
    check.named = named = _named(candidates)
    check.caller = caller = resolve(request, snapshot.access(named).plan, snapshot.keyring, now_us)
    if trace is not None:
        trace.step("resolved")
    if snapshot.overrides is not None:
        refusal = snapshot.overrides.refusal(request, caller.identity)
        if trace is not None:
            trace.step("overrides")
        if refusal is not None:
            return refusal
    verdict = evaluate(candidates, request, caller, snapshot.memos)
    if trace is not None:
        trace.step("judged")
    return verdict


def _structurally(
    check: Check, request: Request, view: HostView, snapshot: Snapshot, now_us: int
) -> Grant | Deny:
    """Judge the other reading of a path; in a trace its steps bear a name of their own."""
    trace = check.trace
    if trace is not None:
        trace.reading("structural_")
    verdict = _permit(check, _structural(request), view, snapshot, now_us)
    if trace is not None:
        trace.reading("")
    return verdict


def _named(candidates: Sequence[Candidate]) -> frozenset[str]:
    """Return the providers whose credentials are looked for: those that candidate allow rules name."""
    named = _NO_PROVIDERS
    for candidate in candidates:
        rule = candidate.rule
        if rule.allow and rule.providers is not named:
            named = named | rule.providers if named else rule.providers
    return named


def _structural(request: Request) -> Request:
    """Return a request as the other reading of its path has it."""
    path = request.structural
    return request._replace(path=path, segments=tuple(path[1:].split("/")) if path != "/" else ())


class Reply(NamedTuple):
    """What goes back for one check."""

    status: int  # what the client sees; 200 for an allow
    payload: bytes  # a CheckResponse, never empty

    def __repr__(self) -> str:  # SECURITY: an allow gives the upstream its other cookies
        return f"Reply(status={self.status}, payload={len(self.payload)} bytes)"


def reply(check: Check, snapshot: Snapshot, refuser: Refuser, decision_id: str) -> Reply:
    """Build the answer to a decided check."""
    request, decision = check.request, check.decision
    match decision:
        case Allow() if isinstance(request, Request) and check.view is not None:
            payload = _allow(decision, request, check.caller, check.view, snapshot)
            if refuser.on_allow and decision.spent:
                payload += refuser.passed(decision.spent)
            answer = Reply(200, payload)
        case Allow():
            raise TypeError("an allow without a canonical request")
        case Deny():
            access = snapshot.access(check.named)
            site = _site(request, snapshot)
            refused = refuser.refuse(
                decision, request, site, decision_id, access.challenge, access.parameters
            )
            answer = Reply(refused.status, refused.body)
        case _:
            assert_never(decision)
    if not answer.payload:
        raise ValueError("an empty CheckResponse would let the request pass")
    return answer


def _site(request: Request | Unreadable, snapshot: Snapshot) -> Site:
    """Of what was not read the host is as sent: an odd spelling selects no other Site, no host `"*"`."""
    host = request.host if isinstance(request, Request) else canonical_host(request.host)
    return snapshot.site(host)


def _allow(allow: Allow, request: Request, caller: Caller, view: HostView, snapshot: Snapshot) -> bytes:
    """Our headers in; every credential of this host and every copy of our headers out."""
    stripped = strip(snapshot.access(view.providers).removal, request, caller)
    headers = allow.grant.headers
    own = allow.grant.lasting or not headers
    if not own or request.strays or stripped.set_headers or stripped.query:
        # Not kept for the next caller: these parts are the client's, and would fill the cache at its will.
        return message.allow(
            headers + stripped.set_headers, stripped.headers + request.strays, stripped.query
        )
    return message.cached_allow(headers, stripped.headers)


def review(check: Check, snapshot: Snapshot) -> Review | None:
    """Ask the documents in shadow about a check whose reply has left; changes nothing and spends nothing."""
    request, shadow = check.request, snapshot.shadow
    if shadow is None or check.view is None or not isinstance(request, Request):
        return None
    view = check.view
    readings = (request, _structural(request)) if request.structural else (request,)

    def enforced() -> list[Candidate]:
        return snapshot.index.candidates(view, request)

    return shadow.review(Judged(readings, check.caller, check.decision, check.named, enforced))
