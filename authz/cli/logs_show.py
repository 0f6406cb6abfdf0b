"""One decision in full, for people: what was answered and why, who asked for what, limits, steps, shadow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import msgspec

from authz.cli.colour import coloured
from authz.cli.columns import field, pairs, section, wrapped
from authz.model.errors import ConfigError
from authz.model.meaning import DETAILS, REASONS
from authz.model.reason import Detail, Reason
from authz.record.fields import IdentityPart, LimitPart, Record, ShadowPart

_T = TypeVar("_T")
_REFUSED = {
    "no_room": "no room",
    "cost": "the request costs more than the bucket holds",
    "store": "its store did not answer, and it refuses then",
}
_DOES = {
    "allow": "would allow",
    "deny": "would refuse",
    "none": "no rule would decide",
    "error": "an expression failed",
    "undecidable": "takes a credential that was not read",
    "crashed": "crashed: a bug of ours",
}


def read_record(line: bytes) -> Record:
    """Return everything that stands in the record of a decision.

    Raises:
        ConfigError: a field is not of its type.
    """
    try:
        return msgspec.json.decode(line, type=Record)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ConfigError(f"the record cannot be read: {str(error).lower()[:200]}") from None


def lines(record: Record) -> Iterator[str]:
    """Yield a decision line by line, folded to the terminal.

    Raises:
        ConfigError: a part of it is not what it should be.
    """
    yield from _head(record)
    yield from section("Request", _request(record))
    yield from section("Caller", _caller(record))
    yield from section("Decided", _decided(record))
    if record.limits:
        yield from section("Limits", map(_limit, record.limits))
    shadow = _part(bytes(record.shadow), list[ShadowPart]) if bytes(record.shadow) else []
    if shadow:
        yield from section("Shadow: documents that are tried and change nothing", map(_shade, shadow))
        if record.shadow_omitted:
            yield from wrapped(f"and {record.shadow_omitted} more", "  ")
    if record.steps:
        yield from section("Steps", (f"{at_us / 1000:8.3f} ms  {name}" for name, at_us in record.steps))
    yield from section("Record", _about(record))


def _head(record: Record) -> Iterator[str]:
    allowed = record.outcome == "allow"
    detail = f" ({record.detail})" if record.detail else ""
    title = next(wrapped(f"{'ALLOWED' if allowed else 'DENIED'} {record.status} {record.reason}{detail}", ""))
    yield coloured(title, "green" if allowed else "red")
    for sentence in _meanings(record):
        yield from wrapped(sentence, "  ")


def _meanings(record: Record) -> Iterator[str]:
    """Yield what reason and detail mean; of what a later version may say, nothing."""
    try:
        reason = Reason(record.reason)
    except ValueError:
        return
    yield REASONS[reason]
    if record.detail in Detail.__members__.values():
        meaning = DETAILS.get(reason, {}).get(Detail(record.detail))
        if meaning:
            yield f"{record.detail}: {meaning}."
    if record.count > 1:
        yield f"It stands for {record.count} checks, which were refused unread."


def _request(record: Record) -> Iterator[str]:
    request = record.request
    if request is None:
        yield field("", "not recorded")
        return
    yield field("asked", f"{request.method} {request.host}{request.path}".strip())
    for name, value in (("client", request.client_address), ("protocol", request.protocol)):
        if value:
            yield field(name, value)
    if request.size >= 0:
        yield field("body", f"{request.size} bytes")
    for name, value in request.headers.items():
        yield field(name, value)


def _caller(record: Record) -> Iterator[str]:
    if not bytes(record.identity):
        yield field("", "nobody was proven")
        return
    who = _part(bytes(record.identity), IdentityPart)
    yield field("kind", f"{who.kind} by {who.provider}" if who.provider else who.kind)
    for name, value in (("customer", who.customer), ("key", who.key_id)):
        if value:
            yield field(name, value)
    if who.subject not in ("", who.key_id):
        yield field("subject", who.subject)
    if who.scopes:
        yield field("scopes", ", ".join(who.scopes))
    if who.labels:
        yield field("labels", pairs(who.labels))


def _decided(record: Record) -> Iterator[str]:
    if record.policy:
        yield field("rule", f"{record.policy}/{record.rule}" + (" (override)" if record.override else ""))
    allowing = _part(bytes(record.allowed_by), list[str]) if bytes(record.allowed_by) else []
    if len(allowing) > 1:
        yield field("allowed by", ", ".join(allowing))
    took = f", in {record.duration_us / 1000:.2f} ms" if record.duration_us >= 0 else ""
    yield field("when", f"{record.time}{took}")
    commit = f", of commit {record.source_revision}" if record.source_revision else ""
    yield field("revision", f"{record.revision or 'none: no policy set was in force'}{commit}")


def _limit(limit: LimitPart) -> str:
    left = f"{limit.remaining} left" if limit.remaining >= 0 else "nobody knows what is left"
    refused = _REFUSED.get(limit.refused, limit.refused)
    wait = f", room in {limit.retry_ms / 1000:g} s" if limit.retry_ms > 0 else ""
    verdict = f"REFUSED: {refused}{wait}" if limit.refused else "had room"
    where = f", in {limit.store}" if limit.store else ""
    return f"{limit.name}  {verdict}; {left}{where}"


def _shade(shade: ShadowPart) -> str:
    what = f"limit {shade.limit}" if shade.limit else "/".join(filter(None, (shade.policy, shade.rule)))
    does = _DOES.get(shade.outcome, shade.outcome)
    detail = f" ({shade.detail})" if shade.detail else ""
    return f"{what}  {does}{detail}" + ("; enforced, it would have turned this" if shade.changes else "")


def _about(record: Record) -> Iterator[str]:
    where = f"{record.stream}, number {record.seq}" if record.stream else ""
    for name, value in (
        ("decision", record.decision_id),
        ("request id", record.request_id),
        ("trace", record.trace_id),
        ("span", record.span_id),
        ("sidecar", record.sidecar),
        ("stream", where),
    ):
        if value:
            yield field(name, value)


def _part(raw: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ConfigError(f"the record cannot be read: {str(error).lower()[:200]}") from None
