"""Cases: forged identity headers, hop-by-hop tricks, values that break out, and sizes."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from authz.attack.aim import Aim
from authz.attack.case import CHECKS, HTTP, Ask, Case, Expect, Message, Need, Pair, Wire
from authz.attack.message import check_request
from authz.attack.spelling import spell_name

_FORGED = b"forged-by-attack-7f3a"
_ECHO = frozenset({Need.ECHO})


def cases(aim: Aim, rng: Random, count: int) -> Iterator[Case]:
    """Yield what clients put into headers, in every form that reaches a careless upstream."""
    yield from _identity(aim, rng, count)
    yield from _hop_by_hop(aim)
    yield from _values(aim)
    yield from _sizes(aim)


def _honest(aim: Aim) -> tuple[tuple[str, Ask, frozenset[Need]], ...]:
    """The requests that pass, to which forged headers are added."""
    return (
        ("with a credential", aim.presenting(aim.token), _ECHO | {Need.KEY}),
        ("on an open path", Ask(aim.public), _ECHO | {Need.OPEN}),
    )


def _more(ask: Ask, *headers: Pair) -> Ask:
    return Ask(ask.path, ask.method, headers=(*ask.headers, *headers))


def _identity(aim: Aim, rng: Random, count: int) -> Iterator[Case]:
    why = "the application takes what the client says about itself for what the judge found out"
    for name in aim.identity:
        plain = name.decode("latin-1")
        spelled = [plain, plain.upper(), plain.replace("-", "_"), plain.replace("-", "."), plain.title()]
        spelled += [spell_name(rng, plain) for _ in range(min(8, count // 8))]
        for form in dict.fromkeys(spelled):
            forged = (form.encode(), _FORGED)
            advisory = "CVE-2025-64484" if "_" in form else ""
            for where, ask, needs in _honest(aim):
                given = _more(ask, forged)
                yield _clean(f"{form} {where}", "identity-headers", given, why, advisory, needs)
        for where, ask, needs in _honest(aim):
            given = _more(ask, (name, _FORGED), (name, _FORGED + b"-2"))
            yield _clean(f"{plain} twice {where}", "identity-headers", given, why, "", needs)


def _clean(name: str, group: str, ask: Ask, why: str, advisory: str, needs: frozenset[Need]) -> Case:
    return Case(name, group, (ask,), Expect.CLEAN, why, advisory, needs=needs, forbidden=(_FORGED,))


def _hop_by_hop(aim: Aim) -> Iterator[Case]:
    why = "a proxy drops the headers that `Connection` names, those among them that the judge has set"
    for name in aim.identity:
        for value in (name, b"close, " + name, name + b", keep-alive"):
            yield Case(
                f"connection: {value.decode('latin-1')}",
                "hop-by-hop",
                (aim.presenting(aim.token, (b"connection", value)),),
                Expect.CLEAN,
                why,
                "CVE-2022-31813",
                frozenset({Wire.HTTP1}),
                _ECHO | {Need.KEY},
                required=(name,),
            )
    why = "a proxy drops the credential or the address that the judge needs, and it judges without"
    for value in (b"x-forwarded-for", b"host", b"cookie", b"authorization", aim.places[0].name):
        ask = Ask(aim.protected, headers=((b"connection", value),))
        wires = frozenset({Wire.HTTP1})
        yield Case(
            f"connection: {value.decode('latin-1')}", "hop-by-hop", (ask,), Expect.REFUSED, why, "", wires
        )


def _values(aim: Aim) -> Iterator[Case]:
    why = "a value that holds a line break becomes a header of its own"
    for place, forged in enumerate(
        (b"a\r\nx-forged: ", b"a\nx-forged: ", b"a\rx-forged: ", b"a\0x-forged: ")
    ):
        value = (b"x-a", forged + _FORGED)
        ask = Ask(aim.protected, headers=(value,))
        name = ("CR LF", "LF", "CR", "NUL")[place] + " in a value"
        advisory = "CVE-2019-9900" if place == 3 else "CVE-2023-27493"
        yield Case(name, "header-values", (ask,), Expect.REFUSED, why, advisory)
        opened = Message(check_request(Ask(aim.public, headers=(value,)), aim.host, raw=True))
        open_ = frozenset({Need.OPEN})
        yield Case(
            name + " on an open path",
            "header-values",
            (opened,),
            Expect.REFUSED,
            why,
            advisory,
            needs=open_,
            grave=False,
        )
    why = "a server that cannot decode a message answers with an error, and errors may let requests pass"
    for value_ in (b"\xff\xfe", b"caf\xe9", b"\xed\xa0\x80", b"\xc0\xae", b"\x80" * 100):
        ask = Ask(aim.protected, headers=((b"x-odd", value_),))
        yield Case(repr(value_[:8])[2:-1], "header-values", (ask,), Expect.REFUSED, why, "CVE-2023-27488")
    for name_, value_ in (
        (b"x\xff", b"a"),
        (b"", b"a"),
        (b"x a", b"a"),
        (b"x:", b"a"),
        (b"X-\r\nx-forged", b"a"),
    ):
        ask = Ask(aim.protected, headers=((name_, value_),))
        yield Case(f"the name {name_!r}", "header-values", (ask,), Expect.REFUSED, why)


def _sizes(aim: Aim) -> Iterator[Case]:
    why = "size alone makes the server slow, or makes it give up and let the request pass"
    headers = tuple((b"x-h%d" % number, b"v") for number in range(1000))
    crumbs = tuple((b"cookie", b"c%d=v" % number) for number in range(1000))
    for name, ask, advisory in (
        ("1,000 headers", Ask(aim.protected, headers=headers), ""),
        ("1,000 cookie lines", Ask(aim.protected, headers=crumbs), "CVE-2026-47774"),
        ("one header 1,000 times", Ask(aim.protected, headers=((b"x-a", b"v"),) * 1000), ""),
        ("a value of 50 KiB", Ask(aim.protected, headers=((b"x-a", b"v" * 51_200),)), ""),
        ("a value of 500 KiB", Ask(aim.protected, headers=((b"x-a", b"v" * 512_000),)), ""),
        ("a cookie of 10,000 pieces", Ask(aim.protected, headers=((b"cookie", b"a=b; " * 10_000),)), ""),
        ("a query of 1 MiB", Ask(aim.protected + b"?" + b"q" * (1 << 20)), ""),
        ("10,000 parameters", Ask(aim.protected + b"?" + b"a=b&" * 10_000), ""),
        ("10,000 bad escapes", Ask(aim.protected + b"?a=" + b"%z" * 10_000), ""),
    ):
        yield Case(name, "sizes", (ask,), Expect.REFUSED, why, advisory, HTTP | CHECKS)
