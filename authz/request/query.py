"""The query stays as it was sent; here it is only refused where no honest client could have written it.

Splitting and decoding are in `model/text.py`, for every room that looks inside.
"""

from __future__ import annotations

from authz.model.reason import Detail


def query_fault(raw: str) -> Detail | None:
    """Return why a raw query is refused, or None. Linear in its length, and in C.

    A bad percent escape is no fault: it is kept as it stands. Refused are control bytes and raw non-ASCII,
    and two that split a request line or a query for other readers: a space and `#`.
    Source: threats.md, "Headers, query, cookies"; RFC 3986, section 3.4.
    """
    if raw.isascii() and raw.isprintable() and " " not in raw and "#" not in raw:
        return None
    return Detail.QUERY_INVALID
