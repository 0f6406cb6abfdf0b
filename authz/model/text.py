"""Bytes and escapes as text: one reading of a request, and one way to show what others wrote."""

from __future__ import annotations

import re

_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_BAD_BYTE = re.compile("[\udc80-\udcff]")  # as which Python carries it; valid UTF-8 has no such character


def header_text(value: bytes) -> str:
    """Return a header value as text, each byte that is not UTF-8 as `!`: what Envoy does itself.

    Source: protocol.md, "The request": alike whether Envoy sends raw or joined headers.
    """
    return _BAD_BYTE.sub("!", value.decode("utf-8", "surrogateescape"))


def visible(text: str) -> str:
    """Return a text in which whatever a terminal would obey stands as an escape."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def percent_decode(text: str) -> str:
    """Decode the percent escapes of a text once.

    A bad escape is kept as it stands; bytes that are not UTF-8 become U+FFFD. Linear in the length.
    """
    if "%" not in text:
        return text
    raw = text.encode("utf-8", "replace")
    return _ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), raw).decode("utf-8", "replace")


def query_pairs(query: str) -> list[tuple[str, str]]:
    """Split a raw query at `&` and the first `=` of each part; nothing is decoded, empty parts are dropped.

    `;` does not separate. Source: threats.md, "Headers, query, cookies".
    """
    pairs = []
    for part in query.split("&"):
        if part:
            name, _, value = part.partition("=")
            pairs.append((name, value))
    return pairs
