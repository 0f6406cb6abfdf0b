"""What each reason and detail means, in a sentence: for `docs/reasons.md` and whoever explains a decision.

Loaded only by commands; the serving process never needs prose.
"""

from __future__ import annotations

from collections.abc import Mapping

from authz.model.reason import Detail, Reason

REASONS: Mapping[Reason, str] = {
    Reason.ALLOWED: "At least one allow rule fits, no deny rule does, and every limit had room.",
    Reason.BAD_REQUEST: "The request cannot be read in one way only; the detail says where.",
    Reason.CREDENTIAL_MISSING: "No credential was presented and a rule that could fit asks for one.",
    Reason.CREDENTIAL_AMBIGUOUS: "Two credentials, or one twice, were presented.",
    Reason.CREDENTIAL_INVALID: "A credential was presented and proves nobody; the detail says why.",
    Reason.NO_MATCHING_POLICY: "No rule of any policy speaks about this host, method and path.",
    Reason.NOT_PERMITTED: "Rules speak about this request, and none allows this caller.",
    Reason.DENIED_BY_RULE: "A deny rule fits; the record names it.",
    Reason.RULE_ERROR: "An expression failed that must not: in a deny rule, a limit or a header.",
    Reason.GUARDED: "The client's network sent too many bad requests or credentials; this was not looked at.",
    Reason.RATE_LIMITED: "A limit of the allowing rules had no room; nothing was charged.",
    Reason.STORE_UNAVAILABLE: "The store of a limit did not answer, and the limit says to refuse then.",
    Reason.OVERLOADED: "The check could not be judged in time, or not be recorded.",
    Reason.NOT_READY: "No policy set is in force yet.",
    Reason.INTERNAL_ERROR: "Our fault: a bug was met and the request refused; see the process log.",
}

DETAILS: Mapping[Reason, Mapping[Detail, str]] = {
    Reason.BAD_REQUEST: {
        Detail.UNDECODABLE: "the check is no CheckRequest, or one without a request",
        Detail.TOO_LARGE: "the check is larger than `max_message_bytes`",
        Detail.HOST_INVALID: "the host is empty or spelled oddly",
        Detail.HOST_NOT_SERVED: "the listener is bound to other hosts (`hosts`)",
        Detail.METHOD_INVALID: "the method is no upper-case token",
        Detail.METHOD_NOT_ALLOWED: "TRACE, TRACK or CONNECT",
        Detail.METHOD_OVERRIDE: "a method-override header, where the Site does not remove it",
        Detail.PATH_INVALID: "the path has a control byte, a bad escape or no leading slash",
        Detail.PATH_AMBIGUOUS: "the path reads in two ways: dot segments, repeated or encoded slashes, ...",
        Detail.PATH_TOO_LONG: "the path is longer than the Site's `path.maxBytes`",
        Detail.QUERY_INVALID: "the query has a byte that no query may have",
        Detail.HEADER_INVALID: "a header has NUL, CR or LF in it, or no name",
        Detail.HEADER_AMBIGUOUS: "headers came in two forms, or disagree with the fields of the check",
        Detail.HEADERS_TOO_LARGE: "more headers than `max_header_count` or `max_header_bytes`",
        Detail.UPGRADE_REFUSED: "an upgrade that no rule may allow, such as h2c",
        Detail.SCHEME_INVALID: "the scheme is no scheme",
    },
    Reason.CREDENTIAL_INVALID: {
        Detail.CREDENTIAL_MALFORMED: "it has not the form of a credential, or its checksum is wrong",
        Detail.CREDENTIAL_NOT_OWNED: "no provider that the rules name, or more than one, owns it",
        Detail.KEY_UNKNOWN: "no key has this id",
        Detail.KEY_SECRET_WRONG: "the secret is not the key's, or was rotated out",
        Detail.KEY_REVOKED: "the key is not enabled",
        Detail.KEY_EXPIRED: "the key or this secret of it has expired",
        Detail.KEY_NOT_YET_VALID: "the key is not valid yet",
        Detail.KEY_ADDRESS: "the key may not be used from this address",
        Detail.CUSTOMER_DISABLED: "the key's customer is not enabled",
        Detail.PEPPER_MISSING: "the key was hashed under a pepper that is not here",
        Detail.COOKIE_CROSS_SITE: "a cookie on a request that changes things and may come from another site",
    },
    Reason.NOT_PERMITTED: {
        Detail.RULE_ERROR: "the condition of an allow rule failed",
    },
    Reason.RULE_ERROR: {
        Detail.RULE_ERROR: "the condition of a deny rule, or an expression, failed",
        Detail.LIMIT_NAME_EMPTY: "an expression in `per` of a limit gave the empty string",
        Detail.LIMIT_COST_INVALID: "the `cost` of a limit is negative or no finite number",
        Detail.HEADER_VALUE_INVALID: "a header from `onAllow` is too long or not visible ASCII",
    },
    Reason.RATE_LIMITED: {
        Detail.COST_EXCEEDS_BURST: "the request costs more than the bucket holds: waiting does not help",
    },
    Reason.OVERLOADED: {
        Detail.DEADLINE: "less time was left than a check needs, or the time was over before it was allowed",
        Detail.BACKLOG: "more checks waited than can be judged in time: it was refused at once, unread",
        Detail.UNRECORDED: "its record could not be kept, and `record_on_full` is `deny`: refused unread",
    },
}
