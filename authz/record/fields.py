"""The fields of a record, in the order of its line. They are an allow-list: nothing else of a request can
reach a record. A field that does not apply is absent, never null.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Raw, Struct

from authz.model.trace import Step

VERSION = 1
NOTHING = Raw()  # omitted: it is the default of its fields


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
    allowed_by: Annotated[Raw, Meta(description="every allowing rule, as `policy/rule`")] = NOTHING
    shadow: Annotated[
        Raw, Meta(description="what documents in `mode: shadow` would have done; at most 16")
    ] = NOTHING
    shadow_omitted: Annotated[int, Meta(description="how many more there were; they are counted")] = 0
    identity: Annotated[Raw, Meta(description="who asked; absent unless proven or anonymous")] = NOTHING
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
