"""Where a request holds a credential: exactly one, exactly once, exactly as it stands.

A place is either absent or presented. What is presented oddly (empty, padded, quoted, misspelt around its
scheme) is still presented, and never trimmed into validity: the text that is handed on cannot be valid.
Two values, alike or not, in one place or in two, are ambiguous, because the upstream and we might choose
differently between them. Duplicated header lines may arrive joined, so a comma counts as a second value.
Source: section 3.4 of the contract; RFC 9110 sections 5.3 and 11.4; RFC 6265 section 4.2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from authz.model.identity import CredentialPlace, PlaceKind, Provider
from authz.model.request import Request

# Characters of a token (RFC 9110 section 5.6.2) but for `!`, as which Envoy's older header map spells any
# byte that is not UTF-8: a scheme must not hide behind one in one spelling of a request and not in the other.
_TOKEN = rb"#$%&'*+.^_`|~0-9A-Za-z-"
_ODD = ""  # stands for a presented value with odd surroundings: like an empty one, never valid


class Absence(Enum):
    """Why there is no credential to judge."""

    NONE = "none"
    AMBIGUOUS = "ambiguous"


# An enum's member costs 0.04 us to look up, and the path of every check does so five times.
_NONE: Final = Absence.NONE
_AMBIGUOUS: Final = Absence.AMBIGUOUS
_new = tuple.__new__  # what a NamedTuple's own constructor does, without its 0.3 us of arguments


class Found(NamedTuple):
    """The one credential of a request. SECURITY: its text never shows the value."""

    place: CredentialPlace
    text: str  # as it stands, a character for a byte; maybe empty
    providers: frozenset[str]  # those that read this place

    def __repr__(self) -> str:
        return f"Found(place={self.place}, text=***)"


Sight = str | Absence  # what one place shows: the text, nothing, or too much


class Spot(NamedTuple):
    """One place to look at, with everything known beforehand."""

    look: Callable[[Request, str, re.Pattern[bytes] | None], Sight]
    name: str
    pattern: re.Pattern[bytes] | None
    place: CredentialPlace
    providers: frozenset[str]


class Plan(NamedTuple):
    """The places that some providers read, each once. Build it once per set of providers."""

    spots: tuple[Spot, ...]


def plan(providers: Sequence[Provider]) -> Plan:
    """Return where to look for the credentials of these providers; a place that several share is one."""
    readers: dict[CredentialPlace, set[str]] = {}
    for provider in providers:
        for place in provider.places:
            readers.setdefault(place, set()).add(provider.name)
    return Plan(tuple(_spot(place, frozenset(names)) for place, names in readers.items()))


def find(planned: Plan, request: Request) -> Found | Absence:
    """Return the one credential of a request, or why there is none to judge."""
    found: Found | Absence = _NONE
    for look, name, pattern, place, providers in planned.spots:
        sight = look(request, name, pattern)
        if sight is _NONE:
            continue
        if sight is _AMBIGUOUS or found is not _NONE:
            return _AMBIGUOUS
        found = _new(Found, (place, sight, providers))
    return found


def scheme_pattern(scheme: str) -> re.Pattern[bytes]:
    """Return what one element of a header begins with if it speaks our scheme, well or badly."""
    word = re.escape(scheme.encode())
    return re.compile(rb"([^%b]*+)%b(?![%b])" % (_TOKEN, word, _TOKEN), re.IGNORECASE)


def in_scheme(raw: bytes, pattern: re.Pattern[bytes]) -> bool:
    """Return whether any comma-separated element of a header's value speaks our scheme."""
    if b"," not in raw:
        return pattern.match(raw) is not None
    return any(pattern.match(element) for element in raw.split(b","))


def query_names(query: str, name: str) -> list[str]:
    """Return the raw names, in order, of the parameters whose decoded name is `name`."""
    if name not in query and "%" not in query:
        return []
    wanted, longest = name.encode(), 3 * len(name.encode())
    if wanted not in _decoded(query):  # 20,000 names decoded one by one take 30 ms, all at once 4
        return []
    raw_names = (parameter.partition("=")[0] for parameter in query.split("&"))
    return [raw for raw in raw_names if raw == name or (_escaped(raw, longest) and _decoded(raw) == wanted)]


