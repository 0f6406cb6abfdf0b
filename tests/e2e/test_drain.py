"""One sidecar replaces another under load: no request is refused or lost that would have passed before."""

from __future__ import annotations

import http.client
import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from authz.model.address import UnixAddress
from authz.proxy.choices import EnvoyChoices
from authz.proxy.process import Child, free_port, http_get
from authz.proxy.stage import start_sidecar
from tests.support.proxy import KEYS, Live, eventually, live

pytestmark = pytest.mark.e2e

_KEY = KEYS[:1]
_SOON = {"AUTHZ_DRAIN_S": "4"}


class Load:
    """Callers that ask again as soon as they are answered, until told to stop."""

    def __init__(self, app: Live, callers: int = 6) -> None:
        self._port = app.stage.port
        self.statuses: Counter[int] = Counter()  # 0: no answer at all
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(callers)]
        for thread in self._threads:
            thread.start()

    def _call(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        while not self._stop.is_set():
            try:
                connection.request("GET", "/public/a", headers={"Host": "app.test"})
                reply = connection.getresponse()
                reply.read()
                self.statuses[reply.status] += 1
            except (OSError, http.client.HTTPException):
                self.statuses[0] += 1
                connection.close()
        connection.close()

    def more(self, count: int) -> bool:
        """Wait until so many more were answered."""
        aim = self.statuses.total() + count
        return eventually(lambda: self.statuses.total() >= aim, 30)

    def stop(self) -> Counter[int]:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return self.statuses


@contextmanager
def loaded(app: Live) -> Iterator[Load]:
    load = Load(app)
    try:
        assert load.more(200)
        yield load
    finally:
        load.stop()


def with_a_second(directory: list[Path], name: str) -> object:
    """Return what adds the socket of a sidecar to come to Envoy's choices."""

    def both(choices: EnvoyChoices) -> EnvoyChoices:
        first = choices.authz[0]
        assert isinstance(first, UnixAddress)
        directory.append(first.path.parent / name)
        directory[0].mkdir()
        return replace(choices, authz=(first, UnixAddress(directory[0] / "authz.sock")))

    return both


def in_turn(app: Live) -> bool:
    """Wait until Envoy asks every socket: where nobody was, it does not look again for some seconds."""

    def all_healthy() -> bool:
        page = http_get(app.stage.admin_port, "/clusters")
        lines = page[1].decode().splitlines() if page else []
        flags = [line for line in lines if line.startswith("authz::") and "::health_flags::" in line]
        return bool(flags) and all(line.endswith("::healthy") for line in flags)

    return eventually(all_healthy, 60)


def refused(app: Live) -> Counter[tuple[str, str]]:
    """Return what Envoy says of requests that did not pass: when, and why."""
    time.sleep(0.5)  # its log is written every 200 ms
    lines = map(json.loads, app.stage.access_log.read_text().splitlines())
    odd = [line for line in lines if line["response_code"] != 200]
    return Counter((line["start_time"][11:21], line["response_code_details"]) for line in odd)


def ended(child: Child, ops_port: int, load: Load) -> None:
    """Tell a sidecar to go: it is unready at once, goes on answering, and ends well."""
    child.send(signal.SIGTERM)
    assert eventually(lambda: (http_get(ops_port, "/ready") or (0,))[0] == 503, 5)
    assert load.more(50)
    assert child.wait(20) == 0


def test_a_rolling_replacement_costs_no_request() -> None:
    second: list[Path] = []
    with (
        live(_KEY, envoy=with_a_second(second, "next"), env=_SOON) as app,
        loaded(app) as load,
        start_sidecar(replace(app.stage.scene, directory=second[0]), free_port()),
    ):
        assert in_turn(app)
        ended(app.stage.sidecar, app.stage.ops_port, load)
        assert load.more(300)  # by the new one alone
        assert set(load.stop()) == {200}, refused(app)


def test_workers_that_are_replaced_one_after_the_other_cost_no_request() -> None:
    """The same with two workers on either side: all four sockets are Envoy's from the start."""
    second: list[Path] = []
    add = with_a_second(second, "next")

    def workers(choices: EnvoyChoices) -> EnvoyChoices:
        both: EnvoyChoices = add(choices)  # type: ignore[operator] # a function, see above
        paths = [one.path for one in both.authz if isinstance(one, UnixAddress)]
        own = [UnixAddress(path.with_name(f"authz-{at}.sock")) for path in paths for at in (0, 1)]
        return replace(both, authz=tuple(own))

    changes = {"envoy": workers, "env": _SOON, "serve": ("--workers", "2")}
    with (
        live(_KEY, **changes) as app,
        loaded(app) as load,
        start_sidecar(replace(app.stage.scene, directory=second[0]), free_port()),
    ):
        assert in_turn(app)
        ended(app.stage.sidecar, app.stage.ops_port, load)
        assert load.more(300)
        assert set(load.stop()) == {200}, refused(app)
