"""The rules of a recorded decision: only what follows for certain is said of them.

A rule that the record names held; one whose identity, address or condition cannot have fit, by what the
record keeps, did not; of any other nobody can know.
"""

from __future__ import annotations

import msgspec

from authz.model.identity import ANONYMOUS, Caller, Identity, IdentityKind, Standing
from authz.model.reason import Reason
from authz.model.request import UNSAID, Request
from authz.policy.rule import Candidate
from authz.record import fields
from authz.record.fields import Record
from authz.rehearsal.explaining.explanation import (
    FitPart,
    IdentityPart,
    ReadingPart,
    RulePart,
    WhenPart,
)
from authz.rehearsal.explaining.kept import UNKNOWN, allowed_by, decode, judged_method
from authz.rehearsal.explaining.near import near_misses
from authz.rehearsal.explaining.rules import judged
from authz.rehearsal.explaining.written import sources
from authz.request.client import direct
from authz.snapshot.build import Built

# What a condition may name and a record keeps, whole; identities besides, where the caller was known.
_KEPT = frozenset(
    f"request.{name}" for name in ("method", "host", "url_path", "segments", "protocol", "size")
) | {"params", "client.address", "client.network"}
_WHO = frozenset(
    f"identity.{name}" for name in ("kind", "provider", "subject", "key_id", "customer", "scopes", "labels")
) | {"identity.anonymous"}


class Then:
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
        if f"{part.policy}/{part.rule}" in allowed_by(record):
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
    part = decode(bytes(record.identity), fields.IdentityPart)
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
    part = record.request or fields.RequestPart()
    path = part.path
    return UNSAID._replace(
        method=judged_method(part.method),
        sent_method=part.method,
        host=part.host,
        path=path,
        segments=tuple(path[1:].split("/")) if path != "/" else (),
        client=direct(part.client_address, 0),
        grpc=grpc,
        protocol=part.protocol,
        size=part.size,
    )
