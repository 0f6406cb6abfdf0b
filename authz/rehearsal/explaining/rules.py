"""The rules of one reading of a request: which speak about it, which nearly do, and what each says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from authz.model.decision import RuleName
from authz.model.identity import Caller, Identity, Standing
from authz.model.request import Request
from authz.model.text import percent_decode
from authz.policy.condition import Truth
from authz.policy.host import parse_host
from authz.policy.kind_policy import Rule as Written
from authz.policy.overrides import Overrides
from authz.policy.path import PathPattern, parse_path
from authz.policy.rule import Candidate, Rule
from authz.policy.vocabulary import Facts
from authz.rehearsal.explaining.explanation import FitPart, RulePart, WhenPart
from authz.rehearsal.explaining.values import Cover, shown_values
from authz.rehearsal.explaining.written import Source, written_paths

HOLDS, NO_FIT, FALSE, FAILED, NOT_ASKED = (
    "holds",
    "does_not_fit",
    "condition_false",
    "condition_failed",
    "not_asked",
)
_TRUTHS = {
    Truth.YES: ("true", HOLDS),
    Truth.NO: ("false", FALSE),
    Truth.FAILED: ("failed", FAILED),
}
BAD = (Standing.INVALID, Standing.AMBIGUOUS)


class Judged(NamedTuple):
    """One candidate, and what it says."""

    candidate: Candidate
    part: RulePart


def judged(
    candidates: Sequence[Candidate],
    request: Request,
    caller: Caller,
    known: Mapping[RuleName, Source],
    cover: Cover,
) -> list[Judged]:
    """Return what each candidate says, deny rules first, each kind by name.

    Args:
        cover: hides credentials; asked before a value is shortened.

    Where the credential is not good and no rule for `anyone` holds, nobody else is asked: that is the end.
    """
    bad = caller.standing in BAD
    allows = [one for one in _ordered(candidates) if one.rule.allow]
    denies = [one for one in _ordered(candidates) if not one.rule.allow]
    allowing = [
        _judge(one, request, caller, known[one.rule.name], cover, asked=not bad or one.rule.anyone)
        for one in allows
    ]
    over = bad and not any(one.part.says == HOLDS for one in allowing)
    denying = [_judge(one, request, caller, known[one.rule.name], cover, asked=not over) for one in denies]
    return [*denying, *allowing]


def overriding(
    overrides: Overrides,
    request: Request,
    caller: Caller,
    known: Mapping[RuleName, Source],
    cover: Cover,
) -> tuple[RulePart, ...]:
    """Return what each override says that speaks about a request; they are asked whoever the caller is."""
    found = overrides.index.candidates(overrides.index.view(request.host), request)
    return tuple(
        _judge(one, request, caller, known[one.rule.name], cover, asked=True).part for one in _ordered(found)
    )


def granting(judged_: Sequence[Judged]) -> list[Candidate]:
    """Return the allow rules that let a request pass, each once, by name; none where a deny rule refuses."""
    if any(one.part.effect == "deny" and one.part.says in (HOLDS, FAILED) for one in judged_):
        return []
    held = [one.candidate for one in judged_ if one.part.effect == "allow" and one.part.says == HOLDS]
    once = {one.rule.name: one for one in reversed(held)}
    return [once[name] for name in sorted(once)]


def _ordered(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return candidates by name; one that matches by several patterns alike stands there once.

    INVARIANT: the matches of one rule stay in the order of the index: the first that holds names the buckets.
    """
    once: dict[tuple[RuleName, tuple[tuple[str, str], ...]], Candidate] = {}
    for one in candidates:
        once.setdefault((one.rule.name, tuple(sorted(one.params.items()))), one)
    return sorted(once.values(), key=lambda one: one.rule.name)


def _judge(
    candidate: Candidate, request: Request, caller: Caller, source: Source, cover: Cover, *, asked: bool
) -> Judged:
    rule = candidate.rule
    when, says = _when(candidate, Facts(request, caller.identity, candidate.params), cover)
    if not rule.fits(request, caller.identity):
        says = NO_FIT
    host, path, params = _match(source, request, candidate.params if rule.params else None)
    part = RulePart(
        policy=rule.name.policy,
        rule=rule.name.rule,
        effect="allow" if rule.allow else "deny",
        says=says if asked else NOT_ASKED,
        place=source.place,
        host=host,
        path=path,
        params={name: percent_decode(value) for name, value in params.items()},
        fits=tuple(_fits(rule, source.rule, request, caller)),
        when=when,
        limits=tuple(limit.name for limit in rule.limits),
    )
    return Judged(candidate, part)


def _when(candidate: Candidate, facts: Facts, cover: Cover) -> tuple[WhenPart | None, str]:
    condition = candidate.rule.when
    if condition is None:
        return None, HOLDS
    truth, failure, values = condition.inquire(facts)
    value, says = _TRUTHS[truth]
    return WhenPart(condition.source, value, failure, shown_values(condition.source, values, cover)), says


def _fits(rule: Rule, written: Written, request: Request, caller: Caller) -> Iterator[FitPart]:
    """Ask the rule itself about one thing at a time, so that nothing here can differ from it."""
    identity = caller.identity
    plain = request._replace(upgrade=())
    who = replace(rule, upgrade=frozenset(), peers=(), networks=())
    all_are = replace(who, anyone=True)
    if written.identity:
        wants = " or ".join(written.identity)
        yield FitPart("identity", who.fits(plain, identity), wants, "" if rule.anyone else who_is(caller))
    if rule.upgrade or request.upgrade:
        fits = replace(all_are, upgrade=rule.upgrade).fits(request, identity)
        yield FitPart("upgrade", fits, ", ".join(sorted(rule.upgrade)), ", ".join(request.upgrade))
    if rule.peers:
        fits = replace(all_are, peers=rule.peers).fits(plain, identity)
        yield FitPart("peers", fits, ", ".join(written.peers or ()), request.principal)
    if rule.networks:
        fits = replace(all_are, networks=rule.networks).fits(plain, identity)
        wants = ", ".join(map(str, written.addresses or ()))
        yield FitPart("addresses", fits, wants, request.client.address)


def who_is(caller: Caller) -> str:
    """Return who a caller is, in a few words."""
    if caller.standing is Standing.PROVEN:
        return described(caller.identity)
    return {
        Standing.MISSING: "nobody: no credential",
        Standing.INVALID: "nobody: the credential is not good",
        Standing.AMBIGUOUS: "nobody: more than one credential",
    }[caller.standing]


def described(identity: Identity) -> str:
    """Return an identity in a few words."""
    customer = f" of {identity.customer}" if identity.customer else ""
    return f"{identity.provider}: {identity.subject}{customer}"


def _match(
    source: Source, request: Request, params: Mapping[str, str] | None
) -> tuple[str, str, Mapping[str, str]]:
    """Return the host and path pattern that matched and what they captured; of several those of `params`."""
    for host, path in _matches(source, request):
        captured = _captured(host, path, request)
        if params is None or captured == params:
            return host, path, captured
    return "", "", params or {}


def _matches(source: Source, request: Request) -> Iterator[tuple[str, str]]:
    for host in source.document.spec.hosts:
        if parse_host(host).matches(request.host):
            for path in written_paths(source.rule):
                if not path or parse_path(path).matches(request.segments):
                    yield host, path


def _captured(host: str, path: str, request: Request) -> dict[str, str]:
    pattern = parse_path(path) if path else PathPattern((), (), rest=True)
    params = {name: request.segments[index] for name, index in pattern.captures}
    capture = parse_host(host).capture
    return params | ({capture: request.host.partition(".")[0]} if capture else {})
