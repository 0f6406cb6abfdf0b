"""Cases: credentials that resemble a good one, stand twice, or stand where nobody should take them."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from authz.attack.aim import Aim, Place, Spot, present
from authz.attack.case import CHECKS, Ask, Case, Expect, Need, Pair, Wire
from authz.attack.spelling import bent_tokens, escaped, spell_token

_KEY = frozenset({Need.KEY})
_KEY_AND_ECHO = frozenset({Need.KEY, Need.ECHO})
_UNKNOWN = b"attack-unknown-credential-0123456789"

_GARBAGE: tuple[tuple[str, bytes], ...] = (
    ("empty", b""),
    ("a blank", b" "),
    ("null", b"null"),
    ("undefined", b"undefined"),
    ("a star", b"*"),
    ("a quote", b"'"),
    ("SQL", b"' OR '1'='1"),
    ("a wildcard of Redis", b"*?[a-z]"),
    ("a JSON object", b'{"$ne":null}'),
    ("an expression", b"${jndi:ldap://x.invalid/a}"),
    ("a template", b"{{7*7}}"),
    ("bytes that are not UTF-8", b"\xff\xfe\x80"),
    ("a C1 control", b"a\xc2\x85b"),
    ("a NUL escape", b"%00"),
    ("10 KiB", b"A" * 10_240),
    ("three dots of a token", b"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9."),
)


def cases(aim: Aim, rng: Random, count: int) -> Iterator[Case]:
    """Yield what must not be taken for a credential, then what must not be taken twice."""
    yield from _garbage(aim)
    yield from _bent(aim, rng, count)
    yield from _twice(aim)
    yield from _elsewhere(aim)
    yield from _alike(aim, rng)
    yield from _cookies(aim)
    yield from _removed(aim)


def _garbage(aim: Aim) -> Iterator[Case]:
    why = "what no key could be is taken for one, or breaks the server, which then lets everything pass"
    for place in aim.places:
        for name, token in _GARBAGE:
            title = f"{name} in {_named(place)}"
            ask = present(place, token, path=aim.protected)
            yield Case(title, "credentials", (ask,), Expect.REFUSED, why)


def _bent(aim: Aim, rng: Random, count: int) -> Iterator[Case]:
    """What no transport strips: blanks around a value are not part of it, so only checks carry them."""
    if not aim.token:
        yield _without_key("bent-credentials")
        return
    good = aim.token.decode("latin-1")
    why = "a credential that is not exactly the one that was given out is trimmed or folded into validity"
    for number, bent in enumerate(bent_tokens(good)):
        ask = aim.presenting(bent.encode())
        yield Case(
            f"bent {number}: {_shown(bent, good)}",
            "bent-credentials",
            (ask,),
            Expect.REFUSED,
            why,
            "",
            needs=_KEY,
        )
    for number, padded in enumerate((f" {good}", f"{good} ", f"\t{good}", f"{good}\t")):
        ask = aim.presenting(padded.encode())
        yield Case(
            f"padded {number}", "bent-credentials", (ask,), Expect.REFUSED, why, "", CHECKS, _KEY, grave=False
        )
    why = "one character more or less is another credential"
    for number in range(count // 8):
        spelled = spell_token(rng, good)
        if spelled != good:
            ask = aim.presenting(spelled.encode())
            yield Case(f"changed {number}", "bent-credentials", (ask,), Expect.REFUSED, why, "", needs=_KEY)


def _shown(bent: str, good: str) -> str:
    return repr(bent.replace(good, "KEY"))[1:-1] if good in bent else "changed inside"


def _twice(aim: Aim) -> Iterator[Case]:
    """Two credentials, alike or not, in one place or in two: who reads which is anybody's guess."""
    why = "the judge takes one of two credentials and the application the other"
    if not aim.token:
        yield _without_key("two-credentials")
        return
    first = aim.places[0]
    for name, other in (("itself", aim.token), ("an unknown one", _UNKNOWN), ("an empty one", b"")):
        for order in ("before", "after"):
            tokens = (aim.token, other) if order == "before" else (other, aim.token)
            yield from _pair(aim, first, f"a good one {order} {name}", tokens, why)
    for place in aim.places[1:]:
        both = _both(aim, first, place)
        yield _strict(f"in {_named(first)} and in {_named(place)}", "two-credentials", both, why)


def _pair(aim: Aim, place: Place, name: str, tokens: tuple[bytes, bytes], why: str) -> Iterator[Case]:
    one, other = tokens
    advisory = "CVE-2020-25017"
    if place.spot is Spot.QUERY:
        path = present(place, one, path=aim.protected).path + b"&" + place.name + b"=" + other
        yield _strict(f"{name}, two parameters", "two-credentials", Ask(path), why)
        return
    ask = present(place, one, path=aim.protected)
    again = present(place, other, path=aim.protected).headers
    yield _strict(
        f"{name}, two lines", "two-credentials", Ask(ask.path, headers=ask.headers + again), why, advisory
    )
    mark = b"; " if place.spot is Spot.COOKIE else b","
    header, value = ask.headers[0]
    joined = (header, value + mark + again[0][1])
    yield _strict(f"{name}, one line", "two-credentials", Ask(ask.path, headers=(joined,)), why)


