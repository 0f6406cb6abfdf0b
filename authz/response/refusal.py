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
from authz.model.limit import Spent, Store
from authz.model.reason import Reason, coarse_of, code_of, status_of
from authz.model.request import Request, Unreadable
from authz.model.site import Redirect, Refusal, Site
from authz.model.text import percent_decode
from authz.response import limits, message

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


_Build = Callable[[int, str, message.Headers, tuple[str, ...], str, bool], bytes]


class Refuser:
    """Builds what one sidecar tells clients: refusals, and where asked how their limits stand.

    Args:
        sidecar: the name of this process, told to clients so that a refusal can be traced.
        limit_headers: in which form clients are told of limits.
        on_allow: whether those whose requests pass are told, too.
    """

    def __init__(self, sidecar: str, limit_headers: limits.Form = "draft", *, on_allow: bool = False) -> None:
        self._sidecar = sidecar
        self._limit_headers = limit_headers
        self.on_allow = on_allow and limit_headers != "off"

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
        refusing: tuple[str, ...] = ()
        build: _Build = _cached_template
        if additions.redirect is not None and isinstance(request, Request) and _browses(request):
            status, build = HTTPStatus.FOUND, _template
            headers += (("location", _location(additions.redirect, request, credential_parameters)),)
        elif status == HTTPStatus.UNAUTHORIZED and challenge:
            headers += (("www-authenticate", challenge),)
        if deny.spent and deny.reason is Reason.RATE_LIMITED:
            # Kept too: whoever is refused often is told the same whole seconds again and again.
            limited, refusing = self._limited(limits.ordered(deny.spent), decision_id)
            headers += limited
        elif deny.retry_ms:
            headers += (("retry-after", str(_retry_after_s(deny.retry_ms, decision_id))),)
        if len(decision_id) != len(_PLACEHOLDER):
            raise ValueError("a decision id of another length would break the lengths inside the message")
        headers += additions.headers
        template = build(int(status), told, headers, refusing, self._sidecar, request.grpc)
        return Refused(int(status), template.replace(_PLACEHOLDER, decision_id.encode()))

    def passed(self, spent: Sequence[Spent]) -> bytes:
        """Return what an allow ends with where `on_allow` is set.

        Args:
            spent: not empty. Where limits are switched off nothing was counted, so there is nothing to tell.
        """
        if spent[0].store is Store.OFF:
            return b""
        return message.for_client(limits.headers_in(self._limit_headers, limits.ordered(spent)))

    def _limited(self, spent: Sequence[Spent], decision_id: str) -> tuple[message.Headers, tuple[str, ...]]:
        """Return the headers of a refusal by limits, and which limits it names.

        No `retry-after` where waiting does not help.
        """
        waits = [bucket.retry_ms for bucket in spent if not bucket.passed]
        headers: message.Headers = ()
        if waits and min(waits) >= 0:
            headers = (("retry-after", str(_retry_after_s(max(waits), decision_id))),)
        if self._limit_headers == "off":
            return headers, ()
        return headers + limits.headers_in(self._limit_headers, spent), limits.refusing(spent)


def _template(
    status: int, told: str, extra: message.Headers, refusing: tuple[str, ...], sidecar: str, grpc: bool
) -> bytes:
    """Return a refusal with a placeholder for the decision id."""
    content, body = _body(status, told, refusing, sidecar, grpc=grpc)
    named = (("x-authz-reason", told), ("x-authz-decision-id", message.ID_PLACEHOLDER))
    return message.deny(status, code_of(status), named + extra + content, body)


_cached_template = lru_cache(_TEMPLATES)(_template)


def _body(
    status: int, told: str, refusing: tuple[str, ...], sidecar: str, *, grpc: bool
) -> tuple[message.Headers, str]:
    """Return the headers that say what the body is, and the body.

    Args:
        refusing: names of the limits that refused; empty where no limit did, or nobody is to know.
    """
    title = HTTPStatus(status).phrase
    if grpc:
        # Envoy turns the body into `grpc-message` and sets the content type of gRPC itself. Its own choice
        # of `grpc-status` would tell a limit (14) from an outage as little as a bad request (13) from a bug.
        code = ("grpc-status", str(int(code_of(status))))
        by = f"by {' and '.join(refusing)}, " if refusing else ""
        return (code,), f"{told}: {title}, {by}decision {message.ID_PLACEHOLDER}"
    problem: dict[str, object] = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "reason": told,
        "decision_id": message.ID_PLACEHOLDER,
        "sidecar": sidecar,
    }
    if refusing:
        problem["limits"] = refusing
    return (("content-type", "application/problem+json"),), json.dumps(problem) + "\n"


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
