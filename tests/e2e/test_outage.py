"""While the sidecar is away nothing passes, and when it leaves it answers first."""

from __future__ import annotations

import json
import resource
import select
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from envoy.service.auth.v3.external_auth_pb2 import CheckResponse, OkHttpResponse

from authz.model.address import UnixAddress
from authz.proxy.choices import EnvoyChoices
from authz.proxy.client import request_bytes, send_raw
from authz.proxy.cluster import CHECKS_OPEN
from authz.proxy.stage import start_sidecar
from tests.support.proxy import KEYS, Live, another_envoy, eventually, live

pytestmark = pytest.mark.e2e

_KEY = KEYS[:1]


def test_a_killed_sidecar_is_503_and_never_a_yes() -> None:
    with live(_KEY) as app:
        assert app.send("GET", "/public/a")[0].status == 200
        app.stage.sidecar.send(signal.SIGKILL)
        app.stage.sidecar.wait(5)
        for target in ("/public/a", "/items", "/admin"):
            reply, seen = app.send("GET", target, app.key())
            assert (reply.status, seen) == (503, [])


def test_a_stopped_sidecar_is_503_after_the_timeout_and_never_a_yes() -> None:
    short = {"envoy": lambda choices: replace(choices, timeout_ms=200)}
    with live(_KEY, **short) as app:
        app.stage.sidecar.send(signal.SIGSTOP)
        try:
            reply, seen = app.send("GET", "/public/a")
            assert (reply.status, seen) == (503, [])
        finally:
            app.stage.sidecar.send(signal.SIGCONT)
        # What was asked in between is past its deadline: nothing is let through afterwards.
        assert app.stage.upstream.take() == []
        assert eventually(lambda: app.send("GET", "/public/a")[0].status == 200)


def test_a_check_that_takes_longer_is_waited_for_and_asked_once() -> None:
    """Envoy would ask again after 10 ms if the pause between its tries said so: judged and charged twice."""
    patient = {"envoy": lambda choices: replace(choices, timeout_ms=20_000)}
    with live(_KEY, **patient) as app:
        assert app.send("GET", "/public/a")[0].status == 200
        statuses: list[int] = []
        data = request_bytes("GET", "/public/slow", [("host", "app.test")])
        app.stage.sidecar.send(signal.SIGSTOP)
        callers = [
            threading.Thread(target=lambda: statuses.append(send_raw(app.stage.port, data).status))
            for _ in range(8)
        ]
        for caller in callers:
            caller.start()
        time.sleep(0.2)  # much longer than 10 ms, and much less than the timeout on the busiest machine
        app.stage.sidecar.send(signal.SIGCONT)
        for caller in callers:
            caller.join()
        assert statuses == [200] * 8
        assert eventually(lambda: app.stage.records.read_text().count("/public/slow") >= 8)
        assert app.stage.records.read_text().count("/public/slow") == 8


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process and its children open two files for each of so many callers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_more_checks_than_a_sidecar_can_hold_are_refused_by_envoy_at_once() -> None:
    patient = {"envoy": lambda choices: replace(choices, timeout_ms=60_000)}
    data = request_bytes("GET", "/public/a", [("host", "app.test")])
    with live(_KEY, **patient) as app, ExitStack() as stack:
        assert app.send("GET", "/public/a")[0].status == 200
        app.stage.sidecar.send(signal.SIGSTOP)
        callers = [socket.create_connection(("127.0.0.1", app.stage.port)) for _ in range(CHECKS_OPEN + 76)]
        for caller in callers:
            stack.enter_context(caller)
            caller.sendall(data)
        assert eventually(lambda: len(_answering(callers)) == 76)
        refused = [caller.recv(12) for caller in _answering(callers)]
        app.stage.sidecar.send(signal.SIGCONT)
        assert refused == [b"HTTP/1.1 503"] * 76
        assert eventually(lambda: len(_answering(callers)) == len(callers))


def _answering(callers: list[socket.socket]) -> list[socket.socket]:
    poll = select.poll()
    by_fd = {caller.fileno(): caller for caller in callers}
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    return [by_fd[fd] for fd, _ in poll.poll(0)]


def test_a_sidecar_that_comes_back_is_found_again() -> None:
    with live(_KEY) as app:
        app.stage.sidecar.stop()
        assert app.send("GET", "/public/a")[0].status == 503
        with start_sidecar(app.stage.scene, app.stage.ops_port):
            assert eventually(lambda: app.send("GET", "/public/a")[0].status == 200)


