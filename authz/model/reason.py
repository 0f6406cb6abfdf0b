"""Why a check ended as it did: one closed enum for replies, records, metrics and documents.

Source: section 5 of the contract, repeated for readers in `docs/reasons.md` (generated from here).
"""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Outcome(StrEnum):
    """The two ways a check can end."""

    ALLOW = "allow"
    DENY = "deny"


class Code(IntEnum):
    """`google.rpc` status codes that an answer may carry. Source: google/rpc/code.proto."""

    OK = 0
    INVALID_ARGUMENT = 3
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


class Reason(StrEnum):
    """Why a check ended so, in the words of records and metrics."""

    ALLOWED = "allowed"
    BAD_REQUEST = "bad_request"
    CREDENTIAL_MISSING = "credential_missing"
    CREDENTIAL_AMBIGUOUS = "credential_ambiguous"
    CREDENTIAL_INVALID = "credential_invalid"
    NO_MATCHING_POLICY = "no_matching_policy"
    NOT_PERMITTED = "not_permitted"
    DENIED_BY_RULE = "denied_by_rule"
    RULE_ERROR = "rule_error"
    GUARDED = "guarded"
    RATE_LIMITED = "rate_limited"
    STORE_UNAVAILABLE = "store_unavailable"
    OVERLOADED = "overloaded"
    NOT_READY = "not_ready"
    INTERNAL_ERROR = "internal_error"


class Coarse(StrEnum):
    """Why a check was refused, in the words that the client is told by default."""

    BAD_REQUEST = "bad_request"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    LIMITED = "limited"
    UNAVAILABLE = "unavailable"


class Detail(StrEnum):
    """A finer cause, for the record only; of `bad_request` it also chooses the status."""

    # bad_request
    UNDECODABLE = "undecodable"
    TOO_LARGE = "too_large"
    HOST_INVALID = "host_invalid"
    HOST_NOT_SERVED = "host_not_served"
    METHOD_INVALID = "method_invalid"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    METHOD_OVERRIDE = "method_override"
    PATH_INVALID = "path_invalid"
    PATH_AMBIGUOUS = "path_ambiguous"
    PATH_TOO_LONG = "path_too_long"
    QUERY_INVALID = "query_invalid"
    HEADER_INVALID = "header_invalid"
    HEADER_AMBIGUOUS = "header_ambiguous"
    HEADERS_TOO_LARGE = "headers_too_large"
    UPGRADE_REFUSED = "upgrade_refused"
    SCHEME_INVALID = "scheme_invalid"
    # credential_invalid
    CREDENTIAL_MALFORMED = "credential_malformed"
    CREDENTIAL_NOT_OWNED = "credential_not_owned"
    KEY_UNKNOWN = "key_unknown"
    KEY_SECRET_WRONG = "key_secret_wrong"  # noqa: S105 - a cause, not a secret
    KEY_REVOKED = "key_revoked"
    KEY_EXPIRED = "key_expired"
    KEY_NOT_YET_VALID = "key_not_yet_valid"
    KEY_ADDRESS = "key_address"
    CUSTOMER_DISABLED = "customer_disabled"
    PEPPER_MISSING = "pepper_missing"
    COOKIE_CROSS_SITE = "cookie_cross_site"
    # not_permitted, rule_error
    RULE_ERROR = "rule_error"
    LIMIT_NAME_EMPTY = "limit_name_empty"
    LIMIT_COST_INVALID = "limit_cost_invalid"
    HEADER_VALUE_INVALID = "header_value_invalid"
    # rate_limited
    COST_EXCEEDS_BURST = "cost_exceeds_burst"
    # overloaded
    DEADLINE = "deadline"
    BACKLOG = "backlog"
    UNRECORDED = "unrecorded"


_STATUS: dict[Reason, int] = {
    Reason.ALLOWED: 200,
    Reason.BAD_REQUEST: 400,
    Reason.CREDENTIAL_MISSING: 401,
    Reason.CREDENTIAL_AMBIGUOUS: 401,
    Reason.CREDENTIAL_INVALID: 401,
    Reason.NO_MATCHING_POLICY: 403,
    Reason.NOT_PERMITTED: 403,
    Reason.DENIED_BY_RULE: 403,
    Reason.RULE_ERROR: 403,
    Reason.GUARDED: 429,
    Reason.RATE_LIMITED: 429,
    Reason.STORE_UNAVAILABLE: 503,
    Reason.OVERLOADED: 503,
    Reason.NOT_READY: 503,
    Reason.INTERNAL_ERROR: 503,
}

_BAD_REQUEST_STATUS: dict[Detail, int] = {
    Detail.METHOD_NOT_ALLOWED: 405,
    Detail.TOO_LARGE: 413,
    Detail.PATH_TOO_LONG: 414,
    Detail.HOST_NOT_SERVED: 421,
    Detail.HEADERS_TOO_LARGE: 431,
}

_COARSE_BY_STATUS: dict[int, Coarse] = {
    401: Coarse.UNAUTHENTICATED,
    403: Coarse.FORBIDDEN,
    429: Coarse.LIMITED,
    503: Coarse.UNAVAILABLE,
}

_CODE_BY_STATUS: dict[int, Code] = {
    200: Code.OK,
    302: Code.UNAUTHENTICATED,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    429: Code.RESOURCE_EXHAUSTED,
    503: Code.UNAVAILABLE,
}


def status_of(reason: Reason, detail: Detail | None = None) -> int:
    """Return the HTTP status of a reason; `detail` matters for `bad_request` alone."""
    if reason is Reason.BAD_REQUEST and detail is not None:
        return _BAD_REQUEST_STATUS.get(detail, 400)
    return _STATUS[reason]


def coarse_of(reason: Reason) -> Coarse:
    """Return what the client is told of a refusal unless its Site says `reasons: full`."""
    return _COARSE_BY_STATUS.get(_STATUS[reason], Coarse.BAD_REQUEST)


def code_of(status: int) -> Code:
    """Return the `google.rpc` code that goes with an HTTP status of ours."""
    return _CODE_BY_STATUS.get(status, Code.INVALID_ARGUMENT)
