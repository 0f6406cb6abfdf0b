"""Methods that no standard knows: perhaps meant so, more often misspelled."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from authz.policy.kind_policy import PolicySpec
from authz.policy.shape import Model
from authz.policy.source import Path

# Source: RFC 9110, section 9.3, RFC 5789, and WebDAV: RFC 3253, 3648, 3744, 4791, 4918, 5323.
_COMMON = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_WEBDAV = (
    *("PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK"),
    *("ACL", "BASELINE-CONTROL", "CHECKIN", "CHECKOUT", "LABEL", "MERGE", "MKACTIVITY", "MKCALENDAR"),
    *("MKWORKSPACE", "ORDERPATCH", "REPORT", "SEARCH", "UNCHECKOUT", "UPDATE", "VERSION-CONTROL"),
)
_KNOWN = frozenset((*_COMMON, *_WEBDAV))


def unusual_methods(spec: Model) -> Iterator[tuple[Path, str]]:
    """Yield where a policy names an unusual method, and what to look at."""
    if not isinstance(spec, PolicySpec):
        return
    for index, rule in enumerate(spec.rules):
        for item, method in enumerate(rule.methods or ()):
            if method not in _KNOWN:
                # difflib's own 0.6 is too generous: `PURGE` is no misspelled `MERGE`, but `GTE` is a `GET`.
                guess = difflib.get_close_matches(method, _COMMON + _WEBDAV, 1, cutoff=0.65)
                mend = (
                    f"did you mean `{guess[0]}`?" if guess else "see that it is spelled as requests have it"
                )
                yield ("spec", "rules", index, "methods", item), f"unusual method `{method}`: {mend}"
