"""What a reply of HTTP says about the authorization before it."""

from __future__ import annotations

import json

import pytest

from authz.attack.case import Ask, Fields, Frames, Message, Raw, Verdict
from authz.attack.dial import Dial
from authz.attack.doors import CheckDoor, Http1Door, Http2Door, echoed, told
from authz.attack.exchange import FramesDoor
from authz.attack.http1 import Reply
from authz.model.address import TcpAddress

ECHO = json.dumps({"method": "GET", "path": "/a", "headers": [["X-A", "é"]]}).encode()
NOWHERE = TcpAddress("127.0.0.1", 1)  # nobody listens on port 1


@pytest.mark.parametrize(
    ("replies", "verdict", "status"),
    [
        ([], Verdict.REFUSED, 0),
        ([Reply(0)], Verdict.REFUSED, 0),
        ([Reply(200)], Verdict.ALLOWED, 200),
        ([Reply(101)], Verdict.ALLOWED, 101),
        ([Reply(100), Reply(403)], Verdict.REFUSED, 403),
        ([Reply(403), Reply(200)], Verdict.ALLOWED, 200),
        ([Reply(307)], Verdict.REFUSED, 307),
        ([Reply(501)], Verdict.REFUSED, 501),
        ([Reply(503)], Verdict.FAILED, 503),
        ([Reply(200, (("grpc-status", "16"),))], Verdict.REFUSED, 200),
        ([Reply(200, (("grpc-status", "0"),))], Verdict.ALLOWED, 200),
    ],
)
def test_a_reply_is_a_yes_a_no_or_a_failure(replies: list[Reply], verdict: Verdict, status: int) -> None:
    answer = told(replies, echo=False)
    assert (answer.verdict, answer.status, answer.seen) == (verdict, status, ())


def test_what_the_upstream_saw_is_read_from_what_it_says() -> None:
    (seen,) = told([Reply(200, (), ECHO)], echo=True).seen
    assert (seen.method, seen.path, seen.headers) == (b"GET", b"/a", ((b"x-a", b"\xe9"),))
    assert told([Reply(403, (), ECHO)], echo=True).seen == ()


@pytest.mark.parametrize("body", [b"", b"hello", b"[]", b"{}", b'{"method": 1, "path": 2, "headers": [3]}'])
def test_what_is_no_echo_tells_nothing(body: bytes) -> None:
    assert echoed(body) is None


def test_nobody_there_is_a_failure_and_not_a_refusal() -> None:
    dial = Dial(NOWHERE, timeout_s=1)
    doors = (Http1Door(dial, b"a", echo=False), Http2Door(dial, b"a", echo=False))
    assert [door.send(Ask(b"/")).verdict for door in doors] == [Verdict.FAILED] * 2
    assert FramesDoor(dial, b"a").send(Frames()).verdict is Verdict.FAILED
    with CheckDoor(NOWHERE, b"a", 1, raw=True) as door:
        assert door.send(Ask(b"/")).verdict is Verdict.FAILED


def test_a_door_refuses_what_it_cannot_carry() -> None:
    dial = Dial(NOWHERE)
    with pytest.raises(TypeError):
        Http1Door(dial, b"a", echo=False).send(Message(b""))
    with pytest.raises(TypeError):
        Http2Door(dial, b"a", echo=False).send(Raw(b""))
    with pytest.raises(TypeError):
        FramesDoor(dial, b"a").send(Ask(b"/"))
    with pytest.raises(TypeError), CheckDoor(NOWHERE, b"a", 1, raw=True) as door:
        door.send(Fields(()))
