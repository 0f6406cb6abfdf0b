"""Headers: one pass over what Envoy sends, in either of its two forms, to one joined form.

Envoy sends `header_map` (raw bytes, duplicates kept) or the older `headers` (a map: duplicates joined with
commas, bytes that are not UTF-8 as `!`). Both become the same joined values, so that one request gets one
decision. What the map cannot tell is which names came more than once: `Headers.repeated` is empty there.
Whoever must notice a repetition therefore looks for a comma in the value (for `cookie` too: Envoy joins the
crumbs of HTTP/2 with "; ", but two cookie lines with a comma).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

from authz.model.reason import Detail
from authz.model.site import Listener, Site
from authz.model.text import header_text
from authz.request.facts import speaks_grpc, upgrades

_OURS = "x-authz-"
_OVERRIDES = frozenset({"x-http-method-override", "x-http-method", "x-method-override"})
_SETTINGS = "http2-settings"
_ODD_NAMES = _OVERRIDES | {_SETTINGS}
_PSEUDO_COUNT = 4  # :authority, :method, :path, :scheme

_ORDINARY = re.compile(r"[a-z0-9\n-]*")
_CACHED_NAMES_MAX_CHARS = 2048  # 1,024 lists of names take 2 MiB at the most
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # Source: RFC 9110, section 5.6.2
_NORMAL = str.maketrans("_.", "--")
_new = tuple.__new__  # what a NamedTuple's own constructor does, without its 0.3 us of arguments
_NEVER: frozenset[str] = frozenset()


class Headers(NamedTuple):
    """The headers of a request, read."""

    values: dict[str, bytes]  # lower-case name -> joined value; no pseudo headers
    repeated: frozenset[str]  # what is known of it; see above
    strays: tuple[str, ...]  # as received, sorted
    upgrade: tuple[str, ...]
    grpc: bool


class RequestLine(NamedTuple):
    """Envoy's fields that its pseudo headers repeat, as sent."""

    method: str
    path: str
    host: str
    scheme: str


def read_headers(
    http: Any, line: RequestLine, site: Site, listener: Listener, owned: frozenset[str]
) -> Headers | Detail:
    """Return the headers in canonical form, or why they are refused.

    Args:
        owned: headers that only we may set on this host, see `ReadingRules`.

    Source: threats.md, "Headers, query, cookies"; protocol.md, "The request".
    """
    gathered = gather(http, listener)
    if isinstance(gathered, Detail):
        return gathered
    values, repeated = gathered
    if _disagrees(values, line):
        return Detail.HEADER_AMBIGUOUS
    names = "\n".join(values)
    content = b"".join(values.values())
    if len(names) + len(content) > listener.max_header_bytes or len(values) > listener.max_header_count:
        return Detail.HEADERS_TOO_LARGE
    if b"\n" in content or b"\r" in content or b"\0" in content:
        return Detail.HEADER_AMBIGUOUS
    if not content.isascii():
        values = legible(values)
    # SECURITY: only short lists are remembered, or a client could fill our memory.
    ordinary = _are_ordinary if len(names) <= _CACHED_NAMES_MAX_CHARS else _are_ordinary.__wrapped__
    if ordinary(names, len(values), owned):
        if "upgrade" not in values and line.method != "POST":
            return _new(Headers, (values, repeated, (), (), False))
        return _understood(values, repeated, (), line.method)
    return _read_odd(values, repeated, line.method, site, owned)


def gather(http: Any, listener: Listener) -> tuple[dict[str, bytes], frozenset[str]] | Detail:
    """Return name -> joined value as Envoy sent it, pseudo headers included, and the repeated names."""
    entries = http.header_map.headers
    joined = http.headers
    # SECURITY: counted before they are walked, since one message holds a million empty ones.
    if len(entries) + len(joined) > listener.max_header_count + _PSEUDO_COUNT:
        return Detail.HEADERS_TOO_LARGE
    if joined and entries:
        return Detail.HEADER_AMBIGUOUS
    if joined:
        return {name: value.encode() for name, value in joined.items()}, _NEVER
    values: dict[str, bytes] = {}
    for entry in entries:
        if entry.value:
            return _gather_mixed(entries)
        values[entry.key] = entry.raw_value
    if len(values) != len(entries):
        return _joined([(entry.key, entry.raw_value) for entry in entries])
    return values, _NEVER


