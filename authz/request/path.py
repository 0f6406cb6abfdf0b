"""The canonical path, and the refusal of every path that two readers could read differently.

The canonical path begins with "/" and has no trailing slash (but for "/" itself), no empty segment, no dot
segment, no escape of a character that may stand raw in a path, and upper-case hex in the escapes that remain.

A Site may keep `;` parameters and encoded slashes. Then there are two readings, and both are judged:
- as data alone: `;` is a character like any other (`%3B` is read as `;`), and `%2F` stays an escape inside
  its segment; this is `Target.path`;
- structural: `%2F` becomes "/", then everything from a `;` to the end of its segment is dropped; what is left
  is read like any path, so an empty or dot segment in it is refused; this is `Target.structural`.
Where the order of those two steps would matter (`/a;x=1%2Fb`) there are three readings: refused.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from authz.model.reason import Detail
from authz.model.site import Site

_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
_DECODED = b"!$&'()*+,=:@;"  # escapes of these are decoded
_CONTROL = bytes(range(0x20)) + b"\x7f"

_PCHAR = r"A-Za-z0-9\-_~!$&'()*+,=:@"


def _escape_pattern(members: bytes, prefix: str = "%") -> re.Pattern[str]:
    """Return a pattern that finds an escape of any of these bytes, in either case of hex."""
    return re.compile(f"{prefix}(?:{'|'.join(f'{member:02x}' for member in members)})", re.IGNORECASE)


# The ordinary spelling, proven by one look: segments of raw path characters that do not begin with a dot.
_ORDINARY = re.compile(rf"(?:/[{_PCHAR}][{_PCHAR}.]*+)++/?")
_FOREIGN = re.compile(rf"[^{_PCHAR}./;%]")  # may not stand raw in a path. Source: RFC 3986, section 3.3
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_CONTROL_ESCAPE = _escape_pattern(_CONTROL)
_NEEDLESS_ESCAPE = _escape_pattern(_UNRESERVED + b"\\")
# An encoded percent, at any depth, before two digits that a second decoding would turn into a character of
# plain path text, a separator or a control byte. `%2520` (a space) and `100%25` are nobody's disguise.
_HIDDEN_ESCAPE = _escape_pattern(_UNRESERVED + _DECODED + _CONTROL + b"/\\", prefix="%(?:25)+")
# The same in the spelling of old servers of Windows and Java, which read `%u002e` as a dot.
_HIDDEN_UNICODE = re.compile("%(?:25)+u[0-9a-f]{4}", re.IGNORECASE)
_SLASH_ESCAPE = re.compile("%2F", re.IGNORECASE)
_SEMICOLON = re.compile(";|%3B", re.IGNORECASE)
_SLASH_IN_PARAMETER = re.compile(r";[^/;]*%2F")  # from the last `;` before it: 8 KiB of `;` took 18 ms
_PARAMETERS = re.compile(r";[^/]*")
_AMBIGUOUS_SEGMENT = re.compile(r"//|/\.\.?(?:/|\Z)")
_C1_CONTROL = re.compile(r"[\x80-\x9f]")

_RESPELT = {f"%{byte:02X}": chr(byte) if byte in _DECODED else f"%{byte:02X}" for byte in range(256)}


class Target(NamedTuple):
    """The path of a request, read."""

    path: str  # canonical
    segments: tuple[str, ...]  # still escaped; () for "/"
    structural: str = ""  # the other reading, where there is one; see above


_new = tuple.__new__  # what a NamedTuple's own constructor does, without its 0.3 us of arguments
_ROOT = Target("/", ())


def split_target(raw: str, path_max_bytes: int) -> tuple[str, str] | Detail:
    """Split Envoy's `path` at the first `?` into path and query, without looking further than a path may go.

    Source: protocol.md, "The request".
    """
    # SECURITY: the bound makes an endless path cost no more than a long one.
    cut = raw.find("?", 0, path_max_bytes + 1)
    if cut >= 0:
        return raw[:cut], raw[cut + 1 :]
    if len(raw) > path_max_bytes:
        return Detail.PATH_TOO_LONG
    return raw, ""


def read_path(raw: str, site: Site) -> Target | Detail:
    """Return the canonical form of a path, or why it is refused.

    Args:
        raw: the path as sent, without query, not longer than the Site allows.
        site: what is refused and what is kept.

    Source: threats.md, "Path"; documents.md, section 2.
    """
    if _ORDINARY.fullmatch(raw):
        path = raw[:-1] if raw[-1] == "/" else raw
        return _new(Target, (path, tuple(path[1:].split("/")), ""))
    if raw == "/":
        return _ROOT
    return _character_fault(raw) or _escape_fault(raw, site) or _read_respelt(raw)


def _character_fault(raw: str) -> Detail | None:
    """Judge the raw characters, and what the escapes decode to as text."""
    if raw[:1] != "/":
        return Detail.PATH_INVALID  # empty, `*`, absolute form
    if "\\" in raw or "#" in raw:
        return Detail.PATH_AMBIGUOUS
    if _FOREIGN.search(raw) or _BAD_ESCAPE.search(raw) or _CONTROL_ESCAPE.search(raw):
        return Detail.PATH_INVALID
    try:
        text = unquote_to_bytes(raw).decode()  # strict: overlong forms and surrogates are refused too
    except UnicodeDecodeError:
        return Detail.PATH_INVALID
    return Detail.PATH_INVALID if _C1_CONTROL.search(text) else None


def _escape_fault(raw: str, site: Site) -> Detail | None:
    """Judge escapes and parameters that hide what a path is made of."""
    if _NEEDLESS_ESCAPE.search(raw) or _HIDDEN_ESCAPE.search(raw) or _HIDDEN_UNICODE.search(raw):
        return Detail.PATH_AMBIGUOUS
    if not site.keep_slashes and _SLASH_ESCAPE.search(raw):
        return Detail.PATH_AMBIGUOUS
    if not site.keep_matrix and _SEMICOLON.search(raw):
        return Detail.PATH_AMBIGUOUS
    return None


def _read_respelt(raw: str) -> Target | Detail:
    """Spell every escape the canonical way, then read the path, both ways where there are two."""
    data = _ESCAPE.sub(lambda match: _RESPELT[match[0].upper()], raw)
    path = _without_trailing_slash(data)
    if path is None or _SLASH_IN_PARAMETER.search(data):
        return Detail.PATH_AMBIGUOUS
    segments = tuple(path[1:].split("/"))
    decoded = _PARAMETERS.sub("", data.replace("%2F", "/"))
    if decoded == data:
        return Target(path, segments)
    structural = _without_trailing_slash(decoded)
    return Detail.PATH_AMBIGUOUS if structural is None else Target(path, segments, structural)


def _without_trailing_slash(path: str) -> str | None:
    """Return a path without its one trailing slash, or None where a segment is empty or made of dots."""
    if _AMBIGUOUS_SEGMENT.search(path):
        return None
    return path[:-1] if path[-1] == "/" and path != "/" else path
