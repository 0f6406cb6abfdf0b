"""Answered checks, as the judging thread hands them to the record room."""

from __future__ import annotations

from collections.abc import Mapping

from authz.model.decision import Allow, Answered, Deny, Grant, RuleName
from authz.model.identity import NOBODY, Caller, Identity, IdentityKind, Standing
from authz.model.limit import Rate, Spent, Store
from authz.model.reason import Detail, Reason
from authz.model.request import Client, Request, Unreadable

DECISION_ID = "0190f0f0-1234-7123-8123-123456789abc"
TIME_US = 1_767_225_600_123_456  # 2026-01-01T00:00:00.123456Z
CLIENT = Client("203.0.113.7", "203.0.113.7/32", 40_000, 4, 3_405_803_783)
ACME = Identity(
    kind=IdentityKind.API_KEY,
    provider="partner-keys",
    subject="k7Qm2VxP0aZs",
    key_id="k7Qm2VxP0aZs",
    customer="acme",
    namespace="example",
    scopes=("items:read",),
    labels={"tier": "gold"},
)
PROVEN = Caller(ACME, Standing.PROVEN)
GRANT = Grant((RuleName("items", "read"),), (), ())


def request(*, path: str = "/api/v1/items/5", headers: Mapping[str, bytes] | None = None) -> Request:
    """Return a canonical request."""
    return Request(
        method="GET",
        sent_method="GET",
        scheme="https",
        host="items.example.com",
        path=path,
        segments=tuple(path[1:].split("/")),
        query="",
        headers=headers or {},
        repeated=frozenset(),
        strays=(),
        client=CLIENT,
        principal="",
        upgrade=(),
        grpc=False,
        protocol="HTTP/1.1",
        size=0,
        time_us=TIME_US,
        request_id="3f0b8f6a-58d7-4e3c-9f5e-0a1b2c3d4e5f",
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        body=b"",
        context={},
    )


def spent(limit: str, *, passed: bool = True, retry_ms: int = 0) -> Spent:
    """Return what came of one limit in memory."""
    return Spent(limit, passed, 41, retry_ms, 3, Rate(100.0, 200.0), Store.MEMORY)


def answered(decision: Allow | Deny, asked: Request | Unreadable, caller: Caller, status: int) -> Answered:
    """Return a check with everything else as usual."""
    return Answered(DECISION_ID, TIME_US, asked, caller, decision, status, 25)


def allowed(asked: Request | None = None, caller: Caller = PROVEN) -> Answered:
    """Return an allowed check with identity, one rule and two limits."""
    allow = Allow(GRANT, (spent("per-key"), spent("per-customer")))
    return answered(allow, asked or request(), caller, 200)


def refused(reason: Reason = Reason.CREDENTIAL_MISSING, detail: Detail | None = None) -> Answered:
    """Return a refused check of nobody."""
    return answered(Deny(reason, detail), request(), NOBODY, 401)


def unreadable(asked: Unreadable) -> Answered:
    """Return a check that could not be read."""
    return answered(Deny(Reason.BAD_REQUEST, asked.detail), asked, NOBODY, 400)
