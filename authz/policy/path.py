"""Path patterns: which paths a rule speaks about.

The literals of a pattern are brought to the canonical form of requests, segment by segment, so that matching
compares texts. What no canonical request can contain is refused here: a rule that can never match is a trap.

Source: RFC 3986, section 3.3 and appendix A (pchar).
"""

from __future__ import annotations

import re
import string
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from authz.policy.texts import shown

MAX_PATTERN_BYTES = 8192  # as long as a path may be by default

_UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")
_PLAIN = _UNRESERVED | frozenset("!$&'()*+,;=:@")  # stands unescaped in a canonical path
_CAPTURE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]{0,62})\}")
_ORDINARY = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]*")  # canonical at sight: nearly every segment
_PIECE = re.compile(r"%[0-9A-Fa-f]{2}|[^%]")
_REFUSED = {
    "?": "a path has no query: conditions read `request.query`",
    "#": "a path has no fragment: remove it",
    "\\": "a backslash is refused in every request: write `/`",
}


class PathPattern(NamedTuple):
    """One path pattern, in segments."""

    segments: tuple[str | None, ...]  # canonical literals; None for `*` and `{name}`
    captures: tuple[tuple[str, int], ...]  # name -> index of the segment
    rest: bool  # ends in `**`: zero or more segments follow

    def matches(self, segments: tuple[str, ...]) -> bool:
        """Whether a canonical path is one of this pattern: what `index.py` walks, asked of one pattern."""
        if len(segments) < len(self.segments) or (not self.rest and len(segments) > len(self.segments)):
            return False
        return all(own is None or own == sent for own, sent in zip(self.segments, segments, strict=False))


def parse_path(text: str) -> PathPattern:
    """Read a path pattern.

    Raises:
        ValueError: the text is no pattern; the message says how to mend it.
    """
    if not text.startswith("/"):
        raise ValueError(f"`{shown(text)}` must begin with `/`")
    if len(text.encode()) > MAX_PATTERN_BYTES:
        raise ValueError(f"longer than {MAX_PATTERN_BYTES} bytes: no such path reaches a rule")
    for character, why in _REFUSED.items():
        if character in text:
            raise ValueError(f"`{shown(text)}`: {why}")
    parts = text.removesuffix("/")[1:].split("/") if text != "/" else []
    rest = parts[-1:] == ["**"]
    return _pattern(text, parts[:-1] if rest else parts, rest=rest)


def _pattern(text: str, parts: list[str], *, rest: bool) -> PathPattern:
    segments: list[str | None] = []
    captures: dict[str, int] = {}
    for index, part in enumerate(parts):
        name = _CAPTURE.fullmatch(part)
        if name is not None:
            if name[1] in captures:
                raise ValueError(f"`{shown(text)}`: `{{{name[1]}}}` stands twice: name one otherwise")
            captures[name[1]] = index
        segments.append(None if name is not None or part == "*" else _literal(text, part))
    return PathPattern(tuple(segments), tuple(captures.items()), rest)


def _literal(text: str, part: str) -> str:
    if _ORDINARY.fullmatch(part):
        return part
    if part == "**":
        raise ValueError(f"`{shown(text)}`: `**` stands only at the end")
    if part == "":
        raise ValueError(f"`{shown(text)}`: an empty segment is refused in every request: write one `/`")
    if part in (".", ".."):
        raise ValueError(
            f"`{shown(text)}`: a dot segment is refused in every request: write the path that is meant"
        )
    if any(character in part for character in "*{}"):
        raise ValueError(
            f"`{shown(text)}`: `*` and `{{name}}` are whole segments: "
            "escape the character (`%2A`, `%7B`, `%7D`) where it is meant literally"
        )
    pieces = _PIECE.findall(part)
    if len("".join(pieces)) != len(part):
        raise ValueError(f"`{shown(text)}`: `%` begins no escape: write `%25` for a percent sign")
    return _checked(text, "".join(_canonical(text, piece) for piece in pieces))


def _canonical(text: str, piece: str) -> str:
    if len(piece) == 1:
        if ord(piece) < 0x20 or ord(piece) == 0x7F:
            raise ValueError("a control character is refused in every request: remove it")
        return piece if piece in _PLAIN else "".join(f"%{byte:02X}" for byte in piece.encode())
    character = chr(int(piece[1:], 16))
    if character in _UNRESERVED:
        raise ValueError(
            f"`{shown(text)}`: a needless escape is refused in every request: write `{character}`"
        )
    if ord(character) < 0x20 or character in "\\\x7f":
        raise ValueError(f"`{shown(text)}`: `{piece}` is refused in every request: remove it")
    return character if character in _PLAIN else piece.upper()


def _checked(text: str, literal: str) -> str:
    try:
        unquote_to_bytes(literal).decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(
            f"`{shown(text)}`: the escapes are not UTF-8, which is refused in every request"
        ) from None
    return literal
