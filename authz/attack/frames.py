"""Cases: gRPC as nobody should speak it, against an ext_authz server's own port.

Here an error is a fair answer. What must not come is an allow, and what must come afterwards is an answer to
the next honest call: `run.py` asks one after every case.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from random import Random

from authz.attack.aim import Aim
from authz.attack.case import Ask, Case, Expect, Frames
from authz.attack.message import METHOD, check_request

_MEBI = 1 << 20
_GZIP = ((b"grpc-encoding", b"gzip"),)
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def cases(aim: Aim, rng: Random, *, huge: bool) -> Iterator[Case]:
    """Yield what a stranger at the port may send; `huge` adds what takes hundreds of MiB to receive."""
    honest = check_request(Ask(aim.protected), aim.host, raw=True)
    why = "whoever reaches the port can stop the server, or make it say yes"
    for name, given, advisory in (*_framing(honest, rng), *_sizes(huge=huge), *_floods(honest)):
        yield Case(name, "frames", (given,), Expect.UNPASSED, why, advisory)


def _framed(message: bytes, *, length: int = -1, flag: int = 0) -> bytes:
    """Return a message as gRPC frames it. Source: "gRPC over HTTP/2", Length-Prefixed-Message."""
    return bytes([flag]) + (len(message) if length < 0 else length).to_bytes(4, "big") + message


def _framing(honest: bytes, rng: Random) -> tuple[tuple[str, Frames, str], ...]:
    return (
        ("no message", Frames(b""), ""),
        ("half a length", Frames(b"\0\0\0"), ""),
        ("a length beyond the end", Frames(_framed(honest, length=len(honest) + 100)), ""),
        ("a length of 4 GiB", Frames(_framed(honest, length=0xFFFFFFFF)), ""),
        ("a length too short", Frames(_framed(honest, length=3)), ""),
        ("two messages", Frames(_framed(honest) * 2), ""),
        ("random bytes", Frames(rng.randbytes(4096)), ""),
        ("compressed, but by what", Frames(_framed(honest, flag=1)), ""),
        ("compressed, but it is not", Frames(_framed(honest, flag=1), _GZIP), ""),
        ("an unknown compression", Frames(_framed(honest, flag=1), ((b"grpc-encoding", b"x"),)), ""),
        ("an unknown flag", Frames(_framed(honest, flag=0xFF)), ""),
        ("no time left", Frames(_framed(honest), ((b"grpc-timeout", b"0n"),)), ""),
        ("a negative time", Frames(_framed(honest), ((b"grpc-timeout", b"-1S"),)), ""),
        ("a time that is no number", Frames(_framed(honest), ((b"grpc-timeout", b"999999999999S"),)), ""),
        ("bytes that are no HTTP/2", Frames(opening=rng.randbytes(4096)), ""),
        ("HTTP/1.1", Frames(opening=b"POST " + METHOD.encode() + b" HTTP/1.1\r\nhost: a\r\n\r\n"), ""),
        ("frames of random bytes", Frames(opening=_PREFACE + rng.randbytes(16384)), ""),
        ("headers without an end", Frames(opening=_PREFACE + _endless_headers()), "CVE-2024-30255"),
    )


def _endless_headers() -> bytes:
    """Return a HEADERS frame without END_HEADERS and 2,000 CONTINUATION frames.

    Source: RFC 9113, section 6.10.
    """
    settings = b"\0\0\0\4\0\0\0\0\0"
    block = b"\x40\x01x\x01y" * 100  # literal headers, each kept in the table of HPACK
    size = len(block).to_bytes(3, "big")
    return settings + size + b"\1\0\0\0\0\1" + block + (size + b"\t\0\0\0\0\1" + block) * 2000


def _sizes(*, huge: bool) -> Iterator[tuple[str, Frames, str]]:
    yield "5 MiB", Frames(_framed(b"\0" * (5 * _MEBI))), ""
    yield "a length of 200 MiB and 1 MiB of it", Frames(_framed(b"\0" * _MEBI, length=200 * _MEBI)), ""
    yield "64 MiB in 64 KiB", Frames(_framed(_bomb(64), flag=1), _GZIP), ""
    if huge:
        yield "200 MiB", Frames(_framed(b"\0" * (200 * _MEBI))), ""
        yield "1 GiB in 1 MiB", Frames(_framed(_bomb(1024), flag=1), _GZIP), ""


def _bomb(mebibytes: int) -> bytes:
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as file:
        for _ in range(mebibytes):
            file.write(b"\0" * _MEBI)
    return packed.getvalue()


def _floods(honest: bytes) -> tuple[tuple[str, Frames, str], ...]:
    call = _framed(honest)
    return (
        ("300 resets", Frames(call, streams=300, reset=True), "CVE-2023-44487"),
        ("90 streams that never end", Frames(call[:20], streams=90, end=False), ""),
        ("300 calls at once", Frames(call, streams=300), ""),
    )
