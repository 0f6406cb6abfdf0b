"""One decision, one JSON line.

The fields below are an allow-list: nothing else of a request can reach a record. A field that does not apply
is absent, never null. The line is ASCII whatever comes in: no terminal, collector or parser is tricked by it.
"""

from __future__ import annotations

import re
import time
from functools import lru_cache
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta, Raw, Struct

from authz.model.decision import Allow, Answered, RuleName
from authz.model.identity import Identity, Standing
from authz.model.limit import Spent
from authz.model.reason import Detail, Reason
from authz.model.request import Request, Unreadable
from authz.model.shadow import Shade
from authz.model.trace import Step, Steps
from authz.record import redact
from authz.record.pseudonym import Field, Pseudonyms
from authz.record.redact import clean

VERSION = 1

_to_json = msgspec.json.Encoder().encode

# Identities are made once per key, at load; so is their JSON. A token's identity only passes through here.
_IDENTITIES_MAX = 8192  # about 300 bytes each
_RULES_MAX = 4096
_SHADES_MAX = 16  # lines of `shadow` in a record: about 1.5 KiB
_NOTHING = Raw()  # omitted: it is the default of its fields
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


class IdentityPart(Struct, omit_defaults=True, frozen=True):
    """Who asked: a proven caller, or `anonymous` where no credential was presented."""

    kind: Annotated[
        str,
        Meta(
            description="`api_key`, `jwt`, `signature`; or `anonymous`: nobody was proven, or no rule asked"
        ),
    ]
    provider: Annotated[str, Meta(description="name of the IdentityProvider")] = ""
    subject: Annotated[str, Meta(description="of a key: its id; of a token: its subject")] = ""
    key_id: Annotated[str, Meta(description="public id of the key")] = ""
    customer: Annotated[str, Meta(description="the customer")] = ""
    scopes: Annotated[tuple[str, ...], Meta(description="scopes of the key or token, at most 32")] = ()
    labels: Annotated[
        dict[str, str], Meta(description="labels, a key's own over its customer's, at most 32")
    ] = {}


class RequestPart(Struct, omit_defaults=True, frozen=True, gc=False):
    """What was asked: canonical where it could be read, as sent (shortened) where it could not."""

    method: Annotated[str, Meta(description="as sent: HEAD stays HEAD")] = ""
    host: Annotated[
        str, Meta(description="canonical host; as sent, less userinfo, where it could not be read")
    ] = ""
    path: Annotated[str, Meta(description="path without query")] = ""
    protocol: Annotated[str, Meta(description="`HTTP/1.1`, `HTTP/2`, ...")] = ""
    client_address: Annotated[str, Meta(description="address of the client, by the trusted hops")] = ""
    size: Annotated[int, Meta(description="bytes of the body, where Envoy knows")] = -1
    headers: Annotated[
        dict[str, str], Meta(description="those that `record_headers` lists, without queries")
    ] = {}


class LimitPart(Struct, omit_defaults=True, frozen=True, gc=False):
    """One limit that was asked."""

    name: Annotated[str, Meta(description="name of the Limit")]
    remaining: Annotated[int, Meta(description="whole tokens left; absent: nobody knows")] = -1
    store: Annotated[str, Meta(description="`memory`, `redis`, `outage` or `off`")] = ""
    retry_ms: Annotated[
        int, Meta(description="until it has room; 0: it had; absent: it never will, or nobody knows")
    ] = -1
    refused: Annotated[
        str,
        Meta(
            description="why it refused: `no_room`; `cost`, which is more than it ever holds; `store`, which"
            " did not answer, and the limit refuses then; absent: it did not refuse"
        ),
    ] = ""


class ShadowPart(Struct, omit_defaults=True, frozen=True, gc=False):
    """What one document in `mode: shadow` would have done; it changed nothing."""

    policy: Annotated[str, Meta(description="the policy; of a limit: the policy in shadow that names it")] = (
        ""
    )
    rule: Annotated[str, Meta(description="the rule that would have decided, or that kept it open")] = ""
    limit: Annotated[str, Meta(description="the Limit, whose bucket in shadow was asked")] = ""
    outcome: Annotated[
        str,
        Meta(
            description="`allow`, `deny`, `none` (no rule would decide), `error` (an expression failed),"
            " `undecidable` (it takes a credential that was not read), `crashed` (a bug of ours)"
        ),
    ] = ""
    changes: Annotated[
        bool, Meta(description="true: enforced, this document would have turned the outcome around")
    ] = False
    detail: Annotated[str, Meta(description="why an expression failed: see reasons.md")] = ""
    remaining: Annotated[int, Meta(description="of a limit: whole tokens left; absent: nobody knows")] = -1
    retry_ms: Annotated[
        int, Meta(description="of a limit: until it has room; absent: it never will, or nobody knows")
    ] = -1
    store: Annotated[str, Meta(description="of a limit: `memory`, `redis`, `outage` or `off`")] = ""


