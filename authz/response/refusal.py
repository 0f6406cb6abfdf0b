"""What a refused client is told: status, headers and body.

SECURITY: all refusals of one route with one told reason are alike but for the decision id, so nothing
here may depend on why a credential failed. Source: section 5 of the contract; RFC 9457; RFC 9110, 11.6.1.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from http import HTTPStatus
from math import ceil
from typing import NamedTuple
from urllib.parse import quote

from authz.model.decision import Deny
from authz.model.limit import Spent
from authz.model.reason import Reason, coarse_of, code_of, status_of
from authz.model.request import Request, Unreadable
from authz.model.site import Redirect, Refusal, Site
from authz.model.text import percent_decode
from authz.response import message

# What browsers and proxies surely take of one header. Escaping triples a URL: 60 KB would become 180.
_LOCATION_MAX = 8192

_NO_ADDITIONS = Refusal()
_HTML = b"text/html"
_PLACEHOLDER = message.ID_PLACEHOLDER.encode()

# One per status, told reason, challenge and Site, and per answer of a limit: the oldest make room. One is
# about 1 KiB. Nothing of a request stands in them; a redirect, where it does, is never kept.
_TEMPLATES = 1024


class Refused(NamedTuple):
    """A refusal, ready to send."""

    status: int  # what the client sees; 302 where it is sent elsewhere
    body: bytes  # a CheckResponse


class Refuser:
    """Builds refusals for one sidecar.

    Args:
        sidecar: the name of this process, told to clients so that a refusal can be traced.
        limit_headers: whether refusals by limits carry `ratelimit` and `ratelimit-policy`.
    """

    def __init__(self, sidecar: str, *, limit_headers: bool = True) -> None:
        self._sidecar = sidecar
        self._limit_headers = limit_headers

    def refuse(
        self,
        deny: Deny,
        request: Request | Unreadable,
        site: Site,
        decision_id: str,
        challenge: str = "",
        credential_parameters: Sequence[str] = (),
    ) -> Refused:
        """Return the answer to a refused request.

        Args:
            challenge: the value of `www-authenticate` for a 401 of this route; "" for none.
            credential_parameters: decoded names of query parameters that a redirect must not carry on.
        """
        status = status_of(deny.reason, deny.detail)
        coarse = coarse_of(deny.reason)
        additions = site.refusals.get(coarse, _NO_ADDITIONS)
        told = deny.reason.value if site.full_reasons else coarse.value
        headers: message.Headers = ()
        build: Callable[[int, str, message.Headers, str, bool], bytes] = _cached_template
        if additions.redirect is not None and isinstance(request, Request) and _browses(request):
            status, build = HTTPStatus.FOUND, _template
            headers += (("location", _location(additions.redirect, request, credential_parameters)),)
        elif status == HTTPStatus.UNAUTHORIZED and challenge:
            headers += (("www-authenticate", challenge),)
        if deny.spent and deny.reason is Reason.RATE_LIMITED:
            # Kept too: whoever is refused often is told the same whole seconds again and again.
            headers += self._limit(deny.spent, decision_id)
        elif deny.retry_ms:
            headers += (("retry-after", str(_retry_after_s(deny.retry_ms, decision_id))),)
        if len(decision_id) != len(_PLACEHOLDER):
            raise ValueError("a decision id of another length would break the lengths inside the message")
        template = build(int(status), told, headers + additions.headers, self._sidecar, request.grpc)
        return Refused(int(status), template.replace(_PLACEHOLDER, decision_id.encode()))

    def _limit(self, spent: Sequence[Spent], decision_id: str) -> message.Headers:
        waits = [bucket.retry_ms for bucket in spent if not bucket.passed]
        headers: message.Headers = ()
        if waits and min(waits) >= 0:
            headers += (("retry-after", str(_retry_after_s(max(waits), decision_id))),)
        return headers + limit_headers(spent) if self._limit_headers else headers


def _template(status: int, told: str, extra: message.Headers, sidecar: str, grpc: bool) -> bytes:
    """Return a refusal with a placeholder for the decision id."""
    content, body = _body(status, told, sidecar, grpc=grpc)
    named = (("x-authz-reason", told), ("x-authz-decision-id", message.ID_PLACEHOLDER))
    return message.deny(status, code_of(status), named + extra + content, body)


_cached_template = lru_cache(_TEMPLATES)(_template)


def _body(status: int, told: str, sidecar: str, *, grpc: bool) -> tuple[message.Headers, str]:
    """Return the headers that say what the body is, and the body."""
    title = HTTPStatus(status).phrase
    if grpc:
        # Envoy turns the body into `grpc-message` and sets the content type of gRPC itself. Its own choice
        # of `grpc-status` would tell a limit (14) from an outage as little as a bad request (13) from a bug.
        code = ("grpc-status", str(int(code_of(status))))
        return (code,), f"{told}: {title}, decision {message.ID_PLACEHOLDER}"
    problem = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "reason": told,
        "decision_id": message.ID_PLACEHOLDER,
        "sidecar": sidecar,
    }
    return (("content-type", "application/problem+json"),), json.dumps(problem) + "\n"


def limit_headers(spent: Sequence[Spent]) -> message.Headers:
    """Return `ratelimit-policy` and `ratelimit`. Source: draft-ietf-httpapi-ratelimit-headers."""
    policies = ", ".join(f'"{b.limit}";q={_quota(b)};w={b.rate.window_s}' for b in spent)
    states = ", ".join(f'"{b.limit}";r={b.remaining};t={_reset_s(b)}' for b in spent)
    return (("ratelimit-policy", policies), ("ratelimit", states))


def _quota(bucket: Spent) -> int:
    """Whole tokens per window, at least one, as the operator wrote the rate."""
    rate = bucket.rate.whole or bucket.rate
    return max(1, round(rate.rate_per_s * rate.window_s))


def _reset_s(bucket: Spent) -> int:
    return ceil(bucket.retry_ms / 1000) if bucket.retry_ms > 0 else bucket.full_s


def _retry_after_s(wait_ms: int, decision_id: str) -> int:
    """Whole seconds, never earlier than the truth, up to a tenth later so that clients do not return at once.

    The decision id is the dice: this room has no randomness of its own.
    """
    wait_s = max(1, ceil(wait_ms / 1000))
    return wait_s + wait_s * (int(decision_id[-4:], 16) % 11) // 100


def _browses(request: Request) -> bool:
    return request.method == "GET" and not request.grpc and _HTML in request.headers.get("accept", b"")


def _location(redirect: Redirect, request: Request, credential_parameters: Sequence[str]) -> str:
    if not redirect.return_to:
        return redirect.to
    query = "&".join(
        part
        for part in request.query.split("&")
        if part and percent_decode(part.partition("=")[0]) not in credential_parameters
    )
    wanted = f"{request.scheme}://{request.host}{request.path}" + (f"?{query}" if query else "")
    joint = "&" if "?" in redirect.to else "?"
    whole = f"{redirect.to}{joint}{redirect.return_to}={quote(wanted, safe='')}"
    return whole if len(whole) <= _LOCATION_MAX else redirect.to
