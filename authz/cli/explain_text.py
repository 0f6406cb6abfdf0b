"""An explanation as people read it: the answer and why, then the steps in the order in which they decide."""

from __future__ import annotations

from collections.abc import Iterator

from authz.cli.colour import coloured
from authz.cli.columns import field, pairs, section, wrapped
from authz.cli.explain_rules import Paint, rule_lines
from authz.rehearsal.explaining.explanation import (
    Explanation,
    IdentityPart,
    LimitPart,
    MissPart,
    ReadingPart,
    RequestPart,
    RulePart,
    ShadowPart,
    SitePart,
)
from authz.rehearsal.explaining.why import refusal_of


def lines(explained: Explanation, paint: Paint = coloured) -> Iterator[str]:
    """Yield an explanation line by line, none longer than 100 columns but for words that are."""
    yield from _head(explained, paint)
    if explained.request is not None:
        yield from section("1 Request", _request(explained.request))
    if explained.site is not None:
        yield from section("  Site", _site(explained.site))
    if explained.site is not None and explained.site.guard:
        yield from section("2 Guard", [field("faults", f"{explained.site.guard}; not counted here")])
    today = explained.set_revision if explained.set_revision != explained.revision else ""
    for reading in explained.readings:
        yield from _reading(
            reading, paint, today, explained.source == "record" and not explained.set_revision
        )
    if explained.limits:
        yield from section("7 Limits", [line for limit in explained.limits for line in _limit(limit)])
    if explained.upstream is not None:
        sets = explained.upstream.sets
        rows = [field(name, value) for name, value in sets.items()]
        removes = (
            *explained.upstream.removes,
            *(f"query {name}" for name in explained.upstream.removes_query),
        )
        rows += [field("removed", ", ".join(removes))] if removes else []
        yield from section("8 The application sees", rows or [field("", "the request as it came")])
    elif explained.answer.headers or explained.answer.told:
        rows = [field("reason", explained.answer.told)]
        rows += [field(name, value) for name, value in explained.answer.headers.items()]
        yield from section("8 The client is told", rows)
    if explained.shadow:
        yield from section(
            "  Shadow: documents that are tried and change nothing", map(_shade, explained.shadow)
        )
    if explained.not_recorded:
        yield from section("  Not recorded", [field("", ", ".join(explained.not_recorded))])


def _head(explained: Explanation, paint: Paint) -> Iterator[str]:
    answer = explained.answer
    allowed = answer.outcome == "allow"
    word = "ALLOWED" if allowed else "DENIED"
    detail = f" ({answer.detail})" if answer.detail else ""
    yield paint(f"{word} {answer.status} {answer.reason}{detail}", "green" if allowed else "red")
    yield from wrapped(answer.meaning, "  ")
    for sentence in explained.why:
        yield from wrapped(sentence, "  - ", "    ")
    yield ""
    yield from wrapped(_asked(explained), "")


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


def _request(request: RequestPart) -> Iterator[str]:
    if request.fault:
        yield field("unread", request.fault)
    for name, value, sent in (
        ("method", request.method, request.sent_method),
        ("host", request.host, request.sent_host),
        ("path", request.path, request.sent_path),
    ):
        yield field(name, _both(value, sent))
    if request.segments:
        yield field("segments", " | ".join(request.segments))
    if request.query:
        yield field("query", f"{', '.join(request.query)} (values are not shown)")
    if request.headers:
        yield field("headers", ", ".join(request.headers))
    if request.strays:
        yield field("removed", f"{', '.join(request.strays)}: only we may set these")
    if request.upgrade:
        yield field("upgrade", ", ".join(request.upgrade))
    if request.grpc:
        yield field("gRPC", "yes")
    address = request.address or "none"
    yield field("client", f"{address}, {request.address_from}" if request.address_from else address)
    if request.principal:
        yield field("peer", request.principal)


def _both(value: str, sent: str) -> str:
    if not value:
        return f"{sent} (as sent)"
    return f"{value} (as sent: {sent})" if sent else value


def _site(site: SitePart) -> Iterator[str]:
    yield field(
        "site", f"{site.name} ({site.place})" if site.name else "none speaks about this host: defaults"
    )
    if site.keeps:
        yield field("keeps", f"{', '.join(site.keeps)}: a path that has them is read in two ways")
    yield field("reasons", f"{site.reasons}: how much the client is told")