def test_a_sidecar_that_is_asked_to_leave_answers_what_it_was_asked() -> None:
    """Nothing that Envoy asks before the sidecar is gone is refused, and everything is written down."""
    with live(_KEY) as app:
        statuses: list[int] = []  # appended to by every caller
        leaving = threading.Event()
        callers = [threading.Thread(target=_call, args=(app, statuses, leaving)) for _ in range(4)]
        for caller in callers:
            caller.start()
        assert eventually(lambda: statuses.count(200) > 50, 20)
        app.stage.sidecar.send(signal.SIGTERM)
        time.sleep(0.5)  # Envoy goes on asking while the sidecar drains
        leaving.set()
        for caller in callers:
            caller.join()
        assert app.stage.sidecar.wait(20) == 0
        assert set(statuses) == {200}
        # As many as the sidecar wrote down: no request passed without a record, and none was lost on the way.
        assert len(app.stage.upstream.take()) == len(statuses) == _records(app)


def _call(app: Live, statuses: list[int], leaving: threading.Event) -> None:
    data = request_bytes("GET", "/public/a", [("host", "app.test")])
    while not leaving.is_set():
        statuses.append(send_raw(app.stage.port, data).status)


def _records(app: Live) -> int:
    lines = app.stage.records.read_text().splitlines()
    return sum(json.loads(line)["outcome"] == "allow" for line in lines)


class _Failing(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc has no types
    """Ends the first check with a status of gRPC, and allows every other."""

    def __init__(self) -> None:
        self.code: grpc.StatusCode | None = None
        self.asked = 0

    def service(self, handler_call_details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(self._check)

    def _check(self, payload: bytes, context: Any) -> bytes:
        self.asked += 1
        code, self.code = self.code, None
        if code is not None:
            context.abort(code, "as asked")
        return bytes(CheckResponse(ok_response=OkHttpResponse()).SerializeToString())


def test_a_check_is_asked_again_where_the_status_says_that_a_sidecar_leaves(app: Live) -> None:
    """What the libraries say of a call that comes too late; any other status may have been judged."""
    failing = _Failing()
    path = app.stage.scene.directory / "failing.sock"
    server = grpc.server(ThreadPoolExecutor(4), handlers=[failing])
    server.add_insecure_port(f"unix:{path}")
    server.start()
    with another_envoy(app, "failing", authz=(UnixAddress(path),)) as port:
        assert app.send("GET", "/public/a", port=port)[0].status == 200
        for code in grpc.StatusCode:
            if code is grpc.StatusCode.OK:
                continue
            failing.asked, failing.code = 0, code
            status = app.send("GET", "/public/a", port=port)[0].status
            leaving = code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
            assert (code, status, failing.asked) == (code, *((200, 2) if leaving else (503, 1)))
    server.stop(None)


def test_of_two_sockets_a_dead_one_costs_no_request() -> None:
    def with_a_dead_one(choices: EnvoyChoices) -> EnvoyChoices:
        return replace(choices, authz=(*choices.authz, UnixAddress(Path("/nonexistent/authz-1.sock"))))

    with live(_KEY, envoy=with_a_dead_one) as app:
        statuses = Counter(app.send("GET", "/public/a")[0].status for _ in range(100))
        assert statuses == {200: 100}


def test_of_eight_sockets_seven_dead_ones_cost_no_request_though_none_is_ejected() -> None:
    """Requests share the turns, so without care one meets the same dead socket again and again."""

    def with_dead_ones(choices: EnvoyChoices) -> EnvoyChoices:
        dead = [UnixAddress(Path(f"/nonexistent/authz-{index}.sock")) for index in range(7)]
        return replace(choices, authz=(*choices.authz, *dead), timeout_ms=20_000)

    def without_ejection(config: str) -> str:
        ours, none = (f"enforcing_consecutive_local_origin_failure: {percent}" for percent in (100, 0))
        assert ours in config
        return config.replace(ours, none)

    with live(_KEY, envoy=with_dead_ones, edit=without_ejection) as app:
        data = request_bytes("GET", "/public/a", [("host", "app.test")])
        with ThreadPoolExecutor(8) as callers:
            asked = callers.map(lambda _: send_raw(app.stage.port, data).status, range(400))
            assert Counter(asked) == {200: 400}
