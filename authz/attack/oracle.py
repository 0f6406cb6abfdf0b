"""How real servers read a path: every way that is known, in every order.

No two servers agree on what a path means. Some decode escapes, once or again; some drop `;` parameters,
merge slashes, turn backslashes round, resolve dots, stop at a control byte; and each does so in an order of
its own. An authorization server does not know which of them stands behind it. So a request without a
credential is judged by all of them: what reaches the upstream must not be protected under any reading.

The path ends at the first raw `?` or `#`, before anything is decoded: nearly every server agrees on that, and
`%23` and `%3F` in a path are honest (`/tags/c%23`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

Reading = Callable[[str], str]

# A spelling can be made to grow readings without end; those of this suite have fifteen, or some hundreds.
_READINGS_MAX = 4096

_OVERLONG = {
    b"\xc0\xae": b".",
    b"\xc0\xaf": b"/",
    b"\xe0\x80\xae": b".",
    b"\xe0\x80\xaf": b"/",
    b"\xc1\x9c": b"\\",
}
"""Overlong UTF-8 as lenient decoders read it. Source: CVE-2008-2938."""


def decode(path: str) -> str:
    """Decode percent escapes once, leniently: bad ones stay, and bad UTF-8 becomes U+FFFD."""
    return unquote_to_bytes(path.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")


def decode_overlong(path: str) -> str:
    """Decode once, as readers do that take overlong UTF-8 for the character it spells."""
    raw = unquote_to_bytes(path.encode("utf-8", "surrogateescape"))
    for overlong, plain in _OVERLONG.items():
        raw = raw.replace(overlong, plain)
    return raw.decode("utf-8", "replace")


def decode_unicode(path: str) -> str:
    """Decode `%uXXXX`, which old servers of Windows and of Java read as UTF-16."""
    read = re.sub(r"%u([0-9A-Fa-f]{4})", lambda match: chr(int(match[1], 16)), path)
    return read.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")  # half a pair is U+FFFD


def strip_parameters(path: str) -> str:
    """Drop everything from a `;` to the end of its segment, as servlet containers do."""
    return re.sub(r";[^/]*", "", path)


def merge_slashes(path: str) -> str:
    """Make one slash of several."""
    return re.sub(r"/+", "/", path)


def turn_backslashes(path: str) -> str:
    """Read a backslash as a slash."""
    return path.replace("\\", "/")


def resolve_dots(path: str) -> str:
    """Resolve `.` and `..`; nothing climbs above the root."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            kept = kept[:-1] if len(kept) > 1 else kept
        elif segment != ".":
            kept.append(segment)
    return "/".join(kept) or "/"


def cut_at_control(path: str) -> str:
    """Stop at the first control byte, as readers written in C do at NUL."""
    return re.split(r"[\x00-\x1f\x7f]", path, maxsplit=1)[0]


def name_files(path: str) -> str:
    """Read each segment as Windows reads names of files: any case, no dots and blanks at the end."""
    return re.sub(r"(?<=[^/. ])[. ]+(?=/|\Z)", "", path.lower())


def drop_authority(path: str) -> str:
    """Read `http://host/path` and `//host/path` as URLs. Source: GHSA-9f29-v6mm-pw6w."""
    match = re.match(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/]*(/.*)", path, re.DOTALL)
    return match[1] if match else path


STEPS: tuple[Reading, ...] = (
    decode,
    decode_overlong,
    decode_unicode,
    strip_parameters,
    merge_slashes,
    turn_backslashes,
    resolve_dots,
    cut_at_control,
    drop_authority,
)


def readings(path: str, *, windows: bool = False) -> set[str]:
    """Return every way in which upstreams may read a path: any steps, in any order, repeated.

    Args:
        path: a request target; its query and fragment are cut off first.
        windows: also read it as Windows reads names of files.
    """
    first = re.split(r"[?#]", path, maxsplit=1)[0]
    found = {first}
    front = [first]
    steps = (*STEPS, name_files) if windows else STEPS
    while front and len(found) < _READINGS_MAX:
        ahead = {step(reading) for reading in front for step in steps} - found
        found |= ahead
        front = list(ahead)
    return found | {"/" + reading for reading in found if reading[:1] != "/"}


def falls_under(path: str, prefix: str) -> bool:
    """Tell whether one reading of a path is a prefix, or lies below it."""
    return path == prefix or path.startswith(prefix.rstrip("/") + "/")


def protected_reading(path: str, prefix: str, *, windows: bool = False) -> str | None:
    """Return a reading of a path that lies at or below a protected prefix, or None."""
    wanted = prefix.lower() if windows else prefix
    found = (reading for reading in readings(path, windows=windows) if falls_under(reading, wanted))
    return min(found, default=None, key=lambda reading: (len(reading), reading))


def plain_reading(path: str) -> str:
    """Return the path as a proxy that cleans paths passes it on: unescaped, slashes merged, dots resolved.

    Source: RFC 3986, section 6.2.2; Envoy's `normalize_path` and `merge_slashes`.
    """
    first = re.split(r"[?#]", path, maxsplit=1)[0]
    return resolve_dots(merge_slashes(turn_backslashes(decode(first))))
