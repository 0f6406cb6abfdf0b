"""Cases: a limit that is asked for too much at once, by callers who pretend to be many."""

from __future__ import annotations

from collections.abc import Iterator

from authz.attack.aim import Aim
from authz.attack.case import Case, Expect, Need, Pair

_BESIDES = 30


def cases(aim: Aim) -> Iterator[Case]:
    """Yield calls of one credential, more than its limit lets pass; sent together and in every disguise."""
    if not aim.limited:
        return
    why = "one caller counts as many, or two calls at once are counted as one"
    asks = tuple(
        aim.presenting(aim.token, *_disguise(number), path=aim.limited)
        for number in range(aim.tokens + _BESIDES)
    )
    needs = frozenset({Need.KEY})
    yield Case(
        "more calls than tokens", "limits", asks, Expect.AT_MOST, why, "", needs=needs, most=aim.tokens
    )


def _disguise(number: int) -> tuple[Pair, ...]:
    """Claim to be somebody else each time; a limit per credential counts them all as one."""
    forms: tuple[tuple[Pair, ...], ...] = (
        (),
        ((b"x-forwarded-for", b"203.0.113.%d" % (number % 250 + 1)),),
        ((b"x-forwarded-for", b"2001:db8::%x" % number),),
        ((b"x-real-ip", b"198.51.100.%d" % (number % 250 + 1)),),
        ((b"forwarded", b"for=192.0.2.%d" % (number % 250 + 1)),),
        ((b"user-agent", b"agent/%d" % number), (b"x-request-id", b"%d" % number)),
    )
    return forms[number % len(forms)]