def _reading(reading: ReadingPart, paint: Paint, today: str, unasked: bool) -> Iterator[str]:
    if reading.name:
        yield ""
        yield f"The {reading.name} reading of the path: {reading.path}"
    denies = [rule for rule in reading.candidates if rule.effect == "deny"]
    allows = [rule for rule in reading.candidates if rule.effect == "allow"]
    count = len(reading.candidates)
    plural = "rule speaks" if count == 1 else "rules speak"
    rows = [field("", f"{count or 'no'} {plural} about this host, path and method")]
    rows += [_candidate(rule) for rule in reading.candidates]
    rows += [_miss(miss) for miss in reading.near]
    if reading.near_omitted:
        rows.append(field("not", f"{reading.near_omitted} more rules of this host"))
    of_today = f" with the set given, revision {today}" if today else ""
    yield from section(f"3 Candidates{of_today}", [field("", _NO_SET)] if unasked else rows)
    if reading.identity is not None:
        yield from section(
            f"4 Identity: {reading.identity.standing.replace('_', ' ')}", _identity(reading.identity)
        )
    if reading.overrides:
        yield from section("  Overrides, asked before everything below", [])
        yield from rule_lines(reading.overrides, paint)
        if any(rule.says in ("holds", "condition_failed") for rule in reading.overrides):
            yield from wrapped(
                "That is the end: the rules below were not asked, this is what they say.", "  "
            )
    if denies:
        yield from section("5 Deny rules", [])
        yield from rule_lines(denies, paint)
    if allows:
        yield from section("6 Allow rules", [])
        yield from rule_lines(allows, paint)


_NO_SET = "not recorded; name the directories of the set to see its rules"


def _candidate(rule: RulePart) -> str:
    params = f", {pairs(rule.params)}" if rule.params else ""
    path = rule.path or "every path"
    return field("+", f"{rule.policy}/{rule.rule} ({rule.effect}): {rule.host} {path}{params}")


def _miss(miss: MissPart) -> str:
    because = " and ".join(miss.because)
    return field("not", f"{miss.policy}/{miss.rule} ({miss.effect}), for its {because}: {miss.wants}")


def _identity(who: IdentityPart) -> Iterator[str]:
    for look in who.looked:
        rules = f", for {', '.join(look.rules)}" if look.rules else ""
        yield field("looked at", f"{look.place}: {look.found} ({', '.join(look.providers)}{rules})")
    if not who.looked and who.standing == "not_looked_for":
        yield field("", "no rule that speaks about this request names a provider")
    if who.played:
        yield field("played", f"{who.played}, as if its holder sent it")
    if who.detail:
        yield field("cause", f"{who.detail}: {who.meaning}")
    if who.key or who.key_id:
        yield field("key", f"{who.key} (id {who.key_id})" if who.key else f"id {who.key_id}")
    for name, value in (
        ("provider", who.provider),
        ("customer", who.customer),
        ("scopes", ", ".join(who.scopes)),
    ):
        if value:
            yield field(name, value)
    if who.labels:
        yield field("labels", pairs(who.labels))


def _limit(limit: LimitPart) -> Iterator[str]:
    if limit.failure:
        yield field(limit.name, limit.failure)
        return
    if limit.remaining >= 0 or not limit.rate:
        room = "had room" if limit.passes else refusal_of(limit)
        left = f", {limit.remaining} tokens left" if limit.remaining >= 0 else ""
        yield field(limit.name, room + left)
        return
    source = "" if limit.rate_from == "limit" else f" (from {limit.rate_from})"
    never = "" if limit.passes is not False else ": never passes, the bucket holds less"
    yield field(limit.name, f"{limit.rate}, burst {limit.burst:g}{source}; costs {limit.cost:g}{never}")
    yield field("", f"bucket {' / '.join(limit.bucket)}")


def _shade(shade: ShadowPart) -> str:
    what = f"policy {shade.policy}" if shade.policy else ""
    what += f"{', ' if what else ''}limit {shade.limit}" if shade.limit else ""
    rule = f", rule {shade.rule}" if shade.rule else ""
    detail = f" ({shade.detail})" if shade.detail else ""
    turned = "; enforced, the outcome would be the other" if shade.changes else ""
    return field(shade.outcome, f"{what}{rule}{detail}{turned}")
