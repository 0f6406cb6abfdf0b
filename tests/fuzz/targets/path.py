"""A path, read: nobody reads more in its raw spelling than in its canonical one, and once is enough."""

from __future__ import annotations

import re

from authz.attack.oracle import falls_under, readings
from authz.model.reason import Detail
from authz.model.site import DEFAULT_SITE, Site
from authz.policy.path import parse_path
from authz.request.path import Target as Path
from authz.request.path import read_path, split_target
from tests.fuzz.target import Target

SITES = (
    DEFAULT_SITE,
    Site(keep_matrix=True),
    Site(keep_slashes=True),
    Site(keep_matrix=True, keep_slashes=True),
)
PROTECTED = "/admin"
# A `#` in escapes is a character of a name. Whoever decodes it and then cuts there reads `/admin%23` as
# `/admin`: so do servers that build a URL out of a decoded path. By the contract that is their own fault.
_FRAGMENT = re.compile("%(?:25)*23")
_ALL_READINGS_MAX = 64  # characters: the readings of a longer path take long to find


def run(data: bytes) -> None:
    """Read one path under every kind of Site."""
    raw = data.decode("utf-8", "replace")
    for site in SITES:
        split = split_target(raw, site.path_max_bytes)
        if isinstance(split, Detail):
            assert len(raw) > site.path_max_bytes
            continue
        path, query = split
        assert path + ("?" + query if len(path) < len(raw) else "") == raw
        found = read_path(path, site)
        if isinstance(found, Path):
            _is_canonical(found, site)
            if len(path) <= _ALL_READINGS_MAX and not _FRAGMENT.search(path):
                _is_no_kinder(path, found)


def _is_canonical(found: Path, site: Site) -> None:
    assert found.path.isascii()
    assert read_path(found.path, site) == found
    assert "/".join(("", *found.segments)) == found.path or found == Path("/", ())
    if found.structural:
        assert read_path(found.structural, DEFAULT_SITE) == Path(
            found.structural, tuple(found.structural[1:].split("/")) if found.structural != "/" else ()
        )
    elif site is DEFAULT_SITE and "*" not in found.path:
        # What requests are brought to is what patterns are written in: the same text, segment by segment.
        assert parse_path(found.path).segments == found.segments


def _is_no_kinder(path: str, found: Path) -> None:
    """Nobody who reads carelessly ends up below a protected path unless we judge it as such."""
    if falls_under(found.path, PROTECTED) or falls_under(found.structural, PROTECTED):
        return
    assert not any(falls_under(reading, PROTECTED) for reading in readings(path))


TARGET = Target(
    run,
    512,
    tuple(
        word.encode()
        for word in (
            "/admin",
            "/",
            "..",
            ".",
            "%2e",
            "%2F",
            "%5c",
            ";",
            "%3b",
            "%25",
            "%61",
            "%25u002e",
            "\\",
            "?",
            "#",
            "é",
        )
    ),
)
