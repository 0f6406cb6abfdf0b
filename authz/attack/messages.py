"""Cases for ext_authz servers themselves: CheckRequests that no honest proxy sends.

Whoever reaches the server's port can send them, and a bug in a proxy can too. A refusal has to be an answer:
what comes of an error of gRPC is up to the proxy's `failure_mode_allow`.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from envoy.service.auth.v3 import external_auth_pb2
from google.protobuf.message import DecodeError

from authz.attack.aim import Aim
from authz.attack.case import Ask, Case, Expect, Message, Need, Pair
from authz.attack.message import add_headers, blank, check_request
from authz.attack.oracle import protected_reading

_PARSE = external_auth_pb2.CheckRequest.FromString
_MALFORMED = "GHSA-68wm-pfjf-wqp6"  # a request that could not be read was let through


def cases(aim: Aim, rng: Random, count: int) -> Iterator[Case]:
    """Yield broken messages, then contradictory ones, then one request in every form."""
    yield from _broken(aim, rng, count)
    yield from _odd(aim)
    yield from _contradictory(aim)
    yield from _forms(aim)


def _refused(name: str, group: str, payload: bytes, why: str, advisory: str = "") -> Case:
    return Case(name, group, (Message(payload),), Expect.REFUSED, why, advisory)


def _broken(aim: Aim, rng: Random, count: int) -> Iterator[Case]:
    why = "what cannot be read is answered with a yes, or with an error that may become one"
    whole = check_request(Ask(aim.protected), aim.host, raw=True)
    for name, payload in (
        ("no bytes at all", b""),
        ("one byte", b"\x0a"),
        ("NULs", b"\0" * 100),
        ("text", b"GET / HTTP/1.1\r\n\r\n"),
        ("a length beyond the end", b"\x0a\xff\xff\xff\xff\x0f"),
        ("an endless varint", b"\x0a" + b"\xff" * 100),
        ("a group that is never closed", b"\x0b" * 1000),
        ("fields that nobody knows", b"\xfa\x7f\x02hi" * 1000),
        ("1 MiB of NULs", b"\0" * (1 << 20)),
        ("1 MiB of random bytes", rng.randbytes(1 << 20)),
        ("trailing garbage", whole + b"\xff\xff"),
    ):
        yield _refused(name, "messages", payload, why, _MALFORMED)
    for number in range(max(8, count // 8)):
        yield _refused(
            f"random bytes {number}", "messages", rng.randbytes(rng.randrange(1, 400)), why, _MALFORMED
        )
    for cut in sorted({rng.randrange(1, len(whole)) for _ in range(max(8, count // 8))}):
        yield _mutant(f"the first {cut} bytes", whole[:cut], aim, why)
    for number in range(max(8, count // 4)):
        yield _mutant(f"flipped bits {number}", _flipped(rng, whole), aim, why)


def _flipped(rng: Random, payload: bytes) -> bytes:
    changed = bytearray(payload)
    for _ in range(rng.choice((1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _mutant(name: str, payload: bytes, aim: Aim, why: str) -> Case:
    """A message that was damaged may happen to ask about something open; else it is refused."""
    expect = Expect.REFUSED if _asks_for_it(payload, aim) else Expect.ANSWERED
    return Case(name, "messages", (Message(payload),), expect, why, _MALFORMED)


def _asks_for_it(payload: bytes, aim: Aim) -> bool:
    try:
        http = _PARSE(payload).attributes.request.http
    except DecodeError:
        return True
    reading = protected_reading(http.path, aim.protected.decode("utf-8", "surrogateescape"))
    return not http.path or reading is not None


def _odd(aim: Aim) -> Iterator[Case]:
    why = "a message that is well formed and says too little or too much is not a reason to say yes"
    group = "odd-messages"
    empty = external_auth_pb2.CheckRequest()
    empty.attributes.SetInParent()
    yield _refused("no request in it", group, empty.SerializeToString(), why)
    empty.attributes.request.SetInParent()
    yield _refused("a request without HTTP", group, empty.SerializeToString(), why)
    empty.attributes.request.http.SetInParent()
    yield _refused("HTTP without anything", group, empty.SerializeToString(), why)
    for field in ("method", "path", "host"):
        message = blank(Ask(aim.protected), aim.host)
        message.attributes.request.http.ClearField(field)
        yield _refused(f"no {field}", group, message.SerializeToString(), why)
    for field in ("method", "path", "host", "scheme", "id", "protocol"):
        yield _refused(f"{field} is not UTF-8", group, _not_utf8(field, aim), why, "CVE-2023-27488")
    nested = check_request(Ask(aim.protected), aim.host, raw=True) + _deep(2000)
    yield _refused("2,000 levels deep", group, nested, why)
    for mebibytes in (1, 3):
        message = blank(Ask(aim.protected), aim.host)
        message.attributes.request.http.raw_body = b"\0" * (mebibytes << 20)
        yield _refused(f"a body of {mebibytes} MiB", group, message.SerializeToString(), why)
    many = blank(Ask(aim.protected), aim.host)
    add_headers(many, ((b"x", b""),) * 200_000, raw=True)
    yield _refused("200,000 empty headers", group, many.SerializeToString(), why)
    mapped = blank(Ask(aim.protected), aim.host)
    add_headers(mapped, tuple((b"x%d" % number, b"v") for number in range(50_000)), raw=False)
    yield _refused("50,000 headers in the map", group, mapped.SerializeToString(), why)


def _not_utf8(field: str, aim: Aim) -> bytes:
    """Return a whole message in which one text field ends in a byte that no UTF-8 ends in."""
    message = blank(Ask(aim.protected), aim.host)
    http = message.attributes.request.http
    marked = getattr(http, field) + "~" * 7
    setattr(http, field, marked)
    return bytes(message.SerializeToString()).replace(b"~" * 7, b"~" * 6 + b"\xff")


def _deep(levels: int) -> bytes:
    """Return an unknown field whose message holds itself, so deep."""
    inner = b""
    for _ in range(levels):
        inner = b"\x0a" + _varint(len(inner)) + inner
    return b"\x0a" + _varint(len(inner)) + inner


def _varint(number: int) -> bytes:
    encoded = b""
    while number > 0x7F:
        encoded += bytes([number & 0x7F | 0x80])
        number >>= 7
    return encoded + bytes([number])


def _contradictory(aim: Aim) -> Iterator[Case]:
    why = "two parts of one message disagree, and judge and proxy believe different ones"
    group = "contradictions"
    ask, public = Ask(aim.protected), Ask(aim.public)
    for name, header, value in (
        ("the path", b":path", aim.public),
        ("the method", b":method", b"OPTIONS"),
        ("the authority", b":authority", b"other.invalid"),
    ):
        for raw in (True, False):
            message = blank(ask, aim.host)
            add_headers(message, ((header, value),), raw=raw)
            form = "raw" if raw else "joined"
            yield _refused(f"{name} in a {form} header", group, message.SerializeToString(), why)
    reverse = blank(public, aim.host)
    add_headers(reverse, ((b":path", aim.protected),), raw=True)
    yield _open("the protected path in a header", group, reverse, why)
    twice = check_request(public, aim.host, raw=True) + check_request(ask, aim.host, raw=True)
    yield _refused("two requests in one message", group, twice, why)
    field = blank(ask, aim.host)
    field.attributes.request.http.query = "x=1"
    field.attributes.request.http.fragment = "x"
    yield _refused("a query and a fragment of their own", group, field.SerializeToString(), why)
    yield from _two_maps(aim, why)


def _two_maps(aim: Aim, why: str) -> Iterator[Case]:
    """Both forms of headers at once: which of them counts?"""
    if not aim.token:
        return
    headers = aim.presenting(aim.token).headers
    for name, raw_pairs, joined_pairs in (
        ("a good credential in the joined headers only", ((b"x-a", b"b"),), headers),
        ("a good credential in the raw headers only", headers, ((b"x-a", b"b"),)),
    ):
        message = blank(Ask(aim.presenting(aim.token).path), aim.host)
        add_headers(message, raw_pairs, raw=True)
        add_headers(message, joined_pairs, raw=False)
        payload = message.SerializeToString()
        yield Case(
            name,
            "contradictions",
            (Message(payload),),
            Expect.REFUSED,
            why,
            needs=frozenset({Need.KEY}),
            grave=False,
        )


def _open(name: str, group: str, message: Any, why: str) -> Case:
    given = (Message(message.SerializeToString()),)
    return Case(name, group, given, Expect.REFUSED, why, needs=frozenset({Need.OPEN}), grave=False)


def _forms(aim: Aim) -> Iterator[Case]:
    """One request, as every setting of Envoy would tell it: one decision."""
    why = "a setting of the proxy decides who is let in"
    extra: tuple[tuple[str, tuple[Pair, ...]], ...] = (
        ("nothing more", ()),
        ("a header of odd bytes", ((b"x-odd", b"\xe9\xff"),)),
        ("a header twice", ((b"x-a", b"1"), (b"x-a", b"2"))),
        ("an empty header", ((b"x-a", b""),)),
    )
    for more, headers in extra:
        for where, ask, needs in (
            ("the protected path", Ask(aim.protected, headers=headers), frozenset[Need]()),
            ("the open path", Ask(aim.public, headers=headers), frozenset({Need.OPEN})),
            ("a good credential", aim.presenting(aim.token, *headers), frozenset({Need.KEY})),
            ("an unknown credential", aim.presenting(b"unknown", *headers), frozenset[Need]()),
        ):
            forms = tuple(
                Message(check_request(ask, aim.host, raw=raw, pseudo=pseudo))
                for raw in (True, False)
                for pseudo in (True, False)
            )
            yield Case(f"{where}, {more}", "header-forms", forms, Expect.AGREED, why, "", needs=needs)
