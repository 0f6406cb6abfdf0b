"""An explanation as people read it: the answer and why, then the steps in the order in which they decide."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping

from authz.cli.colour import coloured
from authz.rehearsal.explanation import (
    Explanation,
    FitPart,
    IdentityPart,
    LimitPart,
    MissPart,
    ReadingPart,
    RequestPart,
    RulePart,
    ShadowPart,
    SitePart,
)

WIDTH = 100
_LABEL = 11  # columns of the words before values

Paint = Callable[[str, str], str]  # text, colour -> text


def lines(explained: Explanation, paint: Paint = coloured) -> Iterator[str]:
    """Yield an explanation line by line, none longer than 100 columns but for words that are."""
    yield from _head(explained, paint)
    if explained.request is not None:
        yield from _section("1 Request", _request(explained.request))
    if explained.site is not None:
        yield from _section("  Site", _site(explained.site))
    if explained.site is not None and explained.site.guard:
        yield from _section("2 Guard", [_field("faults", f"{explained.site.guard}; not counted here")])
    today = explained.set_revision if explained.set_revision != explained.revision else ""
    for reading in explained.readings:
        yield from _reading(
            reading, paint, today, explained.source == "record" and not explained.set_revision
        )
    if explained.limits:
        yield from _section("7 Limits", [line for limit in explained.limits for line in _limit(limit)])
    if explained.upstream is not None:
        sets = explained.upstream.sets
        rows = [_field(name, value) for name, value in sets.items()]
        removes = (
            *explained.upstream.removes,
            *(f"query {name}" for name in explained.upstream.removes_query),
        )
        rows += [_field("removed", ", ".join(removes))] if removes else []
        yield from _section("8 The application sees", rows or [_field("", "the request as it came")])
    elif explained.answer.headers or explained.answer.told:
        rows = [_field("reason", explained.answer.told)]
        rows += [_field(name, value) for name, value in explained.answer.headers.items()]
        yield from _section("8 The client is told", rows)
    if explained.shadow:
        yield from _section(
            "  Shadow: documents that are tried and change nothing", map(_shade, explained.shadow)
        )
    if explained.not_recorded:
        yield from _section("  Not recorded", [_field("", ", ".join(explained.not_recorded))])


def _head(explained: Explanation, paint: Paint) -> Iterator[str]:
    answer = explained.answer
    allowed = answer.outcome == "allow"
    word = "ALLOWED" if allowed else "DENIED"
    detail = f" ({answer.detail})" if answer.detail else ""
    yield paint(f"{word} {answer.status} {answer.reason}{detail}", "green" if allowed else "red")
    yield from _wrapped(answer.meaning, "  ")
    for sentence in explained.why:
        yield from _wrapped(sentence, "  - ", "    ")
    yield ""
    yield from _wrapped(_asked(explained), "")


def _asked(explained: Explanation) -> str:
    request = explained.request
    what = ""
    if request is not None:
        method = request.sent_method or request.method
        host, path = request.host or request.sent_host, request.path or request.sent_path
        scheme = f"{request.scheme}://" if request.scheme else ""
        what = f"{method} {scheme}{host}{path}, "
    recorded = f", decision {explained.decision_id}" if explained.decision_id else ""
    revision = explained.revision or "none"
    return f"{what}judged at {explained.time} by revision {revision}{recorded}"


def _section(title: str, rows: Iterator[str] | list[str] | map[str]) -> Iterator[str]:
    yield ""
    yield title
    for row in rows:
        yield from _wrapped(row, "  ", "  " + " " * _LABEL)


def _request(request: RequestPart) -> Iterator[str]:
    if request.fault:
        yield _field("unread", request.fault)
    for name, value, sent in (
        ("method", request.method, request.sent_method),
        ("host", request.host, request.sent_host),
        ("path", request.path, request.sent_path),
    ):
        yield _field(name, _both(value, sent))
    if request.segments:
        yield _field("segments", " | ".join(request.segments))
    if request.query:
        yield _field("query", f"{', '.join(request.query)} (values are not shown)")
    if request.headers:
        yield _field("headers", ", ".join(request.headers))
    if request.strays:
        yield _field("removed", f"{', '.join(request.strays)}: only we may set these")
    if request.upgrade:
        yield _field("upgrade", ", ".join(request.upgrade))
    if request.grpc:
        yield _field("gRPC", "yes")
    address = request.address or "none"
    yield _field("client", f"{address}, {request.address_from}" if request.address_from else address)
    if request.principal:
        yield _field("peer", request.principal)


def _both(value: str, sent: str) -> str:
    if not value:
        return f"{sent} (as sent)"
    return f"{value} (as sent: {sent})" if sent else value


def _site(site: SitePart) -> Iterator[str]:
    yield _field(
        "site", f"{site.name} ({site.place})" if site.name else "none speaks about this host: defaults"
    )
    if site.keeps:
        yield _field("keeps", f"{', '.join(site.keeps)}: a path that has them is read in two ways")
    yield _field("reasons", f"{site.reasons}: how much the client is told")


def _reading(reading: ReadingPart, paint: Paint, today: str, unasked: bool) -> Iterator[str]:
    if reading.name:
        yield ""
        yield f"The {reading.name} reading of the path: {reading.path}"
    denies = [rule for rule in reading.candidates if rule.effect == "deny"]
    allows = [rule for rule in reading.candidates if rule.effect == "allow"]
    count = len(reading.candidates)
    plural = "rule speaks" if count == 1 else "rules speak"
    rows = [_field("", f"{count or 'no'} {plural} about this host, path and method")]
    rows += [_candidate(rule) for rule in reading.candidates]
    rows += [_miss(miss) for miss in reading.near]
    if reading.near_omitted:
        rows.append(_field("not", f"{reading.near_omitted} more rules of this host"))
    of_today = f" with the set given, revision {today}" if today else ""
    yield from _section(f"3 Candidates{of_today}", [_field("", _NO_SET)] if unasked else rows)
    if reading.identity is not None:
        yield from _section(
            f"4 Identity: {reading.identity.standing.replace('_', ' ')}", _identity(reading.identity)
        )
    if reading.overrides:
        yield from _section("  Overrides, asked before everything below", [])
        yield from _rules(reading.overrides, paint)
        if any(rule.says in ("holds", "condition_failed") for rule in reading.overrides):
            yield from _wrapped(
                "That is the end: the rules below were not asked, this is what they say.", "  "
            )
    if denies:
        yield from _section("5 Deny rules", [])
        yield from _rules(denies, paint)
    if allows:
        yield from _section("6 Allow rules", [])
        yield from _rules(allows, paint)


_NO_SET = "not recorded; name the directories of the set to see its rules"


def _candidate(rule: RulePart) -> str:
    params = f", {_pairs(rule.params)}" if rule.params else ""
    path = rule.path or "every path"
    return _field("+", f"{rule.policy}/{rule.rule} ({rule.effect}): {rule.host} {path}{params}")


def _miss(miss: MissPart) -> str:
    because = " and ".join(miss.because)
    return _field("not", f"{miss.policy}/{miss.rule} ({miss.effect}), for its {because}: {miss.wants}")


def _identity(who: IdentityPart) -> Iterator[str]:
    for look in who.looked:
        rules = f", for {', '.join(look.rules)}" if look.rules else ""
        yield _field("looked at", f"{look.place}: {look.found} ({', '.join(look.providers)}{rules})")
    if not who.looked and who.standing == "not_looked_for":
        yield _field("", "no rule that speaks about this request names a provider")
    if who.played:
        yield _field("played", f"{who.played}, as if its holder sent it")
    if who.detail:
        yield _field("cause", f"{who.detail}: {who.meaning}")
    if who.key or who.key_id:
        yield _field("key", f"{who.key} (id {who.key_id})" if who.key else f"id {who.key_id}")
    for name, value in (
        ("provider", who.provider),
        ("customer", who.customer),
        ("scopes", ", ".join(who.scopes)),
    ):
        if value:
            yield _field(name, value)
    if who.labels:
        yield _field("labels", _pairs(who.labels))


_SAYS = {
    "does_not_fit": "does not fit",
    "condition_false": "its condition is false",
    "condition_failed": "its condition failed",
    "not_asked": "not asked: the credential is not good, and no rule for `anyone` holds",
    "not recorded": "not recorded",
}


def _rules(rules: list[RulePart] | tuple[RulePart, ...], paint: Paint) -> Iterator[str]:
    for rule in rules:
        yield from _rule(rule, paint)


def _rule(rule: RulePart, paint: Paint) -> Iterator[str]:
    deny = rule.effect == "deny"
    if rule.says == "holds":
        said, colour = ("DENIES", "red") if deny else ("allows", "green")
    elif rule.says == "condition_failed" and deny:
        said, colour = "its condition failed: DENIES", "red"
    else:
        said, colour = _SAYS[rule.says], ""
    name = f"  {rule.policy}/{rule.rule}"
    yield f"{name}: {paint(said, colour) if colour else said}"
    if rule.place:
        yield from _wrapped(rule.place, "    ")
    for fit in rule.fits:
        yield from _wrapped(_fit(fit), "    ", "      ")
    if rule.when is not None:
        when = rule.when
        yield from _wrapped(f"when {when.source}", "    ", "      ")
        yield from _wrapped(f"is {when.value}{f': {when.failure}' if when.failure else ''}", "      ")
        for name, value in when.variables.items():
            yield from _wrapped(f"{name} = {value}", "      ", "        ")
    if rule.limits and rule.says == "holds":
        yield from _wrapped(f"limits {', '.join(rule.limits)}", "    ")


def _fit(fit: FitPart) -> str:
    if fit.wants == "anyone":
        return "identity anyone: yes (whoever it is)"
    wants = fit.wants or "none"
    return f"{fit.part} {wants}: {'yes' if fit.fits else 'no'} ({fit.has or 'the request has none'})"


def _limit(limit: LimitPart) -> Iterator[str]:
    if limit.failure:
        yield _field(limit.name, limit.failure)
        return
    if limit.remaining >= 0 or not limit.rate:
        room = "had room" if limit.passes else "had no room"
        yield _field(limit.name, f"{room}, {max(0, limit.remaining)} tokens left")
        return
    source = "" if limit.rate_from == "limit" else f" (from {limit.rate_from})"
    never = "" if limit.passes is not False else ": never passes, the bucket holds less"
    yield _field(limit.name, f"{limit.rate}, burst {limit.burst:g}{source}; costs {limit.cost:g}{never}")
    yield _field("", f"bucket {' / '.join(limit.bucket)}")


def _shade(shade: ShadowPart) -> str:
    what = f"policy {shade.policy}" if shade.policy else ""
    what += f"{', ' if what else ''}limit {shade.limit}" if shade.limit else ""
    rule = f", rule {shade.rule}" if shade.rule else ""
    detail = f" ({shade.detail})" if shade.detail else ""
    turned = "; enforced, the outcome would be the other" if shade.changes else ""
    return _field(shade.outcome, f"{what}{rule}{detail}{turned}")


def _pairs(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _field(name: str, value: str) -> str:
    return f"{name:<{_LABEL - 1}} {value}".rstrip() if len(name) < _LABEL else f"{name} {value}"


def _wrapped(text: str, first: str, following: str = "") -> Iterator[str]:
    """Yield a text in lines of at most 100 columns; what client or file put into it moves no terminal."""
    safe = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
    yield from textwrap.wrap(
        safe,
        WIDTH,
        initial_indent=first,
        subsequent_indent=following or first,
        break_on_hyphens=False,
        drop_whitespace=True,
    ) or [first.rstrip()]
