"""Explain a decision from its record alone: what it keeps is shown, what it does not is `not recorded`.

Of the rules only what follows for certain is said. A rule that the record names held; one whose identity,
address or condition cannot have fit, by what the record keeps, did not; of any other nobody can know.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import msgspec

from authz.model.errors import ConfigError
from authz.model.identity import ANONYMOUS, Caller, Identity, IdentityKind, Standing
from authz.model.meaning import DETAILS, REASONS
from authz.model.reason import Detail, Reason
from authz.model.request import Request
from authz.policy.loaded import Loaded
from authz.policy.rule import Candidate
from authz.record import entry
from authz.record.entry import Record
from authz.rehearsal.explanation import (
    VERSION,
    AnswerPart,
    Explanation,
    FitPart,
    IdentityPart,
    LimitPart,
    ReadingPart,
    RequestPart,
    RulePart,
    ShadowPart,
    WhenPart,
)
from authz.rehearsal.identities import key_name
from authz.rehearsal.rules import judged, near_misses, sources
from authz.rehearsal.why import why
from authz.request.client import direct
from authz.snapshot.build import Built

UNKNOWN = "not recorded"

# What a condition may name and a record keeps, whole; identities besides, where the caller was known.
_KEPT = frozenset(
    f"request.{name}" for name in ("method", "host", "url_path", "segments", "protocol", "size")
) | {"params", "client.address", "client.network"}
_WHO = frozenset(
    f"identity.{name}" for name in ("kind", "provider", "subject", "key_id", "customer", "scopes", "labels")
) | {"identity.anonymous"}
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


def read_record(line: bytes) -> Record:
    """Return a record from its line.

    Raises:
        ConfigError: it is none, or of a later version.
    """
    record = _decode(line, Record)
    if record.v != entry.VERSION:
        raise ConfigError(
            f"the record has version {record.v}, and this authz reads {entry.VERSION}: use a newer one"
        )
    return record


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
        shadow=tuple(_shade(part) for part in _parts(record.shadow, entry.ShadowPart)),
        not_recorded=_lost(record),
    )
    return why(explained, built.loaded if built is not None else Loaded())


def _decode(line: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"not a record: {str(error).lower()[:200]}") from None


def _parts(raw: msgspec.Raw, kind: type[_T]) -> list[_T]:
    return _decode(bytes(raw), list[kind]) if bytes(raw) else []  # type: ignore[valid-type]  # a type at run time


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
        allowed_by=tuple(_decode(bytes(record.allowed_by), list[str])) if bytes(record.allowed_by) else (),
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
    method = _method(part.method)
    return RequestPart(
        method=method,
        sent_method=part.method if part.method != method else "",
        host=part.host,
        path=part.path,
        headers=tuple(part.headers),
        protocol=part.protocol,
        address=part.client_address,
    )


def _method(sent: str) -> str:
    return "GET" if sent == "HEAD" else sent


def _identity(record: Record, built: Built | None) -> IdentityPart:
    bad = {Reason.CREDENTIAL_INVALID: Standing.INVALID, Reason.CREDENTIAL_AMBIGUOUS: Standing.AMBIGUOUS}
    if not bytes(record.identity):
        standing = next((one.value for reason, one in bad.items() if record.reason == reason), UNKNOWN)
        detail = Detail(record.detail) if record.detail in set(Detail) else None
        meaning = DETAILS[Reason.CREDENTIAL_INVALID].get(detail, "") if detail else ""
        return IdentityPart(standing=standing, detail=record.detail if meaning else "", meaning=meaning)
    part = _decode(bytes(record.identity), entry.IdentityPart)
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


def _limit(part: entry.LimitPart) -> LimitPart:
    return LimitPart(part.name, (), remaining=part.remaining, passes=part.retry_ms == 0)


def _shade(part: entry.ShadowPart) -> ShadowPart:
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
    yield _Then(record, built).reading(who)


# Before any rule was asked.
_UNJUDGED = frozenset(
    {Reason.BAD_REQUEST, Reason.GUARDED, Reason.OVERLOADED, Reason.NOT_READY, Reason.INTERNAL_ERROR}
)


class _Then:
    """The rules of a set, and what can be said of them for certain from a record."""

    def __init__(self, record: Record, built: Built) -> None:
        self._record = record
        self._built = built
        self._same = record.revision == built.snapshot.revision
        self._caller = _caller(record)

    def reading(self, who: IdentityPart) -> ReadingPart:
        """Return the rules of this host, path and method; what nearly matches only of the very set."""
        index = self._built.snapshot.index
        requests = [_as_request(self._record, grpc=grpc) for grpc in (False, True)]
        plain, every = ([*index.candidates(index.view(one.host), one)] for one in requests)
        sure = {(one.rule.name, tuple(one.params.items())) for one in plain}
        both = [*plain, *(one for one in every if (one.rule.name, tuple(one.params.items())) not in sure)]
        known = sources(self._built.loaded)
        rules = judged(both, requests[0], self._caller or _NOBODY, known, lambda text: text)
        near, omitted = near_misses(requests[0], both, known) if self._same else ((), 0)
        return ReadingPart(
            path=requests[0].path,
            candidates=tuple(self._sure(one.part, one.candidate) for one in rules),
            near=near,
            near_omitted=omitted,
            identity=who,
        )

    def _sure(self, part: RulePart, candidate: Candidate) -> RulePart:
        """Take back what cannot be known."""
        fits = tuple(self._fit(fit) for fit in part.fits)
        return msgspec.structs.replace(
            part,
            fits=tuple(fit for fit in fits if fit is not None),
            when=self._when(part, candidate),
            says=self._says(part, candidate),
        )

    def _says(self, part: RulePart, candidate: Candidate) -> str:
        fact = self._fact(part) if self._same else ""
        if fact:
            return fact
        if part.says == "not_asked":
            return part.says if self._same else UNKNOWN
        known = [fit for fit in map(self._fit, part.fits) if fit is not None]
        if any(not fit.fits for fit in known):
            return "does_not_fit"
        if candidate.rule.grpc:
            return UNKNOWN
        when = self._when(part, candidate)
        return "condition_false" if when is not None and when.value == "false" else UNKNOWN

    def _fact(self, part: RulePart) -> str:
        record = self._record
        if f"{part.policy}/{part.rule}" in _answer(record).allowed_by:
            return "holds"
        if (
            part.effect == "deny"
            and not record.override
            and (part.policy, part.rule) == (record.policy, record.rule)
        ):
            return {Reason.DENIED_BY_RULE: "holds", Reason.RULE_ERROR: "condition_failed"}.get(
                Reason(record.reason), ""
            )
        return ""

    def _fit(self, fit: FitPart) -> FitPart | None:
        """Return what is known of one thing; None where a record does not keep it."""
        if fit.part == "addresses":
            return fit
        return fit if fit.part == "identity" and self._caller is not None else None

    def _when(self, part: RulePart, candidate: Candidate) -> WhenPart | None:
        if part.when is None or candidate.rule.when is None:
            return None
        known = _KEPT | (_WHO if self._caller is not None else frozenset())
        if candidate.rule.when.inspection.names <= known:
            return part.when
        variables = {name: value for name, value in part.when.variables.items() if name in known}
        return WhenPart(part.when.source, UNKNOWN, variables=variables)


_NOBODY = Caller(ANONYMOUS, Standing.MISSING)


def _caller(record: Record) -> Caller | None:
    """Return who asked, as far as the record knows; None where a list in it may have been cut."""
    if not bytes(record.identity):
        bad = {Reason.CREDENTIAL_INVALID: Standing.INVALID, Reason.CREDENTIAL_AMBIGUOUS: Standing.AMBIGUOUS}
        standing = next((one for reason, one in bad.items() if record.reason == reason), None)
        return Caller(ANONYMOUS, standing) if standing is not None else None
    part = _decode(bytes(record.identity), entry.IdentityPart)
    if part.kind == IdentityKind.ANONYMOUS:
        return _NOBODY
    if max(len(part.scopes), len(part.labels)) >= _ITEMS_MAX:
        return None
    identity = Identity(
        kind=IdentityKind(part.kind),
        provider=part.provider,
        subject=part.subject,
        key_id=part.key_id,
        customer=part.customer,
        scopes=part.scopes,
        labels=part.labels,
    )
    return Caller(identity, Standing.PROVEN)


_ITEMS_MAX = 32  # of scopes and labels in a record


def _as_request(record: Record, *, grpc: bool) -> Request:
    """Return what a record keeps of a request; what it does not is empty, and never asked."""
    part = record.request or entry.RequestPart()
    path = part.path
    return Request(
        method=_method(part.method),
        sent_method=part.method,
        scheme="",
        host=part.host,
        path=path,
        segments=tuple(path[1:].split("/")) if path != "/" else (),
        query="",
        headers={},
        repeated=frozenset(),
        strays=(),
        client=direct(part.client_address, 0),
        principal="",
        upgrade=(),
        grpc=grpc,
        protocol=part.protocol,
        size=part.size,
        time_us=0,
        request_id="",
        trace_id="",
        body=b"",
        context={},
    )