def legible(values: dict[str, bytes]) -> dict[str, bytes]:
    """Return the values as Envoy's map would carry them: each byte that is not UTF-8 as `!`."""
    return {name: header_text(value).encode() for name, value in values.items()}


def _gather_mixed(entries: Any) -> tuple[dict[str, bytes], frozenset[str]] | Detail:
    """Read a header_map whose values stand in `value`, as older Envoys may write it; in both: two values."""
    pairs = []
    for entry in entries:
        if entry.value and entry.raw_value:
            return Detail.HEADER_AMBIGUOUS
        pairs.append((entry.key, entry.raw_value or entry.value.encode()))
    return _joined(pairs)


def _joined(pairs: list[tuple[str, bytes]]) -> tuple[dict[str, bytes], frozenset[str]]:
    """Join the values of each name with commas, in the order received, as Envoy's map does."""
    lists: dict[str, list[bytes]] = {}
    for name, value in pairs:
        lists.setdefault(name, []).append(value)
    repeated = frozenset(name for name, several in lists.items() if len(several) > 1)
    return {name: b",".join(several) for name, several in lists.items()}, repeated


def _disagrees(values: dict[str, bytes], line: RequestLine) -> bool:
    """Take the pseudo headers out; tell whether one is not what its field says (`host` counts as one)."""
    method, path, host, scheme = line
    method_field, path_field, host_field = method.encode(), path.encode(), host.encode()
    scheme_field = scheme.encode()
    take = values.pop
    return (
        take(":method", method_field) != method_field
        or take(":path", path_field) != path_field
        or take(":authority", host_field) != host_field
        or take(":scheme", scheme_field) != scheme_field
        or ("host" in values and values["host"] != host_field)
    )


@lru_cache(maxsize=1024)
def _are_ordinary(names: str, count: int, owned: frozenset[str]) -> bool:
    """Tell whether all names are lower-case letters, digits and hyphens, and none is ours or means trouble.

    Clients send the same few lists of names over and over, so the answer is remembered.

    Args:
        names: all of them, joined with line feeds.
        count: how many; SECURITY: a name with a line feed in it would pass for two, but for the count.
    """
    split = names.split("\n") if count else []
    return (
        len(split) == count
        and _ORDINARY.fullmatch(names) is not None
        and "" not in split
        and _OURS not in names
        and owned.isdisjoint(split)
        and _ODD_NAMES.isdisjoint(split)
    )


def normal_name(name: str) -> str:
    """Return the form in which two header names are one to a careless upstream (CGI turns both into `_`)."""
    return name.lower().translate(_NORMAL)


def _read_odd(
    values: dict[str, bytes], repeated: frozenset[str], method: str, site: Site, owned: frozenset[str]
) -> Headers | Detail:
    """Judge names one by one, in a fixed order of faults, and find those that must not reach the upstream."""
    if not all(map(_TOKEN.fullmatch, values)):
        return Detail.HEADER_INVALID
    lowered = {name.lower(): value for name, value in values.items()}
    if len(lowered) != len(values):
        return Detail.HEADER_AMBIGUOUS  # Envoy lowers names; which of the two would be first is not known
    normal = {name: normal_name(name) for name in values}
    if _SETTINGS in normal.values():
        return Detail.UPGRADE_REFUSED
    overrides = {name for name, form in normal.items() if form in _OVERRIDES}
    if overrides and not site.remove_method_override:
        return Detail.METHOD_OVERRIDE
    ours = {name for name, form in normal.items() if form.startswith(_OURS) or form in owned}
    strays = tuple(sorted(overrides | ours))
    return _understood(lowered, frozenset(map(str.lower, repeated)), strays, method)


def _understood(
    values: dict[str, bytes], repeated: frozenset[str], strays: tuple[str, ...], method: str
) -> Headers | Detail:
    """Add what single headers say of how the request is to be read."""
    upgrade = upgrades(values) if "upgrade" in values else ()
    if isinstance(upgrade, Detail):
        return upgrade
    grpc = speaks_grpc(method, values) if method == "POST" else False
    if isinstance(grpc, Detail):
        return grpc
    return _new(Headers, (values, repeated, strays, upgrade, grpc))
