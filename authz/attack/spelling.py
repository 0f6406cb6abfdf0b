"""Hostile spellings, generated from a seed: of a path, of a host, of a header's name, of a credential.

The same seed gives the same spellings. The parts are those that readers quarrel about (`oracle.py`); they are
mixed freely, so most results aim at the protected thing and some are merely odd, which is as it should be.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from random import Random

SLASHES = (
    *("/", "//", "%2F", "%2f", "\\", "%5C", "%5c", "/./", "/%2e/"),
    *("%252F", "%252f", "%255C", "/;/", "/;x=1/", "%c0%af", "%e0%80%af", "%u002f"),
)
DETOURS = (
    *("/x/..", "/x/%2e%2e", "/x/%2E.", "/x/.%2e", "/x/..;", "/x/..;a=b", "/x%2F..", "/x/%252e%252e"),
    *("/x/%25252e.", "/x\\..", "/x%5C..", "/x/..%00", "/x/.%09.", "/x/%c0%ae%c0%ae", "/x/%e0%80%ae."),
    *("/x/..%3b", "/x/%u002e%u002e", "/x/%%32%65%%32%65", "/..", "/../..", "/%2e%2e"),
)
TAILS = (
    *("", "/", "//", ";", ";x=1", "%3B", "%3bx", "/.", "/%2e", "%2F", "#", "#top", "?", "?a=b"),
    *("%00", "%20", "%0a", "%0d%0a", "%253B", ".", "..;/", "%00.html", "%09", "%7f"),
)
HEADS = ("", "/", "/.", "//example.com", "http://example.com", "%2F", "\\", "/x/..", "/;", "/%00")
PARAMETERS = (";", ";x=1", "%3B", "%3bx=1", ";/", ";%2f")
_WILD = (*SLASHES, *DETOURS, *TAILS, "a", "..", ".", "%61", "%2525", "%", "%zz", "é", "%C3%A9", "+", "@")

HOST_HEADS = ("user@", "user:pw@", " ", "http://", "//", ".", "*.", "%00", "\t", "[", "evil.example,")
HOST_TAILS = (
    *(".", "..", ":80", ".:443", ":65535", ":", ":0", ":00080", ":65536", ":+80", ":-1", ":８０", ":80:80"),
    *(":8_0", "/", "/admin", "?", "#", "@evil.example", ",evil.example", " evil.example", "%2e", "\x00"),
    *("\n", "]", "\u3002", "\u200b", "\u00ad"),  # an ideographic full stop, zero width, a soft hyphen
)


def escaped(character: str, *, depth: int = 1, upper: bool = True) -> str:
    """Return a character as percent escapes, the percent itself encoded `depth - 1` times."""
    percent = "%" + "25" * (depth - 1)
    return "".join(percent + (f"{byte:02X}" if upper else f"{byte:02x}") for byte in character.encode())


def _sometimes(rng: Random, one_in: int) -> bool:
    return rng.randrange(one_in) == 0


def spell_segment(rng: Random, text: str) -> str:
    """Spell a segment: most characters plain, some escaped once or deeper, in either case of hex."""
    spelled = []
    for character in text:
        depth = rng.choice((0, 0, 0, 0, 0, 1, 2, 3))
        spelled.append(escaped(character, depth=depth, upper=_sometimes(rng, 2)) if depth else character)
    return "".join(spelled)


def spell_path(rng: Random, path: str) -> str:
    """Spell a path so that some reader somewhere may take it for `path`; the plain spelling comes up too."""
    pieces = [rng.choice(HEADS)] if _sometimes(rng, 4) else []
    for segment in path.strip("/").split("/"):
        if _sometimes(rng, 4):
            pieces.append(rng.choice(DETOURS))
        pieces.append(rng.choice(SLASHES) if _sometimes(rng, 3) else "/")
        pieces.append(segment if _sometimes(rng, 2) else spell_segment(rng, segment))
        if _sometimes(rng, 6):
            pieces.append(rng.choice(PARAMETERS))
    pieces.append(rng.choice(TAILS) if _sometimes(rng, 2) else "")
    return "".join(pieces)


def spell_case(rng: Random, path: str) -> str:
    """Spell a path in mixed case, for upstreams that ignore it."""
    return "".join(letter.upper() if _sometimes(rng, 2) else letter for letter in path)


def wild_path(rng: Random, path: str) -> str:
    """Return any path made of the parts that readers quarrel about and of the segments of `path`."""
    parts = (*_WILD, *path.strip("/").split("/"))
    return "/" + "".join(rng.choice(parts) for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 4, 8))))


def fixed_spellings(path: str) -> Iterator[str]:
    """Yield each trick once: what a suite without luck should try first."""
    segments = path.strip("/").split("/")
    for slash in SLASHES:
        yield slash + slash.join(segments)
        yield "/" + slash.join(segments)
    for detour in DETOURS:
        yield detour + path
        yield path + detour + "/" + segments[-1]
    for tail in TAILS:
        yield path + tail
    for head in HEADS:
        yield head + path
    for depth, upper in itertools.product((1, 2, 3), (True, False)):
        yield "/" + "/".join("".join(escaped(c, depth=depth, upper=upper) for c in s) for s in segments)
        yield "/" + escaped(path[1], depth=depth, upper=upper) + path[2:]


def spell_host(rng: Random, host: str) -> str:
    """Spell a host so that some reader may take it for `host`."""
    letters = "".join(letter.upper() if _sometimes(rng, 2) else letter for letter in host)
    head = rng.choice(HOST_HEADS) if _sometimes(rng, 4) else ""
    return head + letters + (rng.choice(HOST_TAILS) if _sometimes(rng, 2) else "")


def spell_name(rng: Random, name: str) -> str:
    """Spell a header name as a careless upstream might take it for `name`: any case, `_` or `.` for `-`."""
    return "".join(
        rng.choice("-_.") if letter == "-" else rng.choice((letter, letter.upper())) for letter in name
    )


_BENT: tuple[Callable[[str], str], ...] = (
    lambda token: f'"{token}"',
    lambda token: f"'{token}'",
    lambda token: f"{token}\u200b",
    lambda token: f"\ufeff{token}",
    lambda token: f"{token}\u00a0",
    lambda token: token[:-1],
    lambda token: token + "A",
    lambda token: token + "%00",
    lambda token: token + ";",
    lambda token: token + ",",
    lambda token: "," + token,
    lambda token: f"{token},{token}",
    lambda token: f"{token}, {token}",
    lambda token: f"{token} {token}",
    lambda token: token.swapcase(),
    lambda token: token.replace("_", "-").replace(".", "_"),
    lambda token: token.replace("a", "\u0430", 1).replace("A", "\u0410", 1),  # Cyrillic look-alikes
    lambda token: escaped(token[0]) + token[1:],
    lambda token: token[::-1],
    lambda token: "Bearer " + token,
)


def bent_tokens(token: str) -> Iterator[str]:
    """Yield what resembles a good credential and is not it. None of these may be trimmed into validity."""
    yield from dict.fromkeys(bent for bend in _BENT if (bent := bend(token)) != token)


def spell_token(rng: Random, token: str) -> str:
    """Change one character of a credential, or two."""
    letters = list(token)
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.randrange(len(letters))
        letters[at] = rng.choice("0123456789ABCXYZabcxyz_-.~!")
    return "".join(letters)
