"""One decision, one JSON line.

Its fields stand in `fields.py`. The line is ASCII whatever comes in: no terminal, collector or parser is
tricked by it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

import msgspec
from msgspec import Raw

from authz.model.decision import Allow, Answered, RuleName
from authz.model.identity import Identity, Standing
from authz.model.limit import Spent
from authz.model.reason import Detail, Reason
from authz.model.request import Request, Unreadable
from authz.model.shadow import Shade
from authz.model.trace import Steps
from authz.record import redact
from authz.record.fields import (
    NOTHING,
    VERSION,
    IdentityPart,
    LimitPart,
    Record,
    RequestPart,
    ShadowPart,
)
from authz.record.notice import rfc3339
from authz.record.pseudonym import Field, Pseudonyms
from authz.record.redact import clean

_to_json = msgspec.json.Encoder().encode

# Identities are made once per key, at load; so is their JSON. A token's identity only passes through here.
_IDENTITIES_MAX = 8192  # about 300 bytes each
_RULES_MAX = 4096
_SHADES_MAX = 16  # lines of `shadow` in a record: about 1.5 KiB
_NO_RULE = RuleName("", "")
_UNKNOWN = (Standing.INVALID, Standing.AMBIGUOUS)  # somebody, but nobody knows who
_ALLOWED = Reason.ALLOWED
_DEL = 0x7F
_NOT_PLAIN = re.compile(r"[^\x00-\x7e]")


class FixedFields(NamedTuple):
    """What is alike in every record of one snapshot."""

    sidecar: str
    revision: str
    source_revision: str = ""
    headers: tuple[str, ...] = ()  # request headers to record, from `redact.recordable`
    token_prefix: bytes = b""  # what every API token begins with; "" where nobody says
    stream: str = ""  # one life of one process: `seq` counts within it
    pseudonyms: Pseudonyms | None = None  # what of who asked is hidden; None: nothing


def encode(answered: Answered, fixed: FixedFields, seq: int) -> bytes:
    """Return the record of one check: one line of ASCII with its newline. No client input makes it raise."""
    try:
        line = _to_json(_record(answered, fixed, seq))
    except UnicodeEncodeError:  # a lone surrogate, which the room that reads should have refused
        line = _to_json(_record(_sound(answered), fixed, seq))
    # SECURITY: a path or a request id is the client's to write, and some write their key there.
    if fixed.token_prefix in line and fixed.token_prefix:
        line = redact.without_tokens(line, fixed.token_prefix)
    if fixed.pseudonyms is not None:
        line = _unnamed(line, fixed.pseudonyms)
    # SECURITY: the encoder escapes C0 and lets DEL, C1 and U+2028 through: they move terminals, split lines.
    plain = line.isascii() and _DEL not in line
    return line + b"\n" if plain else _escaped(line)


def _sound(answered: Answered) -> Answered:
    request = answered.request
    if isinstance(request, Request):
        return answered._replace(request=_shortened(request))
    return answered._replace(request=request._replace(trace_id=""))


def _record(answered: Answered, fixed: FixedFields, seq: int) -> Record:
    decision_id, time_us, request, caller, decision, status, duration_us, count, shadow, trace = answered
    detail: Detail | None
    rule: RuleName | None
    if isinstance(decision, Allow):
        rules = decision.grant.rules
        outcome, reason, detail, rule = "allow", _ALLOWED, caller.detail, rules[0]
        allowed_by, override = _rules_json(rules), False
    else:
        reason, detail, rule, _, _, override = decision
        outcome, detail, allowed_by = "deny", detail or caller.detail, NOTHING
    if isinstance(request, Request):
        request = request if _is_short(request) else _shortened(request)
        if _is_suspect(request):
            request = _masked(request)
        who = NOTHING if caller.standing in _UNKNOWN else _identity_json(caller.identity, fixed.pseudonyms)
        asked, request_id = _asked(request, fixed), request.request_id
    else:
        who, asked = NOTHING, _sent(request, fixed.pseudonyms)
        request_id = clean(redact.masked(request.request_id), redact.REQUEST_ID_MAX)
    policy, rule_name = rule or _NO_RULE
    record = Record(
        VERSION,
        rfc3339(time_us),
        decision_id,
        request_id,
        request.trace_id,
        fixed.sidecar,
        fixed.stream,
        seq,
        fixed.revision,
        fixed.source_revision,
        outcome,
        status,
        reason,
        detail or "",
        policy,
        rule_name,
        allowed_by,
        _shadow_json(shadow) if shadow else NOTHING,
        max(0, len(shadow) - _SHADES_MAX) if shadow else 0,
        who,
        asked,
        [
            LimitPart(spent.limit, spent.remaining, spent.store, spent.retry_ms)
            if spent.passed
            else _refusing(spent)
            for spent in decision.spent
        ],
        duration_us,
        count,
        override,
    )
    return record if trace is None else _traced(record, trace)


def _traced(record: Record, trace: Steps) -> Record:
    """Add the span; of a check that crashed nothing but this says which trace it belongs to."""
    return msgspec.structs.replace(
        record,
        trace_id=trace.trace_id,
        span_id=trace.span_id,
        parent_span_id=trace.parent_span_id,
        steps=trace.taken,
    )


def _refusing(spent: Spent) -> LimitPart:
    if spent.failed:
        return LimitPart(spent.limit, store=spent.store, refused="store")
    refused = "cost" if spent.retry_ms < 0 else "no_room"
    return LimitPart(spent.limit, spent.remaining, spent.store, spent.retry_ms, refused)


def _is_short(request: Request) -> bool:
    """Whether no text is longer than its bound: nearly always, and cheaper to ask at once than one by one."""
    return (
        len(request.path) <= redact.PATH_MAX
        and len(request.host) <= redact.HOST_MAX
        and len(request.sent_method) <= redact.METHOD_MAX
        and len(request.protocol) <= redact.PROTOCOL_MAX
        and len(request.request_id) <= redact.REQUEST_ID_MAX
    )


def _shortened(request: Request) -> Request:
    return request._replace(
        sent_method=clean(request.sent_method, redact.METHOD_MAX),
        host=clean(request.host, redact.HOST_MAX),
        path=clean(request.path, redact.PATH_MAX),
        protocol=clean(request.protocol, redact.PROTOCOL_MAX),
        request_id=clean(request.request_id, redact.REQUEST_ID_MAX),
        trace_id=clean(request.trace_id, redact.TRACE_ID_MAX),
    )


def _is_suspect(request: Request) -> bool:
    """Whether a secret may stand where clients write: the look itself costs 5 us, and few need it."""
    return (
        (len(request.path) > redact.FORM_MIN and max(map(len, request.segments)) > redact.FORM_MIN)
        or len(request.request_id) > redact.FORM_MIN
        or "%3F" in request.path
        or "_" in request.host
    )


def _masked(request: Request) -> Request:
    """Clients write these, and some write keys there; an escaped `?` begins what was meant as a query."""
    path, host = redact.masked(request.path.partition("%3F")[0]), redact.masked(request.host)
    request_id = redact.masked(request.request_id)
    if path is request.path and host is request.host and request_id is request.request_id:
        return request
    return request._replace(path=path, host=host, request_id=request_id)


def _asked(request: Request, fixed: FixedFields) -> RequestPart:
    return RequestPart(
        request.sent_method,
        request.host,
        request.path,
        request.protocol,
        request.client.address
        if fixed.pseudonyms is None
        else fixed.pseudonyms.address(request.client.address),
        request.size,
        redact.header_values(request.headers, fixed.headers) if fixed.headers else {},
    )


def _sent(request: Unreadable, hidden: Pseudonyms | None) -> RequestPart:
    return RequestPart(
        redact.clean_word(request.method, redact.METHOD_MAX),
        redact.clean_authority(request.host),
        redact.clean_path(request.path),
        redact.clean_word(request.protocol, redact.PROTOCOL_MAX),
        request.client.address if hidden is None else hidden.address(request.client.address),
        request.size,
    )


def _unnamed(line: bytes, hidden: Pseudonyms) -> bytes:
    """SECURITY: of a token that a client wrote into a path, the key's id was left."""
    return redact.without_key_ids(line) if hidden.hides(Field.KEY_ID) else line