def _strict(name: str, group: str, ask: Ask, why: str, advisory: str = "") -> Case:
    return Case(name, group, (ask,), Expect.REFUSED, why, advisory, needs=_KEY, grave=False)


def _both(aim: Aim, first: Place, second: Place) -> Ask:
    one = present(first, aim.token, path=aim.protected)
    two = present(second, aim.token, path=one.path)
    return Ask(two.path, headers=one.headers + two.headers)


def _elsewhere(aim: Aim) -> Iterator[Case]:
    """A good credential where nobody should look for it, or under a name that is nearly right."""
    why = "a credential is read from a place that nobody named, where logs and caches keep it"
    token, place = aim.token, aim.places[0]
    if not token:
        return
    for name in (b"key", b"token", b"apikey", b"access_token"):
        if any(each.spot is Spot.QUERY and each.name == name for each in aim.places):
            continue
        path = aim.protected + b"?" + name + b"=" + token
        yield _strict(f"in the query as {name.decode()}", "credential-places", Ask(path), why)
    if place.spot is Spot.HEADER:
        name_ = place.name.replace(b"-", b"_")
        if name_ != place.name:
            ask = Ask(aim.protected, headers=((name_, place.value(token)),))
            yield _strict(f"in the header {name_.decode()}", "credential-places", ask, why, "CVE-2015-0219")
    for each in aim.places:
        if each.spot is Spot.QUERY:
            yield from _query(aim, each)


def _query(aim: Aim, place: Place) -> Iterator[Case]:
    why = "Envoy takes a parameter away by its raw name, so another spelling of it reaches the application"
    spelled = escaped(place.name[:1].decode("latin-1")).encode() + place.name[1:]
    path = aim.protected + b"?" + spelled + b"=" + aim.token
    yield _strict("an escaped name in the query", "credential-places", Ask(path), why)
    path = aim.protected + b"?x=1;" + place.name + b"=" + aim.token
    yield _strict("after a semicolon in the query", "credential-places", Ask(path), why)


def _alike(aim: Aim, rng: Random) -> Iterator[Case]:
    """Whoever presents a bad credential must not learn how bad it is."""
    why = "answers that differ tell a stranger which credentials exist"
    unknown = [spell_token(rng, aim.token.decode("latin-1")).encode() for _ in range(3)] if aim.token else []
    tokens = [_UNKNOWN, *(token for token in unknown if token != aim.token), *aim.dead]
    asks = tuple(aim.presenting(token) for token in tokens)
    yield Case("unknown, changed and dead credentials", "alike", asks, Expect.ALIKE, why)
    for number, dead in enumerate(aim.dead, 1):
        why_dead = "a credential that was taken back still opens the door"
        yield Case(
            f"dead credential {number}", "dead-credentials", (aim.presenting(dead),), Expect.REFUSED, why_dead
        )


def _cookies(aim: Aim) -> Iterator[Case]:
    """A browser sends cookies along with requests that other sites make it send."""
    why = "another site makes a browser send a request, and the cookie makes it count"
    for place in aim.places:
        if place.spot is not Spot.COOKIE or not aim.token:
            continue
        foreign: tuple[tuple[str, tuple[Pair, ...]], ...] = (
            ("no origin at all", ()),
            ("another origin", ((b"origin", b"https://evil.invalid"),)),
            ("a null origin", ((b"origin", b"null"),)),
            ("a cross-site fetch", ((b"sec-fetch-site", b"cross-site"),)),
            ("a same-site fetch", ((b"sec-fetch-site", b"same-site"),)),
            (
                "two claims about the site",
                ((b"sec-fetch-site", b"cross-site"), (b"sec-fetch-site", b"same-origin")),
            ),
        )
        for name, headers in foreign:
            ask = present(place, aim.token, *headers, path=aim.protected, method=b"POST")
            yield _strict(f"POST with {name}", "cookies", ask, why)


def _removed(aim: Aim) -> Iterator[Case]:
    """The application has no use for a credential that was already judged; its logs do."""
    why = "the application sees the credential, and with it everybody who reads its logs"
    for place in aim.places:
        ask = present(place, aim.token, path=aim.protected)
        yield Case(
            f"in {_named(place)}",
            "credential-removal",
            (ask,),
            Expect.CLEAN,
            why,
            needs=_KEY_AND_ECHO,
            forbidden=(aim.token,) if aim.token else (),
            grave=False,
        )


def _without_key(group: str) -> Case:
    """Stand for a group that cannot be tried, so that the report says so."""
    ask = Ask(b"/")
    return Case(
        "every case of this class", group, (ask,), Expect.REFUSED, "", wires=frozenset(Wire), needs=_KEY
    )


def _named(place: Place) -> str:
    return f"the {place.spot.value} {place.name.decode('latin-1')}"
