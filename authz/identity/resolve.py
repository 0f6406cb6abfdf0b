"""Who asks: from a request and the places to look at, to a Caller.

    1. find        the one credential, nothing, or too much           credential.py
    2. same site   a cookie must come from our own pages              here
    3. verify      whose token it is, now and from there              keyring.py

Source: section 3.4 of the contract.
"""

from __future__ import annotations

from authz.identity.credential import Absence, Plan, find
from authz.identity.keyring import Keyring
from authz.model.identity import ANONYMOUS, NOBODY, Caller, PlaceKind, Standing
from authz.model.reason import Detail
from authz.model.request import Request

_AMBIGUOUS = Caller(ANONYMOUS, Standing.AMBIGUOUS)
_INVALID = {detail: Caller(ANONYMOUS, Standing.INVALID, detail) for detail in Detail}
# Bound here: looking a member up in its enum costs 0.04 us each time.
_PROVEN, _COOKIE, _MISSING = Standing.PROVEN, PlaceKind.COOKIE, Absence.NONE
_new = tuple.__new__  # what a NamedTuple's own constructor does, without its 0.3 us of arguments
_SAFE_METHODS = frozenset(
    {"GET", "HEAD", "OPTIONS"}
)  # nothing happens because of one; RFC 9110 section 9.2.1


def resolve(request: Request, plan: Plan, keyring: Keyring, now_us: int) -> Caller:
    """Return who asks, as far as the planned places tell.

    Args:
        plan: places of the providers that candidate allow rules name; of none: nobody is looked for.
        now_us: microseconds since 1970.

    Returns:
        A Caller that is PROVEN (with the place of the accepted credential), MISSING, INVALID (with the cause,
        for the record only) or AMBIGUOUS; whoever is not proven is anonymous.
    """
    found = find(plan, request)
    if isinstance(found, Absence):
        return NOBODY if found is _MISSING else _AMBIGUOUS
    place, text, providers = found
    if place.kind is _COOKIE and not same_site(request):
        return _INVALID[Detail.COOKIE_CROSS_SITE]
    verdict = keyring.verify(text, now_us, request.client, providers)
    if isinstance(verdict, Detail):
        return _INVALID[verdict]
    return _new(Caller, (verdict.identity, _PROVEN, None, place))


def same_site(request: Request) -> bool:
    """Return whether a browser's cookie may count: the request changes nothing, or our own page sent it.

    SECURITY: a browser sends cookies along with what other sites ask of it, and opens a WebSocket for any
    page, with a GET: an upgrade is never safe. `Origin` is compared with
    the scheme and host that Envoy saw, to the byte; a port in it is another origin.
    """
    if request.method in _SAFE_METHODS and not request.upgrade:
        return True
    fetch_site = request.headers.get("sec-fetch-site")
    if fetch_site is not None:
        return fetch_site == b"same-origin"
    return request.headers.get("origin") == f"{request.scheme}://{request.host}".encode()
