"""One decision, step by step: what `explain` gives, and the JSON that it prints.

A field that does not apply is absent, never null. `docs/explain.md` tables these fields, from here.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

VERSION = 1


class FitPart(Struct, omit_defaults=True, frozen=True):
    """One thing that a rule asks of a request, and whether it has it."""

    part: Annotated[str, Meta(description="`identity`, `peers`, `addresses` or `upgrade`")]
    fits: Annotated[bool, Meta(description="whether it does")]
    wants: Annotated[str, Meta(description="what the rule names")] = ""
    has: Annotated[str, Meta(description="what the request has")] = ""


class WhenPart(Struct, omit_defaults=True, frozen=True):
    """A condition, and what it said."""

    source: Annotated[str, Meta(description="the expression")]
    value: Annotated[str, Meta(description="`true`, `false`, `failed` or `not recorded`")]
    failure: Annotated[str, Meta(description="why it failed")] = ""
    variables: Annotated[
        dict[str, str], Meta(description="variables that it names, as it saw them; credentials are `***`")
    ] = {}


class RulePart(Struct, omit_defaults=True, frozen=True):
    """One rule that speaks about this host, method and path."""

    policy: Annotated[str, Meta(description="its policy")]
    rule: Annotated[str, Meta(description="its name")]
    effect: Annotated[str, Meta(description="`allow` or `deny`")]
    says: Annotated[
        str,
        Meta(
            description="`holds`, `does_not_fit`, `condition_false`, `condition_failed`; or `not_asked`:"
            " a credential that is not good ended it before; or `not recorded`"
        ),
    ]
    place: Annotated[str, Meta(description="where it stands: file:line:column")] = ""
    host: Annotated[str, Meta(description="the host pattern that matches")] = ""
    path: Annotated[str, Meta(description="the path pattern that matches; absent: every path")] = ""
    params: Annotated[dict[str, str], Meta(description="what the patterns captured")] = {}
    fits: Annotated[tuple[FitPart, ...], Meta(description="what else it asks of the request")] = ()
    when: Annotated[WhenPart | None, Meta(description="its condition, where it has one and fits")] = None
    limits: Annotated[tuple[str, ...], Meta(description="limits that it spends")] = ()


class MissPart(Struct, omit_defaults=True, frozen=True):
    """A rule of this host that does not speak about this request."""

    policy: Annotated[str, Meta(description="its policy")]
    rule: Annotated[str, Meta(description="its name")]
    effect: Annotated[str, Meta(description="`allow` or `deny`")]
    because: Annotated[tuple[str, ...], Meta(description="`path`, `method`, `grpc`: what does not match")]
    wants: Annotated[str, Meta(description="what the rule names there")] = ""
    place: Annotated[str, Meta(description="where it stands: file:line:column")] = ""


class LookPart(Struct, omit_defaults=True, frozen=True):
    """One place that was looked at for a credential."""

    place: Annotated[str, Meta(description="header, cookie or query parameter")]
    providers: Annotated[tuple[str, ...], Meta(description="providers that read it")]
    rules: Annotated[tuple[str, ...], Meta(description="allow rules that name them, as `policy/rule`")]
    found: Annotated[str, Meta(description="`nothing`, `a credential` or `more than one`")]


class IdentityPart(Struct, omit_defaults=True, frozen=True):
    """Who asks, and how that is known."""

    standing: Annotated[
        str,
        Meta(
            description="`proven`, `missing`, `invalid`, `ambiguous`; `not_looked_for`: no candidate allow"
            " rule names a provider; of a record also `anonymous` (nobody was proven) and `not recorded`"
        ),
    ]
    looked: Annotated[tuple[LookPart, ...], Meta(description="places that were looked at")] = ()
    played: Annotated[str, Meta(description="whose credential `--as` or `--identity` presented")] = ""
    detail: Annotated[str, Meta(description="why it is invalid: see reasons.md")] = ""
    meaning: Annotated[str, Meta(description="that, in words")] = ""
    kind: Annotated[str, Meta(description="`api_key`, `jwt`, `signature` or `anonymous`")] = ""
    provider: Annotated[str, Meta(description="the IdentityProvider")] = ""
    key: Annotated[str, Meta(description="name of the ApiKey document")] = ""
    key_id: Annotated[str, Meta(description="public id of the key")] = ""
    subject: Annotated[str, Meta(description="who, in the provider's words")] = ""
    customer: Annotated[str, Meta(description="the customer")] = ""
    scopes: Annotated[tuple[str, ...], Meta(description="scopes")] = ()
    labels: Annotated[dict[str, str], Meta(description="labels, a key's own over its customer's")] = {}


class ReadingPart(Struct, omit_defaults=True, frozen=True):
    """One reading of the path, judged; a Site that keeps `;` or `%2F` has two."""

    path: Annotated[str, Meta(description="the canonical path")]
    name: Annotated[str, Meta(description="`structural` or `data`, where there are two")] = ""
    overrides: Annotated[
        tuple[RulePart, ...], Meta(description="rules of the overrides that speak about it; asked first")
    ] = ()
    candidates: Annotated[
        tuple[RulePart, ...], Meta(description="rules whose host, method and path match")
    ] = ()
    near: Annotated[
        tuple[MissPart, ...], Meta(description="rules of this host that do not match, the nearest first")
    ] = ()
    near_omitted: Annotated[int, Meta(description="how many more of them there are")] = 0
    identity: Annotated[IdentityPart | None, Meta(description="who asks")] = None
    ends: Annotated[str, Meta(description="`granted`, or the reason of the refusal")] = ""


class LimitPart(Struct, omit_defaults=True, frozen=True):
    """One bucket that an allowing rule draws from."""

    name: Annotated[str, Meta(description="name of the Limit")]
    rules: Annotated[tuple[str, ...], Meta(description="allowing rules that spend it, as `policy/rule`")]
    bucket: Annotated[tuple[str, ...], Meta(description="the parts of the bucket's name")] = ()
    rate: Annotated[str, Meta(description="how fast it refills")] = ""
    burst: Annotated[float, Meta(description="tokens that it holds")] = -1.0
    cost: Annotated[float, Meta(description="tokens that the request takes")] = -1.0
    rate_from: Annotated[str, Meta(description="`limit`, `tier 1` (2, ...) or `key or customer`")] = ""
    remaining: Annotated[int, Meta(description="of a record: whole tokens left")] = -1
    passes: Annotated[
        bool | None, Meta(description="whether a full bucket has room; of a record: whether it had")
    ] = None
    failure: Annotated[str, Meta(description="why the bucket cannot be named or the cost not be told")] = ""
    refused: Annotated[str, Meta(description="of a record: why it refused, as in records.md")] = ""


class UpstreamPart(Struct, omit_defaults=True, frozen=True):
    """What an allowed request looks like to the application."""

    sets: Annotated[dict[str, str], Meta(description="headers that it gets; cookies are `***`")] = {}
    removes: Annotated[tuple[str, ...], Meta(description="headers that it does not get")] = ()
    removes_query: Annotated[tuple[str, ...], Meta(description="query parameters that it does not get")] = ()


class ShadowPart(Struct, omit_defaults=True, frozen=True):
    """What a document in `mode: shadow` would have said; as in records."""

    outcome: Annotated[str, Meta(description="as in records.md")]
    policy: Annotated[str, Meta(description="the policy")] = ""
    rule: Annotated[str, Meta(description="the rule")] = ""
    limit: Annotated[str, Meta(description="the Limit")] = ""
    detail: Annotated[str, Meta(description="why an expression failed")] = ""
    changes: Annotated[bool, Meta(description="true: enforced, the outcome would be the other")] = False


class RequestPart(Struct, omit_defaults=True, frozen=True):
    """The request, as sent and as it is judged. Where it could not be read, only as sent."""

    method: Annotated[str, Meta(description="as it is judged: HEAD is GET")] = ""
    sent_method: Annotated[str, Meta(description="as sent, where that differs")] = ""
    scheme: Annotated[str, Meta(description="`http` or `https`")] = ""
    host: Annotated[str, Meta(description="canonical host")] = ""
    sent_host: Annotated[str, Meta(description="as sent, where that differs")] = ""
    path: Annotated[str, Meta(description="canonical path, without query")] = ""
    sent_path: Annotated[str, Meta(description="as sent, without query, where that differs")] = ""
    segments: Annotated[tuple[str, ...], Meta(description="segments of the path, still escaped")] = ()
    query: Annotated[tuple[str, ...], Meta(description="names of query parameters; never their values")] = ()
    headers: Annotated[tuple[str, ...], Meta(description="names of headers")] = ()
    strays: Annotated[
        tuple[str, ...], Meta(description="headers that only we may set: the application never sees these")
    ] = ()
    upgrade: Annotated[tuple[str, ...], Meta(description="protocols that it asks to switch to")] = ()
    grpc: Annotated[bool, Meta(description="true: a gRPC call")] = False
    protocol: Annotated[str, Meta(description="`HTTP/1.1`, `HTTP/2`, ...")] = ""
    address: Annotated[str, Meta(description="the client's address")] = ""
    network: Annotated[str, Meta(description="the client's network")] = ""
    address_from: Annotated[str, Meta(description="where the address comes from")] = ""
    principal: Annotated[str, Meta(description="the workload that Envoy authenticated by mTLS")] = ""
    fault: Annotated[str, Meta(description="why it cannot be read: see reasons.md")] = ""


class SitePart(Struct, omit_defaults=True, frozen=True):
    """The Site that speaks about the host."""

    name: Annotated[str, Meta(description="its name; absent: no Site does, the defaults hold")] = ""
    place: Annotated[str, Meta(description="where it stands: file:line:column")] = ""
    keeps: Annotated[
        tuple[str, ...], Meta(description="`matrixParameters`, `encodedSlash`: read in two ways")
    ] = ()
    guard: Annotated[
        str, Meta(description="how many faults a client network may send; never counted here")
    ] = ""
    reasons: Annotated[str, Meta(description="`coarse` or `full`: what the client is told")] = ""


class AnswerPart(Struct, omit_defaults=True, frozen=True):
    """How it ends."""

    outcome: Annotated[str, Meta(description="`allow` or `deny`")]
    status: Annotated[int, Meta(description="HTTP status that the client sees; 200 for an allow")]
    reason: Annotated[str, Meta(description="why: see reasons.md")]
    meaning: Annotated[str, Meta(description="the reason, in words")]
    detail: Annotated[str, Meta(description="the finer cause")] = ""
    detail_meaning: Annotated[str, Meta(description="the finer cause, in words")] = ""
    policy: Annotated[str, Meta(description="policy of the deciding rule")] = ""
    rule: Annotated[str, Meta(description="the deciding rule; of several that allow, the first by name")] = ""
    override: Annotated[bool, Meta(description="true: the rule stands in the overrides")] = False
    allowed_by: Annotated[tuple[str, ...], Meta(description="every allowing rule, as `policy/rule`")] = ()
    told: Annotated[str, Meta(description="what `x-authz-reason` tells the client")] = ""
    headers: Annotated[dict[str, str], Meta(description="headers of the refusal")] = {}


class Explanation(Struct, omit_defaults=True, frozen=True):
    """One decision. The order here is that of the steps."""

    v: Annotated[int, Meta(description="version of this format: 1")]
    source: Annotated[str, Meta(description="`request`: judged now; `record`: what a record keeps")]
    revision: Annotated[str, Meta(description="revision of the set that judged")]
    time: Annotated[str, Meta(description="the time at which it is judged: RFC 3339, UTC")]
    answer: Annotated[AnswerPart, Meta(description="how it ends")]
    why: Annotated[tuple[str, ...], Meta(description="that, in sentences")] = ()
    decision_id: Annotated[str, Meta(description="of a record: its id")] = ""
    set_revision: Annotated[str, Meta(description="of a record: revision of the set that was given")] = ""
    request: Annotated[RequestPart | None, Meta(description="the request")] = None
    site: Annotated[SitePart | None, Meta(description="the Site in force")] = None
    readings: Annotated[
        tuple[ReadingPart, ...], Meta(description="what was judged, one after the other")
    ] = ()
    limits: Annotated[
        tuple[LimitPart, ...], Meta(description="buckets that would be drawn from; nothing is")
    ] = ()
    headers_failed: Annotated[
        tuple[str, ...], Meta(description="headers of `onAllow` whose value refuses the request, in words")
    ] = ()
    upstream: Annotated[UpstreamPart | None, Meta(description="of an allow: what the application sees")] = (
        None
    )
    shadow: Annotated[tuple[ShadowPart, ...], Meta(description="what documents in shadow say")] = ()
    not_recorded: Annotated[tuple[str, ...], Meta(description="of a record: what it does not keep")] = ()
