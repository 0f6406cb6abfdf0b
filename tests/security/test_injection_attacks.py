"""The webhook's door, at which anybody in the cluster may knock: nobody keeps API servers' questions out."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from authz.admission import desk as desks
from authz.admission.certificate import mint
from authz.admission.desk import Desk
from authz.admission.door import BODIES_MAX_BYTES, Door
from authz.admission.numbers import Numbers
from authz.admission.review import UNREADABLE, Reviewed, review
from authz.admission.tls import server_context
from authz.admission.wire import BODY_MAX_BYTES, Question
from authz.injection.template import Template
from authz.model.address import TcpAddress
from tests.support.admission import TEMPLATE, pod, question

NAME = "hook.shop.svc"
READ = Template.parse(TEMPLATE)
PATIENCE_S = 20.0


@contextmanager
def _line(port: int, ca: bytes) -> Iterator[ssl.SSLSocket]:
    trust = ssl.create_default_context(cadata=ca.decode())
    with (
        socket.create_connection(("127.0.0.1", port), PATIENCE_S) as plain,
        trust.wrap_socket(plain, server_hostname=NAME) as line,
    ):
        yield line


def _ask(line: ssl.SSLSocket, body: bytes) -> tuple[int, bytes]:
    line.sendall(b"POST /inject HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    answer = http.client.HTTPResponse(line, method="POST")
    answer.begin()
    return answer.status, answer.read()


def test_bodies_that_are_announced_and_do_not_come_keep_no_pod_out() -> None:
    pair = mint((NAME,), time.time())
    context = server_context(pair)
    door = Door(TcpAddress("127.0.0.1", 0), lambda: context, Desk(lambda: READ, Numbers()).answer)
    door.open()
    try:
        with ExitStack() as stack:
            for _ in range(BODIES_MAX_BYTES // BODY_MAX_BYTES):
                silent = stack.enter_context(_line(door.address.port, pair.ca))
                silent.sendall(b"POST /inject HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % BODY_MAX_BYTES)
            _until_full(door.address.port, pair.ca)
            with _line(door.address.port, pair.ca) as line:
                status, reply = _ask(line, question(pod()))
            assert (status, json.loads(reply)["response"]["patchType"]) == (200, "JSONPatch")
    finally:
        door.close(0.0)


def _until_full(port: int, ca: bytes) -> None:
    """Wait until what was announced takes all the room: one more large body is refused unread."""
    end = time.monotonic() + PATIENCE_S
    said = b""
    while not said.startswith(b"HTTP/1.1 503 "):
        assert time.monotonic() < end
        with _line(port, ca) as line:
            line.settimeout(0.2)
            line.sendall(b"POST /inject HTTP/1.1\r\nContent-Length: 100000\r\n\r\n")
            with suppress(TimeoutError):
                said = line.recv(1024)


@pytest.mark.parametrize("unit", ['{"":0},', "[],"])
def test_four_mebibytes_of_tiny_values_are_not_read(unit: str) -> None:
    start = question(pod())[:-2] + b',"x":['
    body = start + (unit * ((BODY_MAX_BYTES - len(start) - 10) // len(unit)))[:-1].encode() + b"]}}"
    tracemalloc.start()
    try:
        done = review(body, READ)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert done.outcome == UNREADABLE
    assert peak < BODY_MAX_BYTES


def test_reviews_take_memory_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    inside: list[int] = []
    most = 0

    def slow(*_: object) -> Reviewed:
        nonlocal most
        inside.append(1)
        most = max(most, len(inside))
        time.sleep(0.01)
        inside.pop()
        return Reviewed("pod", "untouched", b"{}")

    monkeypatch.setattr(desks, "review", slow)
    desk = Desk(lambda: READ, Numbers())
    asked = Question("POST", "/inject", b"", last=False)
    threads = [threading.Thread(target=desk.answer, args=(asked,)) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(PATIENCE_S)
    assert most == 1
