"""Hostile spellings, generated: of a path that must stay protected, of a host, of a header's name.

Used by property tests on the reader and by end-to-end tests through the real Envoy.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator

from hypothesis import strategies as st

# --- paths ------------------------------------------------------------------------------------------------

_SLASHES = (
    "/",
    "//",
    "%2F",
    "%2f",
    "\\",
    "%5C",
    "%5c",
    "/./",
    "/%2e/",
    "%252F",
    "%252f",
    "%255C",
    "/;/",
    "/;x=1/",
)
_DETOURS = (
    "/x/..",
    "/x/%2e%2e",
    "/x/%2E.",
    "/x/.%2e",
    "/x/..;",
    "/x/..;a=b",
    "/x%2F..",
    "/x/%252e%252e",
    "/x/%25252e.",
    "/x\\..",
    "/x%5C..",
    "/x/..%00",
    "/x/.%09.",
    "/x/%c0%ae%c0%ae",
    "/x/%e0%80%ae.",
)
_TAILS = (
    "",
    "/",
    "//",
    ";",
    ";x=1",
    "%3B",
    "%3bx",
    "/.",
    "/%2e",
    "%2F",
    "#",
    "#top",
    "?",
    "?a=b",
    "%00",
    "%20",
    "%253B",
    ".",
)
_HEADS = ("", "/", "/.", "//example.com", "http://example.com", "%2F", "\\", "/x/..")


def _escaped(character: str, *, depth: int = 1, upper: bool = True) -> str:
    """Return a character as percent escapes, the percent itself encoded `depth - 1` times."""
    percent = "%" + "25" * (depth - 1)
    return "".join(percent + (f"{byte:02X}" if upper else f"{byte:02x}") for byte in character.encode())


@st.composite
def spelled_characters(draw: st.DrawFn, text: str) -> str:
    """Spell a segment: most characters plain, some escaped once or deeper, in either case of hex."""
    spelled = []
    for character in text:
        depth = draw(st.sampled_from((0, 0, 0, 0, 0, 1, 2, 3)))
        upper = draw(st.booleans())
        spelled.append(_escaped(character, depth=depth, upper=upper) if depth else character)
    return "".join(spelled)


@st.composite
def spelled_paths(draw: st.DrawFn, path: str) -> str:
    """Spell a path so that some reader somewhere may take it for `path`.

    Separators, detours, parameters, escapes at several depths, absolute forms and tails are mixed freely;
    the plain spelling comes up too.
    """
    pieces = [draw(st.sampled_from(_HEADS))] if draw(st.integers(0, 3)) == 0 else []
    for segment in path.strip("/").split("/"):
        if draw(st.integers(0, 3)) == 0:
            pieces.append(draw(st.sampled_from(_DETOURS)))
        pieces.append(draw(st.sampled_from(_SLASHES)) if draw(st.integers(0, 2)) == 0 else "/")
        plain = draw(st.integers(0, 1)) == 0
        pieces.append(segment if plain else draw(spelled_characters(segment)))
        if draw(st.integers(0, 5)) == 0:
            pieces.append(draw(st.sampled_from((";", ";x=1", "%3B", "%3bx=1"))))
    pieces.append(draw(st.sampled_from(_TAILS)) if draw(st.integers(0, 1)) == 0 else "")
    return "".join(pieces)


@st.composite
def wild_paths(draw: st.DrawFn) -> str:
    """Return any path made of the parts that readers quarrel about; it aims at nothing."""
    part = st.sampled_from(
        (
            *_SLASHES,
            *_DETOURS,
            *_TAILS,
            "admin",
            "a",
            "..",
            ".",
            "%61",
            "%2525",
            "%",
            "%zz",
            "é",
            "%C3%A9",
            "+",
            "@",
        )
    )
    return "/" + "".join(draw(st.lists(part, max_size=8)))


def fixed_spellings(path: str) -> Iterator[str]:
    """Yield a fixed list of spellings of a path: each trick once, for suites that cannot generate."""
    segments = path.strip("/").split("/")
    for slash in _SLASHES:
        yield slash + slash.join(segments)
        yield "/" + slash.join(segments)
    for detour in _DETOURS:
        yield detour + path
        yield path + detour + "/" + segments[-1]
    for tail in _TAILS:
        yield path + tail
    for head in _HEADS:
        yield head + path
    for depth, upper in itertools.product((1, 2, 3), (True, False)):
        yield "/" + "/".join("".join(_escaped(c, depth=depth, upper=upper) for c in s) for s in segments)
        yield "/" + _escaped(path[1], depth=depth, upper=upper) + path[2:]


# --- what a careless upstream may read ---------------------------------------------------------------------

Reading = Callable[[str], str]


def _decode(path: str) -> str:
    """Decode percent escapes once, leniently: bad ones stay, and bad UTF-8 becomes U+FFFD."""
    raw = re.sub(rb"%([0-9A-Fa-f]{2})", lambda match: bytes([int(match[1], 16)]), path.encode())
    return raw.decode("utf-8", "replace")


def _strip_parameters(path: str) -> str:
    return re.sub(r";[^/]*", "", path)


def _merge_slashes(path: str) -> str:
    return re.sub(r"/+", "/", path)


def _turn_backslashes(path: str) -> str:
    return path.replace("\\", "/")


def _resolve_dots(path: str) -> str:
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            kept = kept[:-1] if len(kept) > 1 else kept
        elif segment != ".":
            kept.append(segment)
    return "/".join(kept) or "/"


def _cut_at_control(path: str) -> str:
    return re.split(r"[\x00-\x1f\x7f#]", path, maxsplit=1)[0]


_STEPS: tuple[Reading, ...] = (
    _decode,
    _strip_parameters,
    _merge_slashes,
    _turn_backslashes,
    _resolve_dots,
    _cut_at_control,
)


def readings(path: str) -> set[str]:
    """Return every way in which upstreams may read a path (without query): any steps, in any order, repeated.

    The set grows until no step adds a reading.
    """
    found = {path}
    front = [path]
    while front:
        ahead = {step(reading) for reading in front for step in _STEPS} - found
        found |= ahead
        front = list(ahead)
    return found


def falls_under(path: str, prefix: str) -> bool:
    """Tell whether a reading of a path lies at a prefix or below it."""
    return path == prefix or path.startswith(prefix + "/")


# --- hosts and names ---------------------------------------------------------------------------------------


_HOST_HEADS = ("user@", "user:pw@", " ", "http://", "//", ".", "*.", "%00", "\t", "[", "evil.example,")
_HOST_TAILS = (
    *(
        ".",
        "..",
        ":80",
        ".:443",
        ":65535",
        ":",
        ":0",
        ":00080",
        ":65536",
        ":+80",
        ":-1",
        ":８０",
        ":80:80",
        ":8_0",
    ),
    *("/", "/admin", "?", "#", "@evil.example", ",evil.example", " evil.example", "%2e", "\x00", "\n", "]"),
    *("\u3002", "\u200b", "\u00ad"),  # an ideographic full stop, a zero-width space, a soft hyphen
)


@st.composite
def spelled_hosts(draw: st.DrawFn, host: str) -> str:
    """Spell a host so that some reader may take it for `host`."""
    letters = [draw(st.sampled_from((letter, letter.upper()))) for letter in host]
    head = draw(st.sampled_from(_HOST_HEADS)) if draw(st.integers(0, 3)) == 0 else ""
    tail = draw(st.sampled_from(_HOST_TAILS)) if draw(st.booleans()) else ""
    return head + "".join(letters) + tail


@st.composite
def spelled_names(draw: st.DrawFn, name: str) -> str:
    """Spell a header name as a careless upstream might take it for `name`: any case, `_` or `.` for `-`."""
    return "".join(
        draw(st.sampled_from("-_.")) if letter == "-" else draw(st.sampled_from((letter, letter.upper())))
        for letter in name
    )
