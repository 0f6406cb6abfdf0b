"""Explain a decision from its record alone: what it keeps is shown, what it does not is `not recorded`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import msgspec

from authz.model.identity import IdentityKind, Standing
from authz.model.meaning import DETAILS, REASONS
from authz.model.reason import Detail, Reason
from authz.policy.loaded import Loaded
from authz.record import fields
from authz.record.fields import Record
from authz.rehearsal.explaining.explanation import (
    VERSION,
    AnswerPart,
    Explanation,
    IdentityPart,
    LimitPart,
    ReadingPart,
    RequestPart,
    ShadowPart,
)
from authz.rehearsal.explaining.identities import key_name
from authz.rehearsal.explaining.kept import UNKNOWN, allowed_by, decode, judged_method
from authz.rehearsal.explaining.recorded_rules import Then
from authz.rehearsal.explaining.why import why
from authz.snapshot.build import Built

_LOST = (
    "scheme",
    "query",
    "mTLS peer",
    "upgrade",
    "body",
    "places that were looked at for a credential",
    "values of variables that are not listed here",
    "headers for the application or the client",
)
_CUT = ("...[+", "***")  # marks of what a record shortened or masked
_T = TypeVar("_T")


def explain_record(record: Record, built: Built | None) -> Explanation:
    """Explain a record.

    Args:
        built: the set as it is now, for what rules say; None: the record alone.
    """
    set_revision = built.snapshot.revision if built is not None else ""
    explained = Explanation(
        v=VERSION,
        source="record",
        revision=record.revision,
        time=record.time,
        answer=_answer(record),
        decision_id=record.decision_id,
        set_revision=set_revision,
        request=_request(record),
        readings=tuple(_readings(record, built)),
        limits=tuple(_limit(part) for part in record.limits),
        shadow=tuple(_shade(part) for part in _parts(record.shadow, fields.ShadowPart)),
        not_recorded=_lost(record),
    )
    return why(explained, built.loaded if built is not None else Loaded())


def _parts(raw: msgspec.Raw, kind: type[_T]) -> list[_T]:
    return decode(bytes(raw), list[kind]) if bytes(raw) else []  # type: ignore[valid-type]  # a type at run time


def _answer(record: Record) -> AnswerPart:
    reason = Reason(record.reason) if record.reason in set(Reason) else None
    detail = Detail(record.detail) if record.detail in set(Detail) else None
    return AnswerPart(
        outcome=record.outcome,
        status=record.status,
        reason=record.reason,
        meaning=REASONS.get(reason, "") if reason else "",
        detail=record.detail,
        detail_meaning=DETAILS.get(reason, {}).get(detail, "") if reason and detail else "",
        policy=record.policy,
        rule=record.rule,
        override=record.override,
        allowed_by=allowed_by(record),
    )


def _request(record: Record) -> RequestPart | None:
    part = record.request
    if part is None:
        return None
    if record.reason == Reason.BAD_REQUEST:
        return RequestPart(
            sent_method=part.method,
            sent_host=part.host,
            sent_path=part.path,
            protocol=part.protocol,
            address=part.client_address,
            fault=record.detail,
        )
    method = judged_method(part.method)
    return RequestPart(
        method=method,
        sent_method=part.method if part.method != method else "",
        host=part.host,
        path=part.path,
        headers=tuple(part.headers),
        protocol=part.protocol,
        address=part.client_address,
    )


def _identity(record: Record, built: Built | None) -> IdentityPart:
    bad = {Reason.CREDENTIAL_INVALID: Standing.INVALID, Reason.CREDENTIAL_AMBIGUOUS: Standing.AMBIGUOUS}
    if not bytes(record.identity):
        standing = next((one.value for reason, one in bad.items() if record.reason == reason), UNKNOWN)
        detail = Detail(record.detail) if record.detail in set(Detail) else None
        meaning = DETAILS[Reason.CREDENTIAL_INVALID].get(detail, "") if detail else ""
        return IdentityPart(standing=standing, detail=record.detail if meaning else "", meaning=meaning)
    part = decode(bytes(record.identity), fields.IdentityPart)
    anonymous = part.kind == IdentityKind.ANONYMOUS
    return IdentityPart(
        standing="anonymous" if anonymous else Standing.PROVEN.value,
        kind=part.kind,
        provider=part.provider,
        key=key_name(part.key_id, built.loaded) if built is not None else "",
        key_id=part.key_id,
        subject=part.subject,
        customer=part.customer,
        scopes=part.scopes,
        labels=part.labels,
    )


def _limit(part: fields.LimitPart) -> LimitPart:
    return LimitPart(part.name, (), remaining=part.remaining, passes=part.retry_ms == 0, refused=part.refused)


def _shade(part: fields.ShadowPart) -> ShadowPart:
    return ShadowPart(part.outcome, part.policy, part.rule, part.limit, part.detail, part.changes)


def _lost(record: Record) -> tuple[str, ...]:
    kept = sorted(record.request.headers) if record.request is not None else []
    return ("headers" + (f" other than {', '.join(kept)}" if kept else ""), *_LOST)


def _readings(record: Record, built: Built | None) -> Iterator[ReadingPart]:
    part = record.request
    who = _identity(record, built)
    if part is None or record.reason in _UNJUDGED:
        return
    if built is None or any(mark in text for mark in _CUT for text in (part.path, part.host)):
        yield ReadingPart(path=part.path, identity=who)
        return
    yield Then(record, built).reading(who)


# Before any rule was asked.
_UNJUDGED = frozenset(
    {Reason.BAD_REQUEST, Reason.GUARDED, Reason.OVERLOADED, Reason.NOT_READY, Reason.INTERNAL_ERROR}
)
