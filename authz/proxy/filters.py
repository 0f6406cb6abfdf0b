"""Envoy's HTTP filters, in the order that matters: cors, ours, router."""

from __future__ import annotations

from datetime import timedelta

from authz.proxy import messages as m
from authz.proxy.choices import EnvoyChoices
from authz.proxy.cluster import AUTHZ
from authz.proxy.cors import CorsRules, origin_pattern

CORS_FILTER = "envoy.filters.http.cors"
AUTHZ_FILTER = "envoy.filters.http.ext_authz"
ROUTER_FILTER = "envoy.filters.http.router"

# The first finds another connection or another worker; more are for when all break at once.
_RETRIES = 3

_UNTOUCHABLE = "|".join(
    [
        "host",
        "x-forwarded-(for|host|port|proto)",
        "forwarded",
        "connection",
        "te",
        "upgrade",
        "transfer-encoding",
        "content-length",
    ]
)
"""Headers by which Envoy and the application frame or route a request; no answer of ours changes them.

Envoy lower-cases names before it matches, and refuses expressions of more than 100 RE2 instructions."""


def http_filters(choices: EnvoyChoices) -> list[m.HttpFilter]:
    """Return the filter chain.

    INVARIANT: ours comes before any filter that rewrites the path, and after cors alone: a preflight carries
    no credential, so asking us first would refuse it; cors answers only what its rules allow and passes the
    rest on to us.
    """
    chain = [(CORS_FILTER, m.Packed.pack(m.Cors()))] if choices.cors else []
    chain.append((AUTHZ_FILTER, m.Packed.pack(ext_authz(choices))))
    chain.append((ROUTER_FILTER, m.Packed.pack(m.Router())))
    return [m.HttpFilter(name=name, typed_config=config) for name, config in chain]


def ext_authz(choices: EnvoyChoices) -> m.ExtAuthz:
    """Return the filter that asks the sidecar."""
    return m.ExtAuthz(
        grpc_service=m.GrpcService(
            envoy_grpc=m.GrpcServiceEnvoyGrpc(cluster_name=AUTHZ),
            # Said aloud: integrations differ from 200 ms to ten minutes, and a slow answer holds a request.
            timeout=timedelta(milliseconds=choices.timeout_ms),
            retry_policy=_retry_policy(choices.timeout_ms, len(choices.authz)),
        ),
        # The only version that the sidecar speaks; without it Envoy asks for the one that no longer exists.
        transport_api_version=m.ApiVersion.V3,
        # SECURITY: an outage of ours must never let a request through.
        failure_mode_allow=False,
        # An outage is not a refusal: 503 tells clients to come back, and alerts what to look at.
        status_on_error=m.HttpStatus(code=m.StatusCode.ServiceUnavailable),
        # SECURITY: without raw headers duplicates arrive joined and bad bytes as `!`.
        encode_raw_headers=choices.raw_headers,
        # SECURITY: a header that cannot be set or removed as asked refuses the request; dropped in silence it
        # could have been the credential's removal or the identity's header.
        validate_mutations=True,
        decoder_header_mutation_rules=_mutation_rules(),
        # A header that we set must not choose another route after the decision was made for this one.
        clear_route_cache=False,
        # The check's latency for the access log.
        emit_filter_state_stats=True,
        # Dynamic metadata (decision id, reason) is taken in where the sidecar sends it, for the access log.
        enable_dynamic_metadata_ingestion=True,
        with_request_body=_body(choices.body_bytes),
    )


def _retry_policy(timeout_ms: int, sockets: int) -> m.RetryPolicy:
    """Ask once more where the connection broke, never where an answer came; all within the timeout.

    All checks of an Envoy thread share one connection, and a server of HTTP/2 ends it where clients hang up
    on many requests at once: without this, whoever else waits for an answer then gets a 503.
    What was judged before the connection broke may have spent tokens, so they may be spent twice.

    INVARIANT: `max_interval` is no shorter than the timeout. Envoy takes it for the time that one try may
    take, too: at 10 ms it hung up on every check that waited longer, and asked again. Source:
    `convertCoreToRouteRetryPolicy` in Envoy's source/common/http/utility.cc.
    """
    return m.RetryPolicy(
        # `unavailable` and `cancelled` are what a call gets from our libraries that reaches a sidecar in the
        # moment in which it stops to listen. They are never answers of ours, so Envoy may ask another one.
        retry_on="reset,connect-failure,refused-stream,unavailable,cancelled",
        # Enough for all sockets but one to be dead at once, since each is tried before any is tried again.
        # Plain turns are shared by all requests, so one may meet the same dead worker every time while others
        # meet the living; ejecting it takes a moment, and longer where Envoy's main thread must wait.
        num_retries=max(_RETRIES, sockets - 1),
        retry_host_predicate=[
            m.RetryPolicyRetryHostPredicate(
                name="envoy.retry_host_predicates.previous_hosts",
                typed_config=m.Packed.pack(m.PreviousHostsPredicate()),
            )
        ],
        # So many turns reach every socket; where all were tried, the last one is asked again.
        host_selection_retry_max_attempts=sockets,
        retry_back_off=m.BackoffStrategy(
            base_interval=timedelta(milliseconds=1), max_interval=timedelta(milliseconds=timeout_ms)
        ),
    )


def cors_policy(rules: CorsRules) -> m.CorsPolicy:
    """Return the rules in Envoy's words, for the virtual host."""
    return m.CorsPolicy(
        allow_origin_string_match=[_origin(origin) for origin in rules.allow_origins],
        allow_methods=", ".join(rules.allow_methods),
        allow_headers=", ".join(rules.allow_headers),
        expose_headers=", ".join(rules.expose_headers),
        max_age=str(rules.max_age),
        allow_credentials=rules.allow_credentials,
        # A preflight that the rules do not allow is a request like any other: the sidecar judges it.
        forward_not_matching_preflights=True,
    )


def _mutation_rules() -> m.HeaderMutationRules:
    """Let the sidecar set and remove ordinary headers, and none that routes or frames a request."""
    return m.HeaderMutationRules(
        allow_all_routing=False,  # host, :authority, :scheme, :method
        allow_envoy=False,  # x-envoy-*: retries, timeouts, routes
        disallow_system=True,  # every other header that begins with a colon
        disallow_expression=m.RegexMatcher(regex=_UNTOUCHABLE),
        disallow_is_error=True,  # see validate_mutations: in silence is worse than refused
    )


def _body(limit_bytes: int) -> m.BufferSettings | None:
    """Send the body along, whole or not at all: part of a body could be judged as all of it."""
    if not limit_bytes:
        return None
    # As bytes: a body in a string field loses whatever is not UTF-8.
    return m.BufferSettings(max_request_bytes=limit_bytes, allow_partial_message=False, pack_as_bytes=True)


def _origin(origin: str) -> m.StringMatcher:
    pattern = origin_pattern(origin)
    return (
        m.StringMatcher(safe_regex=m.RegexMatcher(regex=pattern))
        if pattern
        else m.StringMatcher(exact=origin)
    )
