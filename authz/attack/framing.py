"""Cases: requests that only one version of HTTP can say, and that a proxy has to translate or to refuse."""

from __future__ import annotations

from collections.abc import Iterator

from authz.attack.aim import Aim
from authz.attack.case import Ask, Case, Expect, Fields, Pair, Raw
from authz.attack.http1 import pairs_of, request_bytes

_SCHEMES = (b"ftp", b"HTTP", b"https", b"javascript", b"")


def cases(aim: Aim) -> Iterator[Case]:
    """Yield what only bytes of HTTP/1.1 can say, then what only header lists of HTTP/2 can."""
    yield from framing(aim)
    yield from fields(aim)


def framing(aim: Aim) -> Iterator[Case]:
    """Yield requests of HTTP/1.1 whose end, version or host two readers see differently.

    Outer and inner request both ask for the protected path without a credential, so no success is right.
    """
    why = "two readers disagree about where a request ends, and the second one is judged by nobody"
    inner = request_bytes(Ask(aim.protected), aim.host)
    path, host = aim.protected, aim.host
    line = b"POST " + path + b" HTTP/1.1\r\nhost: " + host + b"\r\n"
    get = b"GET " + path + b" HTTP/1.1\r\n"
    chunked = b"0\r\n\r\n"
    for name, data in (
        (
            "length, then chunks",
            line + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n" + chunked + inner,
        ),
        (
            "chunks of a length",
            line + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n" + chunked + inner,
        ),
        ("an unknown coding", line + b"transfer-encoding: xchunked\r\ncontent-length: 0\r\n\r\n" + inner),
        ("a coding after a tab", line + b"transfer-encoding:\tchunked\r\n\r\n" + chunked + inner),
        ("a blank before the colon", line + b"transfer-encoding : chunked\r\n\r\n" + chunked + inner),
        ("two lengths", line + b"content-length: 0\r\ncontent-length: 5\r\n\r\n" + inner),
        ("a list of lengths", line + b"content-length: 0, 5\r\n\r\n" + inner),
        ("a signed length", line + b"content-length: +0\r\n\r\n" + inner),
        ("a negative length", line + b"content-length: -1\r\n\r\n" + inner),
        ("a folded header", line + b"x-a: b\r\n transfer-encoding: chunked\r\n\r\n" + chunked + inner),
        ("bare line feeds", get.replace(b"\r", b"") + b"host: " + host + b"\n\n"),
        ("HTTP/0.9", b"GET " + path + b"\r\n\r\n"),
        ("HTTP/1.0", b"GET " + path + b" HTTP/1.0\r\nhost: " + host + b"\r\n\r\n"),
        ("an unknown version", b"GET " + path + b" HTTP/3.7\r\nhost: " + host + b"\r\n\r\n"),
        ("two hosts", get + b"host: " + host + b"\r\nhost: other.invalid\r\nconnection: close\r\n\r\n"),
        (
            "two hosts, reversed",
            get + b"host: other.invalid\r\nhost: " + host + b"\r\nconnection: close\r\n\r\n",
        ),
        ("no host", get + b"connection: close\r\n\r\n"),
        ("a blank before the method", b" " + inner),
        ("lines before the request", b"\r\n\r\n" + inner),
        ("a tab in the request line", b"GET\t" + path + b"\tHTTP/1.1\r\nhost: " + host + b"\r\n\r\n"),
        ("two requests at once", inner.replace(b"connection: close\r\n", b"") + inner),
    ):
        yield Case(name, "framing", (Raw(data),), Expect.REFUSED, why)


def fields(aim: Aim) -> Iterator[Case]:
    """Yield header lists that only HTTP/2 can carry."""
    why = "HTTP/2 can say what HTTP/1.1 cannot, and a proxy that translates it writes another request"
    base = pairs_of(Ask(aim.protected), aim.host)
    method, scheme, authority, path = base
    public = (b":path", aim.public)
    line = b"GET " + aim.public + b" HTTP/1.1\r\nx: "
    lists: tuple[tuple[str, tuple[Pair, ...], str], ...] = (
        ("an upper-case name", (*base, (b"X-Upper", b"1")), ""),
        ("a line break in a value", (*base, (b"x-a", b"b\r\nx-forged: 1")), "CVE-2023-27493"),
        ("a line break in a name", (*base, (b"x-a\r\nx-b", b"c")), ""),
        ("NUL in a value", (*base, (b"x-a", b"b\0c")), "CVE-2019-9900"),
        ("a blank in a name", (*base, (b"x a", b"c")), ""),
        ("a second path", (*base, public), "CVE-2023-27491"),
        ("the protected path second", (method, scheme, authority, public, path), "CVE-2023-27491"),
        ("a second authority", (*base, (b":authority", b"other.invalid")), ""),
        ("a second method", (*base, (b":method", b"OPTIONS")), "CVE-2023-27491"),
        ("an unknown pseudo header", (*base, (b":odd", b"x")), ""),
        ("a path after a header", (method, scheme, authority, (b"x-a", b"b"), path), ""),
        ("a request line as method", ((b":method", line), *base[1:]), "CVE-2023-27491"),
        ("no method", base[1:], ""),
        ("no scheme", (method, authority, path), ""),
        ("no authority", (method, scheme, path), ""),
        ("no authority but a host", (method, scheme, path, (b"host", aim.host)), ""),
        ("a host beside the authority", (*base, (b"host", b"other.invalid")), ""),
        ("transfer-encoding", (*base, (b"transfer-encoding", b"chunked")), ""),
        ("connection", (*base, (b"connection", b"close, x-a")), ""),
        ("extended CONNECT", ((b":method", b"CONNECT"), (b":protocol", b"websocket"), *base[1:]), ""),
        ("CONNECT", ((b":method", b"CONNECT"), authority), ""),
    )
    for name, pairs, advisory in lists:
        yield Case(name, "http2", (Fields(pairs),), Expect.REFUSED, why, advisory)
    for each in _SCHEMES:
        pairs = (method, (b":scheme", each), authority, path)
        yield Case(f"the scheme {each!r}", "http2", (Fields(pairs),), Expect.REFUSED, why)