class Record(Struct, omit_defaults=True, frozen=True, gc=False):
    """One decision. The order here is the order in the line.

    Every field has a default so that all can be passed by place (names cost 0.6 us more); the default of one
    that is always there is a value that it never has.
    """

    v: Annotated[int, Meta(description="version of this format: 1")] = 0
    time: Annotated[str, Meta(description="when it was judged: RFC 3339, UTC, microseconds")] = ""
    decision_id: Annotated[str, Meta(description="UUIDv7; also in the header `x-authz-decision-id`")] = ""
    request_id: Annotated[str, Meta(description="header `x-request-id`")] = ""
    trace_id: Annotated[str, Meta(description="trace of a valid `traceparent`")] = ""
    sidecar: Annotated[str, Meta(description="name of the sidecar; a worker adds its number")] = ""
    stream: Annotated[
        str, Meta(description="one life of one process: 16 hex digits; later ones sort later")
    ] = ""
    seq: Annotated[
        int, Meta(description="counts the records of one stream: what is missing is counted by a gap")
    ] = -1
    revision: Annotated[str, Meta(description="revision of the policy set; absent before the first set")] = ""
    source_revision: Annotated[str, Meta(description="commit that the documents come from, if given")] = ""
    outcome: Annotated[str, Meta(description="`allow` or `deny`")] = ""
    status: Annotated[int, Meta(description="HTTP status that the client saw; 302 for a redirect")] = -1
    reason: Annotated[str, Meta(description="why: see reasons.md")] = ""
    detail: Annotated[str, Meta(description="the finer cause: see reasons.md")] = ""
    policy: Annotated[str, Meta(description="policy of the deciding rule")] = ""
    rule: Annotated[
        str,
        Meta(
            description="the deciding rule; of several that allow, the first by name; where a limit refused,"
            " the allow rule that spends it"
        ),
    ] = ""
    allowed_by: Annotated[Raw, Meta(description="every allowing rule, as `policy/rule`")] = _NOTHING
    shadow: Annotated[
        Raw, Meta(description="what documents in `mode: shadow` would have done; at most 16")
    ] = _NOTHING
    shadow_omitted: Annotated[int, Meta(description="how many more there were; they are counted")] = 0
    identity: Annotated[Raw, Meta(description="who asked; absent unless proven or anonymous")] = _NOTHING
    request: Annotated[RequestPart | None, Meta(description="what was asked")] = None
    limits: Annotated[list[LimitPart], Meta(description="limits that were asked")] = []
    duration_us: Annotated[int, Meta(description="from taking the call to handing over the reply")] = -1
    count: Annotated[
        int, Meta(description="checks that one decision refused unread, under overload; absent: one")
    ] = 1
    override: Annotated[
        bool, Meta(description="`true` where policy and rule stand in the overrides; else absent")
    ] = False
    span_id: Annotated[
        str, Meta(description="its span, where it is traced: see tracing.md; 16 hex digits")
    ] = ""
    parent_span_id: Annotated[str, Meta(description="the span of whoever asked; where it is traced")] = ""
    steps: Annotated[
        list[Step],
        Meta(
            description="of a traced check: each step, and microseconds from taking the call until it was"
            " done; see tracing.md"
        ),
    ] = []


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
        outcome, detail, allowed_by = "deny", detail or caller.detail, _NOTHING
    if isinstance(request, Request):
        request = request if _is_short(request) else _shortened(request)
        if _is_suspect(request):
            request = _masked(request)
        who = _NOTHING if caller.standing in _UNKNOWN else _identity_json(caller.identity, fixed.pseudonyms)
        asked, request_id = _asked(request, fixed), request.request_id
    else:
        who, asked = _NOTHING, _sent(request, fixed.pseudonyms)
        request_id = clean(redact.masked(request.request_id), redact.REQUEST_ID_MAX)
    policy, rule_name = rule or _NO_RULE
    record = Record(
        VERSION,
        _rfc3339(time_us),
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
        _shadow_json(shadow) if shadow else _NOTHING,
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


@lru_cache(4)  # a batch has one time
def _rfc3339(time_us: int) -> str:
    second, rest_us = divmod(time_us, 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{rest_us:06}Z"


def _escaped(line: bytes) -> bytes:
    return _NOT_PLAIN.sub(_escape, line.decode()).encode("ascii") + b"\n"


def _escape(match: re.Match[str]) -> str:
    # Such characters stand only inside of JSON strings, where an escape says the same.
    units = match[0].encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
