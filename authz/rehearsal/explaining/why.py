"""Why it ended so, in sentences: the first lines that a person reads, taken from the steps below them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

import msgspec

from authz.model.reason import Reason
from authz.policy.loaded import Loaded
from authz.rehearsal.explaining.explanation import (
    Explanation,
    FitPart,
    IdentityPart,
    LimitPart,
    MissPart,
    ReadingPart,
    RulePart,
)

_MOST = 6  # sentences about rules; the steps have them all
_BY_LIMITS = (Reason.RATE_LIMITED, Reason.STORE_UNAVAILABLE)


def why(explained: Explanation, loaded: Loaded) -> Explanation:
    """Return an explanation with its sentences."""
    return msgspec.structs.replace(explained, why=tuple(_sentences(explained, loaded)))


def _sentences(explained: Explanation, loaded: Loaded) -> Iterator[str]:
    if explained.source == "record":
        yield from _kept(explained)
        if explained.set_revision != explained.revision:
            return
    reading = explained.readings[-1] if explained.readings else None
    match explained.answer.reason:
        case Reason.ALLOWED if reading is not None and explained.source == "request":
            yield from _allowed(reading)
        case Reason.BAD_REQUEST:
            yield _bad_request(explained)
        case Reason.NOT_READY:
            yield "A scope that speaks about this host has never been good: nothing of it can be judged."
        case Reason.NO_MATCHING_POLICY if reading is not None:
            yield from _unmatched(explained, reading, loaded)
        case Reason.CREDENTIAL_MISSING | Reason.CREDENTIAL_INVALID | Reason.CREDENTIAL_AMBIGUOUS if reading:
            yield from _credential(reading)
        case Reason.NOT_PERMITTED if reading is not None:
            yield from _not_permitted(explained, reading)
        case Reason.DENIED_BY_RULE | Reason.RULE_ERROR if reading is not None:
            yield from _refused_by(explained, reading)
        case Reason.RATE_LIMITED if explained.source == "request":
            yield from (
                f"Limit {limit.name}: the request costs {limit.cost:g}, and the bucket never holds more than"
                f" {limit.burst:g}."
                for limit in explained.limits
                if limit.passes is False
            )
    if reading is not None and reading.name == "structural" and reading.ends != "granted":
        yield f"That is the structural reading, {reading.path}: the Site keeps two, and both must be allowed."


def refusal_of(limit: LimitPart) -> str:
    """Say of a limit that refused, by a record, what was the matter; older records do not tell."""
    match limit.refused:
        case "cost":
            return "never holds what the request costs"
        case "store":
            return "refused, since its store did not answer"
        case _:
            return "had no room"


def _kept(explained: Explanation) -> Iterator[str]:
    """What a record says of itself, whatever the set that is given."""
    answer = explained.answer
    if answer.allowed_by:
        yield f"Allowed by {_listed(list(answer.allowed_by))}."
    elif answer.rule and answer.reason in _BY_LIMITS:
        yield f"Rule {answer.policy}/{answer.rule} allows it where its limits have room."
    elif answer.rule:
        overrides = " of the overrides" if answer.override else ""
        yield f"Rule {answer.policy}/{answer.rule}{overrides} decided it."
    for limit in explained.limits:
        if limit.passes is False:
            yield f"Limit {limit.name} {refusal_of(limit)}."
    if explained.set_revision and explained.set_revision != explained.revision:
        yield (
            f"It was decided by revision {explained.revision or 'none'}; the set given here is"
            f" {explained.set_revision}, so what its rules say below may not be what they said then."
        )


def _allowed(reading: ReadingPart) -> Iterator[str]:
    for rule in reading.candidates:
        if rule.effect == "allow" and rule.says == "holds":
            yield f"Rule {_name(rule)} allows it{_where(rule)}."


def _bad_request(explained: Explanation) -> str:
    return f"It was not judged by any rule: {explained.answer.detail_meaning.rstrip(' .,')}."


def _unmatched(explained: Explanation, reading: ReadingPart, loaded: Loaded) -> Iterator[str]:
    request = explained.request
    host = request.host if request is not None else ""
    if not reading.near and not reading.near_omitted:
        yield f"No policy speaks about the host {host}."
        named = {text for document in loaded.policies for text in document.spec.hosts}
        close = difflib.get_close_matches(host, sorted(named), n=2, cutoff=0.75)
        if close:
            yield f"Policies name {' and '.join(close)}: was one of these meant?"
        return
    for miss in reading.near[:2]:
        yield _missed(miss, explained, reading)


def _missed(miss: MissPart, explained: Explanation, reading: ReadingPart) -> str:
    request = explained.request
    method = request.method if request is not None else ""
    has = {"path": reading.path, "method": method, "grpc": "no gRPC call"}
    asked = " and ".join(f"{has[part]}" for part in miss.because)
    return f"Rule {miss.policy}/{miss.rule} comes near: it names {miss.wants}, not {asked} ({miss.place})."


def _credential(reading: ReadingPart) -> Iterator[str]:
    who = reading.identity
    if who is None:
        return
    places = ", ".join(look.place for look in who.looked)
    match who.standing:
        case "anonymous" if _asking(reading):
            yield f"No credential was found, and {_listed(_asking(reading))} would take one."
        case "anonymous" | "not recorded":
            return
        case "missing":
            rules = sorted({rule for look in who.looked for rule in look.rules})
            yield f"No credential stands in {places}, and {_listed(rules)} would take one."
        case "ambiguous":
            found = [f"{look.place}: {look.found}" for look in who.looked if look.found != "nothing"]
            yield f"More than one credential was presented: {'; '.join(found)}."
        case _:
            yield f"The credential{_of_key(who)} is not good: {who.meaning}."


def _asking(reading: ReadingPart) -> list[str]:
    """Return the allow rules that name a provider, as `policy/rule`."""
    special = {"anonymous", "anyone"}
    return [
        _name(rule)
        for rule in reading.candidates
        for fit in rule.fits
        if rule.effect == "allow" and fit.part == "identity" and set(fit.wants.split(" or ")) - special
    ]


def _of_key(who: IdentityPart) -> str:
    return f" of the key {who.key or who.key_id}" if who.key_id else ""


def _not_permitted(explained: Explanation, reading: ReadingPart) -> Iterator[str]:
    allows = [rule for rule in reading.candidates if rule.effect == "allow"]
    if not allows:
        yield "Only deny rules speak about this host, method and path: without an allow rule it is no."
        yield from (_missed(miss, explained, reading) for miss in reading.near[:2])
    for rule in allows[:_MOST]:
        yield f"Rule {_name(rule)} does not allow it: {_because(rule)}{_where(rule)}."
    if len(allows) > _MOST:
        yield f"Nor do {len(allows) - _MOST} more."


def _because(rule: RulePart) -> str:
    missing = [fit for fit in rule.fits if not fit.fits]
    if missing:
        return "; ".join(map(_unfit, missing))
    when = rule.when
    if when is None:
        return "what it asks is not recorded"
    if when.value == "failed":
        return f"its condition failed: {when.failure}"
    return f"its condition is {when.value}: {when.source}"


def _unfit(fit: FitPart) -> str:
    if fit.part == "upgrade" and not fit.wants:
        return f"the request asks to switch to {fit.has}, and no `upgrade` of the rule names that"
    return f"its {fit.part} is {fit.wants}, not {fit.has or 'nothing'}"


def _refused_by(explained: Explanation, reading: ReadingPart) -> Iterator[str]:
    answer = explained.answer
    kind = "override" if answer.override else "deny rule"
    for rule in reading.overrides if answer.override else reading.candidates:
        if rule.effect == "deny" and (rule.policy, rule.rule) == (answer.policy, answer.rule):
            yield from _denied_by(rule, kind)
    for failed in explained.headers_failed:
        yield f"A header for the application cannot be set: {failed}."
    for limit in explained.limits:
        if limit.failure:
            yield f"Limit {limit.name} cannot be asked: {limit.failure}."


def _denied_by(rule: RulePart, kind: str) -> Iterator[str]:
    name = f"{kind} {_name(rule)}"
    if rule.says == "holds":
        yield f"{name[0].upper()}{name[1:]} holds{_condition(rule)}{_where(rule)}."
    elif rule.says == "condition_failed" and rule.when is not None:
        failure = f"{rule.when.failure}{_where(rule)}"
        yield f"The condition of {name} failed, and whatever denies does so if it fails: {failure}."


def _condition(rule: RulePart) -> str:
    return f": {rule.when.source}" if rule.when is not None else ", as it has no condition"


def _name(rule: RulePart) -> str:
    return f"{rule.policy}/{rule.rule}"


def _where(rule: RulePart) -> str:
    return f" ({rule.place})" if rule.place else ""


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "no rule"