def cookie_pattern(names: Iterable[str]) -> re.Pattern[bytes]:
    """Return what finds each cookie of these names, wherever any reader may see one begin.

    SECURITY: some readers (Python's `http.cookies`) end a cookie at white space too: `a=b session=x` is two.
    """
    known = b"|".join(re.escape(name.encode()) for name in sorted(names))
    return re.compile(rb"(?:\A|[;,\s])(?:%b)\s*=" % known)


def cookie_name(piece: str) -> str:
    """Return the name of one piece of a cookie header, however it is padded."""
    return piece.partition("=")[0].strip(" \t")


def _escaped(raw: str, longest: int) -> bool:
    return "%" in raw and len(raw) <= longest


def _decoded(raw: str) -> bytes:
    return unquote_to_bytes(raw.encode("utf-8", "replace"))  # whatever stands there, it never raises


def _spot(place: CredentialPlace, providers: frozenset[str]) -> Spot:
    match place.kind:
        case PlaceKind.HEADER if place.scheme:
            return Spot(_in_scheme_header, place.name, scheme_pattern(place.scheme), place, providers)
        case PlaceKind.HEADER:
            return Spot(_in_header, place.name, None, place, providers)
        case PlaceKind.COOKIE:
            return Spot(_in_cookie, place.name, cookie_pattern([place.name]), place, providers)
        case PlaceKind.QUERY:
            return Spot(_in_query, place.name, None, place, providers)


def _in_header(request: Request, name: str, _: re.Pattern[bytes] | None) -> Sight:
    raw = request.headers.get(name)
    if raw is None:
        return _NONE
    if b"," in raw or name in request.repeated:
        return _AMBIGUOUS
    return raw.decode("latin-1")


def _in_scheme_header(request: Request, name: str, pattern: re.Pattern[bytes] | None) -> Sight:
    raw = request.headers.get(name)
    if raw is None or pattern is None:
        return _NONE
    if b"," in raw or name in request.repeated:
        return _AMBIGUOUS if in_scheme(raw, pattern) else _NONE
    match = pattern.match(raw)
    if match is None:
        return _NONE
    # Something before the scheme, or anything but one space after it, is padding or quoting.
    end = match.end()
    return _ODD if match[1] or raw[end : end + 1] != b" " else raw[end + 1 :].decode("latin-1")


def _in_query(request: Request, name: str, _: re.Pattern[bytes] | None) -> Sight:
    if not request.query:
        return _NONE
    names = query_names(request.query, name)
    if not names:
        return _NONE
    if names != [name]:
        return _AMBIGUOUS
    parameters = (parameter.partition("=") for parameter in request.query.split("&"))
    return next(value for raw, _equals, value in parameters if raw == name)


def _in_cookie(request: Request, name: str, pattern: re.Pattern[bytes] | None) -> Sight:
    raw = request.headers.get("cookie")
    if raw is None or pattern is None or name.encode() not in raw:
        return _NONE
    text = raw.decode("latin-1")
    # A comma may be where a second line was joined, or part of another cookie's value: both readings count.
    pieces = re.split("[;,]", text)
    count = sum(cookie_name(piece) == name for piece in pieces)
    if len(pattern.findall(raw)) > count:
        return _AMBIGUOUS
    if count == 0:
        return _NONE
    if count > 1 or "," in text or "cookie" in request.repeated:
        return _AMBIGUOUS
    return _cookie_value(text, name)


def _cookie_value(text: str, name: str) -> str:
    """Return the value of the one cookie of that name. Between pairs stands `; ` (RFC 6265 section 4.2)."""
    index, piece = next(
        (index, piece) for index, piece in enumerate(text.split(";")) if cookie_name(piece) == name
    )
    start = f" {name}=" if index else f"{name}="
    return piece[len(start) :] if piece.startswith(start) else _ODD
