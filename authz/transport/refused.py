"""Checks that are refused without being judged, or in spite of it."""

from __future__ import annotations

from authz.check import Call, Check
from authz.model.decision import Allow, Deny
from authz.model.reason import Detail, Reason
from authz.model.trace import Steps

LATE = Deny(Reason.OVERLOADED, Detail.DEADLINE)
BACKLOG = Deny(Reason.OVERLOADED, Detail.BACKLOG)
UNRECORDED = Deny(Reason.OVERLOADED, Detail.UNRECORDED)
CRASHED = Deny(Reason.INTERNAL_ERROR)


def refused(call: Call, deny: Deny, crash: BaseException | None = None, trace: Steps | None = None) -> Check:
    """Refuse a call of which nothing is known but what arrived, and how far it had come if it is traced."""
    check = Check(call)
    check.decision = deny
    check.crash = crash
    check.trace = trace.so_far() if trace is not None else None  # who broke may still hold the other
    return check


def refused_like(check: Check, deny: Deny) -> Check:
    """Refuse in place of a check that somebody else may still change."""
    fresh = refused(check.call, deny, trace=check.trace)
    fresh.request, fresh.caller = check.request, check.caller
    fresh.view, fresh.named = check.view, check.named
    return fresh


def take_back(check: Check) -> None:
    """SECURITY: nobody is allowed after the deadline. What was spent is spent, and the record says so."""
    decision = check.decision
    if isinstance(decision, Allow):
        check.decision = LATE._replace(spent=decision.spent)
