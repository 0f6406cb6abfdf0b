"""Cases: spellings of a protected path. No reading of what passes may be protected."""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from authz.attack.aim import Aim
from authz.attack.case import CHECKS, HTTP, Ask, Case, Expect, Wire
from authz.attack.spelling import escaped, fixed_spellings, spell_case, spell_path, wild_path


class Row(NamedTuple):
    """A spelling: `{p}` and `{o}` are the protected and the open path without their first slash.

    What stands between `<` and `>` leads one level up, and comes once for each segment of the open path.
    """

    text: str
    advisory: str = ""


class Group(NamedTuple):
    """Spellings of one kind, and what goes wrong where they get through."""

    why: str
    rows: tuple[Row, ...]


GROUPS: dict[str, Group] = {
    "slashes": Group(
        "servers merge slashes, decode escaped ones and turn backslashes round after the judge has matched",
        (
            Row("//{p}", "CVE-2021-31920"),
            Row("///{p}"),
            Row("//x/{p}", "GHSA-9f29-v6mm-pw6w"),
            Row("//{h}/{p}", "GHSA-9f29-v6mm-pw6w"),
            Row("/{o}/</..>/{p}"),
            Row("/%2f{p}", "CVE-2021-29492"),
            Row("/{o}<%2f..>%2f{p}", "CVE-2021-29492"),
            Row("/{o}<%2F..>%2F{p}", "CVE-2021-29492"),
            Row("/{o}<%5c..>%5c{p}", "CVE-2021-29492"),
            Row("/{o}<\\..>\\{p}"),
            Row("/\\{p}"),
            Row("/%5c{p}", "CVE-2021-29492"),
            Row("\\{p}"),
            Row("/{p}//"),
            Row("/{p}/"),
            Row("/{p}%2f"),
        ),
    ),
    "dots": Group(
        "servers resolve `.` and `..`, escaped or not, after the judge has matched a prefix",
        (
            Row("/./{p}"),
            Row("/{o}</..>/{p}", "CVE-2019-9901"),
            Row("/{o}/.</..>/{p}", "CVE-2019-9901"),
            Row("/{o}</%2e%2e>/{p}", "CVE-2021-41773"),
            Row("/{o}</%2E%2E>/{p}"),
            Row("/{o}</.%2e>/{p}", "CVE-2021-41773"),
            Row("/{o}</%2e.>/{p}"),
            Row("/{o}/.../</..>/../{p}"),
            Row("/{o}</..>//{p}"),
            Row("/{p}/."),
            Row("/{p}/%2e"),
            Row("/{p}/../{p}"),
            Row("/../{p}"),
            Row("/{o}/x</..>/../{p}"),
        ),
    ),
    "escapes": Group(
        "servers decode escapes once or twice, and a judge that matches the raw text sees another path",
        (
            Row("/{e}"),
            Row("/{E}"),
            Row("/{2e}"),
            Row("/{2E}"),
            Row("/{o}</%252e%252e>/{p}", "CVE-2021-42013"),
            Row("/{o}/<%252e%252e%252f>{p}"),
            Row("/{o}</%%32%65%%32%65>/{p}", "CVE-2021-42013"),
            Row("/{o}</%25252e%25252e>/{p}"),
            Row("/{o}</%u002e%u002e>/{p}"),
            Row("/{p}%"),
            Row("/{p}%2"),
            Row("/{p}%zz"),
            Row("/%zz/../{p}"),
            Row("/{p}%25"),
        ),
    ),
    "parameters": Group(
        "servlet containers drop what follows a `;` in a segment before they look a path up",
        (
            Row("/{p};x=1", "CVE-2018-1199"),
            Row("/{p};", "CVE-2020-1957"),
            Row("/;/{p}", "CVE-2020-1957"),
            Row("/;x=1/{p}"),
            Row("/{o}</..;>/{p}", "CVE-2026-73551"),
            Row("/{o}</..;x=1>/{p}", "CVE-2026-73551"),
            Row("/{o}/.;</..>/{p}"),
            Row("/{o};</..>/{p}", "CVE-2026-73511"),
            Row("/{p}%3b"),
            Row("/{p}%3bx"),
            Row("/{p};/"),
            Row("/{p};%2f..", "CVE-2016-9879"),
            Row("/{p}/..;/{p}"),
            Row("/x;/..;/{p}"),
        ),
    ),
    "control-bytes": Group(
        "a control byte ends a path for one reader, is dropped by another and breaks a pattern for a third",
        (
            Row("/{p}%00"),
            Row("/{p}%00.html"),
            Row("/%00/{p}"),
            Row("/{p}%0a", "CVE-2022-22978"),
            Row("/{p}%0d%0a", "CVE-2022-22978"),
            Row("/{p}/%0a", "CVE-2022-22978"),
            Row("/{p}%09"),
            Row("/{p}%20"),
            Row("/{p}%7f"),
            Row("/{p}\x01"),
            Row("/{p}\x7f"),
            Row("/{p}\t"),
            Row("/{o}/%0d/../{p}"),
        ),
    ),
    "utf8": Group(
        "lenient decoders take overlong UTF-8 for the character that it spells",
        (
            Row("/%c0%ae%c0%ae/{p}", "CVE-2008-2938"),
            Row("/{o}</%c0%ae%c0%ae>/{p}", "CVE-2008-2938"),
            Row("/{o}</%e0%80%ae%e0%80%ae>/{p}", "CVE-2008-2938"),
            Row("/%c0%af{p}"),
            Row("/%e0%80%af{p}"),
            Row("/{o}<%c1%9c..>%c1%9c{p}"),
            Row("/{p}%ff"),
            Row("/{p}/%ed%a0%80"),
            Row("/{p}/%f4%90%80%80"),
        ),
    ),
    "query-and-fragment": Group(
        "the first `?` or `#` decides where the path ends, and a judge that looks further is led astray",
        (
            Row("/{p}?x=/{o}", "CVE-2025-54576"),
            Row("/{p}?/{o}", "CVE-2025-54576"),
            Row("/{p}?/../{o}"),
            Row("/{o}</..>/{p}?x"),
            Row("/{p}#/{o}", "CVE-2021-32779"),
            Row("/{p}#", "CVE-2021-39156"),
            Row("/{p}/#x", "CVE-2021-39156"),
            Row("/{o}</..>/{p}#/{o}"),
            Row("/{p}??"),
            Row("/{p}?#"),
        ),
    ),
}

