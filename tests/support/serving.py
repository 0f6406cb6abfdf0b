"""`authz serve` over one directory that is spoilt, and callers who ask it meanwhile."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

from authz.proxy.process import Child, Plan, free_port, http_get, program
from tests.support.checks import check_request
from tests.support.grpc import client, read
from tests.support.hostile import HOST
from tests.support.workers import status

OPEN = check_request(host=HOST, path="/open")
SOON_S = 20.0  # for a machine that does other things, too


class Running:
    """`authz serve` over one directory, asked on its own socket."""

    def __init__(self, home: Path, stack: ExitStack, debug: str = "off", **env: str) -> None:
        self.home, self.policies, self.ops = home, home / "policies", free_port()
        command = [program("authz"), "serve", "--policies", str(self.policies), "--debug", debug]
        command += ["--listen", f"unix:{home}/a.sock", "--ops", f"127.0.0.1:{self.ops}"]
        env = {"AUTHZ_STATE": f"{home}/state", "AUTHZ_RECORD_SINK": "off", "AUTHZ_DRAIN_S": "0", **env}
        plan = Plan("the sidecar", command, log=home / "log", output=home / "out", env=env)
        self.child = stack.enter_context(Child(plan))
        self.child.wait_until(lambda: http_get(self.ops, "/ready") is not None)

    def ready(self) -> tuple[int, dict[str, Any]]:
        """What `/ready` says."""
        code, body = http_get(self.ops, "/ready") or (0, b"{}")
        return code, json.loads(body)

    def number(self, series: str) -> float:
        """One sample of the metrics; 0 where it is not there."""
        _, page = http_get(self.ops, "/metrics") or (0, b"")
        lines = [line for line in page.decode().splitlines() if line.startswith(f"{series} ")]
        return float(lines[0].split()[-1]) if lines else 0.0

    def told(self, event: str) -> list[dict[str, Any]]:
        """The lines of its log with this event."""
        lines = (json.loads(line) for line in (self.home / "log").read_text().splitlines() if line[:1] == "{")
        return [line for line in lines if line["event"] == event]


@contextmanager
def running(home: Path, debug: str = "off", **env: str) -> Iterator[Running]:
    with ExitStack() as stack:
        yield Running(home, stack, debug, **env)


def asked(socket: Path) -> int:
    """Ask once for what the good set allows."""
    with client(f"unix:{socket}") as ask:
        return status(read(ask(OPEN, timeout=20)))


class Callers:
    """Two who ask all the time."""

    def __init__(self, socket: Path) -> None:
        self.statuses: dict[int, int] = {}
        self.waits_s: list[float] = []
        self._socket, self._end = socket, Event()
        self._threads = [Thread(target=self._ask) for _ in range(2)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with client(f"unix:{self._socket}") as ask:
            while not self._end.is_set():
                began_s = time.monotonic()
                code = status(read(ask(OPEN, timeout=20)))
                self.waits_s.append(time.monotonic() - began_s)
                self.statuses[code] = self.statuses.get(code, 0) + 1
