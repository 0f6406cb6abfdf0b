"""Two workers behind the real Envoy: what the death of one costs, and that it comes back."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from authz.model.address import UnixAddress
from authz.proxy.choices import EnvoyChoices
from authz.proxy.process import http_get
from tests.support.proxy import KEYS, Live, eventually, live

pytestmark = pytest.mark.e2e

CALLERS = 6


def _two_sockets(choices: EnvoyChoices) -> EnvoyChoices:
    (first,) = choices.authz
    assert isinstance(first, UnixAddress)
    own = [first.path.with_name(f"authz-{index}.sock") for index in range(2)]
    return replace(choices, authz=tuple(UnixAddress(path) for path in own))


class Load:
    """Callers that each keep one connection and one request in flight."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ended = threading.Event()
        self.statuses: list[int] = []  # appended to by every caller
        self._callers = [threading.Thread(target=self._call) for _ in range(CALLERS)]

    def __enter__(self) -> Load:
        for caller in self._callers:
            caller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for caller in self._callers:
            caller.join()

    def further(self, count: int) -> bool:
        """Whether so many more are answered soon."""
        wanted = len(self.statuses) + count
        return eventually(lambda: len(self.statuses) >= wanted, 20)

    def _call(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        while not self._ended.is_set():
            connection.request("GET", "/public/a", headers={"host": "app.test"})
            reply = connection.getresponse()
            reply.read()
            self.statuses.append(reply.status)
        connection.close()


@contextmanager
def two_workers() -> Iterator[Live]:
    with live(KEYS[:1], envoy=_two_sockets, serve=("--workers", "2")) as app:
        assert eventually(lambda: _ready(app), 20)
        yield app


def test_a_worker_that_is_killed_under_load_costs_the_calls_in_flight_on_it_and_comes_back() -> None:
    with two_workers() as app:
        with Load(app.stage.port) as load:
            assert load.further(200)
            assert {name.rpartition("-")[2] for name in _served(app)} == {"0", "1"}
            victim = _pids(app)["0"]
            os.kill(victim, signal.SIGKILL)
            assert load.further(500)
            assert eventually(lambda: _pids(app).get("0") not in (None, victim) and _ready(app), 40)
            assert eventually(lambda: any(name.endswith("-0.1") for name in _served(app)), 40)
            assert load.further(100)
        assert _metric(app, 'authz_worker_restarts_total{cause="died",worker="0"}') == 1
        assert eventually(lambda: len(_log(app)) == len(load.statuses))
        details = Counter(line["response_code_details"] for line in _log(app) if line["response_code"] != 200)
        # What was in flight on the dead one is an error; on a machine that is busy with other things the one
        # that is left may refuse some as overloaded, which is an answer.
        assert set(load.statuses) <= {200, 503}
        assert set(details) <= {"ext_authz_error", "ext_authz_denied"}
        assert details["ext_authz_error"] <= CALLERS, details
        assert set(_reasons(app)) <= {"allowed", "overloaded"}


def test_all_workers_answer_what_they_are_asked_before_they_leave() -> None:
    with two_workers() as app:
        with Load(app.stage.port) as load:
            assert load.further(200)
            os.killpg(app.stage.sidecar.pid, signal.SIGTERM)
            assert load.further(100)
        assert app.stage.sidecar.wait(30) == 0
        assert set(load.statuses) == {200}
        assert _reasons(app) == {"allowed": len(load.statuses)}


def _ready(app: Live) -> bool:
    reply = http_get(app.stage.ops_port, "/ready")
    return reply is not None and reply[0] == 200 and len(set(json.loads(reply[1])["workers"].values())) == 1


def _pids(app: Live) -> dict[str, int]:
    """Return the processes of the workers, as the kernel knows them, by their last socket's number."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (pid := int(entry.name)) and _parent(pid) == app.stage.sidecar.pid:
            found[pid] = _sockets(pid)
    locks = {
        path: str(index)
        for index in range(2)
        if (path := f"{app.stage.scene.directory}/authz-{index}.sock.lock")
    }
    return {locks[path]: pid for pid, paths in found.items() for path in paths if path in locks}


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def _sockets(pid: int) -> list[str]:
    paths = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            paths.append(str(entry.readlink()))
        except OSError:
            continue
    return paths


def _log(app: Live) -> list[dict[str, Any]]:
    return [json.loads(line) for line in app.stage.access_log.read_text().splitlines()]


def _reasons(app: Live) -> Counter[str]:
    """Return why checks ended as they did, as whole lines of the records say."""
    return Counter(re.findall(r'"reason":"([^"]+)".*\}\n', app.stage.records.read_text()))


def _served(app: Live) -> set[str]:
    """Return who wrote records."""
    return set(re.findall(r'"sidecar":"([^"]+)"', app.stage.records.read_text()))


def _metric(app: Live, series: str) -> float:
    reply = http_get(app.stage.ops_port, "/metrics")
    assert reply is not None
    lines = [line for line in reply[1].decode().splitlines() if line.startswith(series)]
    return float(lines[0].rpartition(" ")[2]) if lines else 0.0
