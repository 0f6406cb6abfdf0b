"""Answers that no request can get: what a PolicyTest must not expect, since it could never pass."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

from authz.model.reason import Detail, Reason, status_of
from authz.policy.kind_test import TestExpect
from authz.policy.prose import Flaw
from authz.policy.source import Path

# Tests find every bucket full, no network guarded, any host served, and nothing out of order.
_NEVER = {
    Reason.GUARDED: "tests know no guard",
    Reason.STORE_UNAVAILABLE: "tests spend nothing",
    Reason.OVERLOADED: "tests have all the time they need",
    Reason.NOT_READY: "tests run in a whole set",
    Reason.INTERNAL_ERROR: "it is always a bug of ours",
}
_REFUSALS = [reason for reason in Reason if reason is not Reason.ALLOWED and reason not in _NEVER]
_DETAILS = [detail for detail in Detail if detail is not Detail.HOST_NOT_SERVED]
_REDIRECT = int(HTTPStatus.FOUND)  # by `onDeny` of a Site, whatever was refused, if it could be read


def flaws_of_expectation(expect: TestExpect, at: Path) -> Iterator[Flaw]:
    """Yield what contradicts itself in one `expect`, whose path is `at`."""
    if expect.outcome == "allow":
        yield from _of_allow(expect, at)
    else:
        yield from _of_deny(expect, at)


def _of_allow(expect: TestExpect, at: Path) -> Iterator[Flaw]:
    if expect.reason not in (None, Reason.ALLOWED):
        yield _contradiction(at, "reason", "an allow has the reason `allowed`: remove it, or expect `deny`")
    if expect.detail is not None:
        yield _contradiction(at, "detail", "only a refusal has a detail: remove it, or expect `deny`")
    if expect.status not in (None, int(HTTPStatus.OK)):
        yield _contradiction(at, "status", "an allow has the status 200: remove it, or expect `deny`")


def _of_deny(expect: TestExpect, at: Path) -> Iterator[Flaw]:
    for field, value in (("headers", expect.headers), ("limits", expect.limits)):
        if value:
            yield _contradiction(at, field, f"a refusal has no `{field}`: remove them, or expect `allow`")
    reason = expect.reason
    if reason is Reason.ALLOWED:
        yield _contradiction(at, "reason", "a refusal has another reason than `allowed`: write which")
    elif reason in _NEVER:
        what = f"no test ends with `{reason.value}`: {_NEVER[reason]}: remove the case"
        yield _contradiction(at, "reason", what)
    elif expect.detail is Detail.HOST_NOT_SERVED:
        what = "no test ends so: which hosts are served belongs to a listener, not to a set: remove the case"
        yield _contradiction(at, "detail", what)
    elif expect.status is not None:
        yield from _of_status(expect.status, reason, expect.detail, at)


def _of_status(status: int, reason: Reason | None, detail: Detail | None, at: Path) -> Iterator[Flaw]:
    possible = {one for told in ([reason] if reason else _REFUSALS) for one in _statuses(told, detail)}
    if status not in possible:
        what = f"`{reason.value}` is answered with" if reason else "a refusal has"
        known = ", ".join(map(str, sorted(possible)))
        yield _contradiction(at, "status", f"{what} {known}, never {status}: write one of them")


def _statuses(reason: Reason, detail: Detail | None) -> set[int]:
    if reason is not Reason.BAD_REQUEST:
        return {status_of(reason), _REDIRECT}
    return {status_of(reason, one) for one in ([detail] if detail else _DETAILS)}


def _contradiction(at: Path, field: str, what: str) -> Flaw:
    return Flaw((*at, field), what)
