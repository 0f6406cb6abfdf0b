"""Explain one decision: `check.py` decides, and each step is asked again and written down.

The outcome is that of `check.judge` and nothing else. What stands beside it comes from the functions that
decided: the index for candidates, `resolve` for the caller, the rules and conditions themselves. A law in
`tests/property/test_explain.py` has the outcome follow from the steps that are shown.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse

from authz.check import Check, reply, review
from authz.identity.resolve import resolve
from authz.limits.memory import MemoryLimiter
from authz.model.decision import Allow, Deny, Grant
from authz.model.identity import Caller
from authz.model.meaning import DETAILS, REASONS
from authz.model.reason import Detail, Reason, coarse_of
from authz.model.request import Request
from authz.policy.evaluate import evaluate
from authz.policy.loaded import Loaded
from authz.rehearsal.explaining.asked import request_part, sent_headers, site_part
from authz.rehearsal.explaining.explanation import (
    VERSION,
    AnswerPart,
    Explanation,
    LimitPart,
    ReadingPart,
    ShadowPart,
    UpstreamPart,
)
from authz.rehearsal.explaining.grants import failed_headers, limits_of, upstream_of
from authz.rehearsal.explaining.identities import identified, named_providers
from authz.rehearsal.explaining.near import near_misses
from authz.rehearsal.explaining.rules import Judged, granting, judged, overriding
from authz.rehearsal.explaining.veil import Veil
from authz.rehearsal.explaining.why import why
from authz.rehearsal.explaining.written import sources
from authz.rehearsal.scene import Cast, Staged, play, stage
from authz.request.host import canonical_host
from authz.response.limits import Form
from authz.response.message import ID_PLACEHOLDER
from authz.response.refusal import Refuser
from authz.snapshot.build import Built
from authz.snapshot.snapshot import Snapshot

GRANTED = "granted"
NO_OVERRIDES = Loaded()


def explain(
    built: Built,
    message: Any,
    cast: Cast,
    now_us: int,
    overrides: Loaded = NO_OVERRIDES,
    limit_headers: Form = "draft",
) -> Explanation:
    """Explain what would come of a request.

    Args:
        built: the policy set.
        overrides: the documents of its overrides, which are no part of `built.loaded`.
        message: a CheckRequest; it gets the credential of who is played.
        now_us: when it is judged, microseconds since 1970.
        limit_headers: how the client would be told of limits.

    Raises:
        ConfigError: the set has no such key or provider.
    """
    staged = stage(built, message, cast, now_us)
    veil = _veil(staged)
    refuser = Refuser("explain", limit_headers)
    return veil.over(_Steps(built, staged, cast, veil, now_us, overrides, refuser).explanation())


def _veil(staged: Staged) -> Veil:
    http = CheckRequest.FromString(staged.payload).attributes.request.http
    places = [place for provider in staged.snapshot.providers.values() for place in provider.places]
    return Veil(sent_headers(http), http.path, places)


@dataclass(frozen=True, slots=True)
class _Reading:
    """One reading of the path, judged."""

    part: ReadingPart
    request: Request
    verdict: Grant | Deny
    judged: list[Judged]
    caller: Caller


class _Steps:
    """The work of one explanation."""

    def __init__(
        self,
        built: Built,
        staged: Staged,
        cast: Cast,
        veil: Veil,
        now_us: int,
        overrides: Loaded,
        refuser: Refuser,
    ) -> None:
        self._built = built
        self._refuser = refuser
        self._snapshot: Snapshot = staged.snapshot
        self._http = CheckRequest.FromString(staged.payload).attributes.request.http
        self._cast = cast
        self._veil = veil
        self._now_us = now_us
        self._check = play(staged, now_us)
        self._known = sources(built.loaded)
        self._overrides = sources(overrides)

    def explanation(self) -> Explanation:
        check, snapshot = self._check, self._snapshot
        request = check.request
        host = request.host if isinstance(request, Request) else canonical_host(request.host)
        answered = reply(check, snapshot, self._refuser, ID_PLACEHOLDER)
        response = CheckResponse.FromString(answered.payload)
        readings = self._readings()
        limits, failed = self._grants(readings)
        explained = Explanation(
            v=VERSION,
            source="request",
            revision=snapshot.revision,
            time=time_text(self._now_us),
            answer=answer_part(check, response, answered.status),
            request=request_part(request, self._http, snapshot.reading.listener),
            site=site_part(snapshot.site(host), self._built.loaded),
            readings=tuple(reading.part for reading in readings),
            limits=limits,
            headers_failed=failed,
            upstream=self._upstream(response),
            shadow=shadow_parts(check, snapshot),
        )
        return why(explained, self._built.loaded)

    def _readings(self) -> list[_Reading]:
        """Judge each reading as `check.py` does: first the structural one, the other if it is granted."""
        request = self._check.request
        if not isinstance(request, Request) or self._check.view is None:
            return []  # unread, or the host's scope was never good: nobody was asked
        if not request.structural:
            return [self._reading(request, "")]
        path = request.structural
        other = request._replace(path=path, segments=tuple(path[1:].split("/")) if path != "/" else ())
        first = self._reading(other, "structural")
        return [first, self._reading(request, "data")] if isinstance(first.verdict, Grant) else [first]

    def _reading(self, request: Request, name: str) -> _Reading:
        snapshot = self._snapshot
        candidates = snapshot.index.candidates(snapshot.index.view(request.host), request)
        plan = snapshot.access(named_providers(candidates)).plan
        caller = resolve(request, plan, snapshot.keyring, self._now_us)
        brake = snapshot.overrides
        refusal = brake.refusal(request, caller.identity) if brake is not None else None
        verdict = refusal or evaluate(candidates, request, caller)
        near, omitted = near_misses(request, candidates, self._known)
        prefix = snapshot.fixed.token_prefix.decode()
        who = identified(caller, request, candidates, plan, self._built.loaded, prefix, _played(self._cast))
        rules = judged(candidates, request, caller, self._known, self._veil.cover)
        part = ReadingPart(
            path=request.path,
            name=name,
            overrides=overriding(brake, request, caller, self._overrides, self._veil.cover) if brake else (),
            candidates=tuple(one.part for one in rules),
            near=near,
            near_omitted=omitted,
            identity=who,
            ends=GRANTED if isinstance(verdict, Grant) else verdict.reason.value,
        )
        return _Reading(part, request, verdict, rules, caller)

    def _grants(self, readings: list[_Reading]) -> tuple[tuple[LimitPart, ...], tuple[str, ...]]:
        """Return the buckets of the last reading, which alone spends, and headers that cannot be set."""
        request = self._check.request
        if not readings or not isinstance(request, Request):
            return (), ()
        last = readings[-1]
        if isinstance(last.verdict, Deny) and last.verdict.override:
            return (), ()
        reading, identity = last.request, last.caller.identity
        granted = granting(last.judged)
        return limits_of(granted, reading, identity), tuple(failed_headers(granted, reading, identity))

    def _upstream(self, response: Any) -> UpstreamPart | None:
        return upstream_of(response) if isinstance(self._check.decision, Allow) else None


def _played(cast: Cast) -> str:
    if cast.key:
        return f"the key {cast.key}"
    return f"an identity of {cast.identity.provider}" if cast.identity is not None else ""


def answer_part(check: Check, response: Any, status: int) -> AnswerPart:
    """Return how a check ended."""
    decision = check.decision
    if isinstance(decision, Allow):
        rules = decision.grant.rules
        return AnswerPart(
            outcome="allow",
            status=status,
            reason=Reason.ALLOWED.value,
            meaning=REASONS[Reason.ALLOWED],
            policy=rules[0].policy,
            rule=rules[0].rule,
            allowed_by=tuple(f"{name.policy}/{name.rule}" for name in rules),
        )
    detail = decision.detail or check.caller.detail
    denied = {option.header.key: option.header.value for option in response.denied_response.headers}
    told = denied.pop("x-authz-reason", coarse_of(decision.reason).value)
    denied.pop("x-authz-decision-id", None)
    return AnswerPart(
        outcome="deny",
        status=status,
        reason=decision.reason.value,
        meaning=REASONS[decision.reason],
        detail=detail.value if detail else "",
        detail_meaning=meaning_of(decision.reason, detail),
        policy=decision.rule.policy if decision.rule else "",
        rule=decision.rule.rule if decision.rule else "",
        override=decision.override,
        told=told,
        headers=denied,
    )


def meaning_of(reason: Reason, detail: Detail | None) -> str:
    """Return what a detail means, in words; "" where there is none."""
    return DETAILS.get(reason, {}).get(detail, "") if detail else ""


def shadow_parts(check: Check, snapshot: Snapshot) -> tuple[ShadowPart, ...]:
    """Return what documents in shadow say, every bucket of theirs full."""
    found = review(check, snapshot)
    if found is None:
        return ()
    MemoryLimiter(lambda: 0).spend_in_shadow(list(found.trials.values()), lambda _: None)
    return tuple(
        ShadowPart(
            outcome=shade.would.value,
            policy=shade.policy,
            rule=shade.rule,
            limit=shade.limit,
            detail=shade.detail.value if shade.detail else "",
            changes=shade.changes,
        )
        for shade in found.settled()
    )


def time_text(now_us: int) -> str:
    """Return a time as RFC 3339, UTC."""
    second, rest_us = divmod(now_us, 1_000_000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
    return f"{text}.{rest_us:06}Z" if rest_us else f"{text}Z"