_FORMS = (
    Row("{p}", "CVE-2026-33186"),
    Row("http://{h}/{p}"),
    Row("http://other.invalid/{p}"),
    Row("HTTP://{h}/{p}"),
    Row("https://{h}/{p}"),
    Row("//{h}/{p}"),
    Row("x:/{p}"),
    Row("/{p} "),
)
_NO_PATHS = ("*", "", "?/{p}", "#/{p}")


def cases(aim: Aim, rng: Random, count: int) -> Iterator[Case]:
    """Yield the fixed tricks, then `count` generated ones."""
    for name, group in GROUPS.items():
        for row in group.rows:
            yield _shielded(name, _filled(row.text, aim), group.why, row.advisory)
    yield from _forms(aim)
    yield from _generated(aim, rng, count)
    yield from _long(aim)


def _levels(aim: Aim) -> int:
    """How many steps lead from the open path back to the root."""
    return len(aim.public.strip(b"/").split(b"/"))


def _filled(text: str, aim: Aim) -> str:
    # Before anything of the caller's stands in it: his paths may hold these signs.
    text = re.sub("<(.*?)>", lambda up: up[1] * _levels(aim), text)
    plain = aim.protected.decode("latin-1").strip("/")
    first, rest = plain[:1], plain[1:]
    spelled = {
        "p": plain,
        "o": aim.public.decode("latin-1").strip("/"),
        "h": aim.host.decode("latin-1"),
        "e": escaped(first, upper=False) + rest,
        "E": "/".join("".join(map(escaped, segment)) for segment in plain.split("/")),
        "2e": escaped(first, depth=2) + rest,
        "2E": "/".join(
            "".join(escaped(letter, depth=2) for letter in segment) for segment in plain.split("/")
        ),
    }
    for name, value in spelled.items():
        text = text.replace("{" + name + "}", value)
    return text


def _shielded(group: str, path: str, why: str, advisory: str = "") -> Case:
    sent = path.encode("utf-8", "surrogateescape")
    # What is no path at all ends a connection of HTTP/2, and Envoy takes a second over it: see `forms`.
    wires = frozenset() if path.startswith("/") else CHECKS | {Wire.HTTP1}
    return Case(repr(path)[1:-1], group, (Ask(sent),), Expect.SHIELDED, why, advisory, wires)


def _forms(aim: Aim) -> Iterator[Case]:
    why = "a target that is no absolute path is routed by one part of the system and matched by another"
    for row in _FORMS:
        path = _filled(row.text, aim)
        yield Case(path, "forms", (Ask(path.encode()),), Expect.SHIELDED, why, row.advisory)
    for text in _NO_PATHS:
        path = _filled(text, aim)
        why = "a request without a path has no rule that could fit it"
        wires = CHECKS | {Wire.HTTP1}
        yield Case(
            path or "(empty)", "forms", (Ask(path.encode()),), Expect.REFUSED, why, "", wires, grave=False
        )


def _generated(aim: Aim, rng: Random, count: int) -> Iterator[Case]:
    why = "some reader somewhere takes this spelling for the protected path"
    path = aim.protected.decode("latin-1")
    spelled = list(fixed_spellings(path))
    spelled += [spell_path(rng, path) for _ in range(count)]
    spelled += [wild_path(rng, path) for _ in range(count // 4)]
    if aim.windows:
        spelled += [spell_case(rng, path) for _ in range(8)]
    for text in dict.fromkeys(spelled):
        yield _shielded("generated-paths", text, why)


def _long(aim: Aim) -> Iterator[Case]:
    why = "a long path must cost no more than a long one, and be judged like any other"
    protected, public = aim.protected, aim.public
    for name, path in (
        ("12 KiB below the protected path", protected + b"/a" * 6000),
        (
            "the protected path after 1,000 detours",
            public + b"/a/.." * 1000 + b"/.." * _levels(aim) + protected,
        ),
        ("3,000 escapes", protected + b"%2e" * 3000),
        ("8,000 slashes", b"/" * 8000 + protected.lstrip(b"/")),
        ("4,000 dots", b"/." * 4000 + protected),
        ("3,000 parameters", protected + b";a=b" * 3000),
    ):
        yield Case(name, "long-paths", (Ask(path),), Expect.SHIELDED, why, "", HTTP | CHECKS)