@lru_cache(_IDENTITIES_MAX)
def _identity_json(identity: Identity, hidden: Pseudonyms | None) -> Raw:
    labels = list(identity.labels.items())[: redact.ITEMS_MAX]
    subject, key_id, customer = identity.subject, identity.key_id, identity.customer
    if hidden is not None:
        subject = hidden.subject(subject, key_id)
        key_id, customer = hidden.of(Field.KEY_ID, key_id), hidden.of(Field.CUSTOMER, customer)
    part = IdentityPart(
        kind=identity.kind,
        provider=identity.provider,
        subject=_name(subject),
        key_id=_name(key_id),
        customer=_name(customer),
        scopes=tuple(_name(scope) for scope in identity.scopes[: redact.ITEMS_MAX]),
        labels={_name(label): _name(value) for label, value in labels},
    )
    return Raw(_to_json(part))


def _name(text: str) -> str:
    return clean(text, redact.NAME_MAX)


@lru_cache(_RULES_MAX)
def _rules_json(rules: tuple[RuleName, ...]) -> Raw:
    return Raw(_to_json([f"{name.policy}/{name.rule}" for name in rules]))


def _shadow_json(shades: tuple[Shade, ...]) -> Raw:
    """Of too many, those that would have changed the outcome stay."""
    if len(shades) > _SHADES_MAX:
        shades = tuple(sorted(shades, key=lambda shade: not shade.changes)[:_SHADES_MAX])
    return Raw(_to_json([_shadow_part(shade) for shade in shades]))


def _shadow_part(shade: Shade) -> ShadowPart:
    would, policy, rule, limit, detail, changes, spent = shade
    if spent is None:
        return ShadowPart(policy, rule, limit, would, changes, detail or "")
    if spent.failed:
        return ShadowPart(policy, rule, limit, would, changes, store=spent.store)
    return ShadowPart(policy, rule, limit, would, changes, "", spent.remaining, spent.retry_ms, spent.store)


def _escaped(line: bytes) -> bytes:
    return _NOT_PLAIN.sub(_escape, line.decode()).encode("ascii") + b"\n"


def _escape(match: re.Match[str]) -> str:
    # Such characters stand only inside of JSON strings, where an escape says the same.
    units = match[0].encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
