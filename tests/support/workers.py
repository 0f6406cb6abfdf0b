"""Several workers under a supervisor that runs in this process: its workers are real ones."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from authz.config.settings import load
from authz.model.errors import AuthzError
from authz.proxy.process import free_port
from authz.wiring.supervisor import Supervisor
from tests.support.checks import check_request
from tests.support.grpc import client, read
from tests.support.http import get
from tests.support.policies import PEPPER
from tests.support.sets import KEY

PATIENCE_S = 40.0  # a machine that does other things, too, starts a worker in a few seconds


def wait_until(holds: Callable[[], object], what: str = "it") -> None:
    """Wait for something that other processes do."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, f"{what} did not come true"
        time.sleep(0.02)


class Supervised:
    """Two workers that serve on Unix sockets, with one set of operations."""

    def __init__(self, folder: Path, policies: Path, **environ: str) -> None:
        self.folder = folder
        self.ops, self.debug = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.records = folder / "records.jsonl"
        flags = {
            "policies": [policies],
            "listen": [f"unix:{folder}/a.sock"],
            "ops": self.ops,
            "debug": self.debug,
            "workers": 2,
            "state": "off",
        }
        environ = {
            "API_KEY_SALT": PEPPER.decode(),
            "AUTHZ_RECORD_SINK": f"file:{self.records}",
            "AUTHZ_SIDECAR": "s",
            **environ,
        }
        self.supervisor = Supervisor(load(flags, environ))
        self.crew = self.supervisor._crew
        self.error: AuthzError | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.supervisor.run()
        except AuthzError as error:
            self.error = error

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.supervisor.stop()
        self._thread.join()

    def join(self) -> None:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def ready(self) -> dict[str, Any]:
        """Return what `/ready` says, with its status."""
        status, body = get(self.ops, "/ready")
        return {"status": status, **json.loads(body)}

    def wait_until_whole(self) -> dict[str, Any]:
        """Wait until every worker serves one revision; return what `/ready` says."""
        wait_until(lambda: len(self.revisions()) == 1, "one revision everywhere")
        return self.ready()

    def revisions(self) -> set[str]:
        states = {member.state for member in self.crew.members}
        return states if all(member.up for member in self.crew.members) else set()

    def metric(self, series: str) -> float:
        """Return a number as a scrape shows it; 0 where there is no such series."""
        lines = [line for line in get(self.ops, "/metrics")[1].splitlines() if line.startswith(series)]
        return float(lines[0].rpartition(" ")[2]) if lines else 0.0

    def pid(self, index: int) -> int:
        child = self.crew.members[index]._child
        assert child is not None
        return child.pid

    def kill(self, index: int, number: int) -> None:
        os.kill(self.pid(index), number)

    def ask(self, index: int, times: int = 1, key: str = KEY.token) -> list[Any]:
        """Ask one worker; return its answers."""
        payload = check_request(host="a.example.com", headers=[("x-api-key", key)])
        with client(f"unix:{self.folder}/a-{index}.sock") as ask:
            return [read(ask(payload, timeout=20)) for _ in range(times)]

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.records.read_text().splitlines()]


@contextmanager
def supervised(folder: Path, policies: Path, **environ: str) -> Iterator[Supervised]:
    made = Supervised(folder, policies, **environ)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def status(answer: Any) -> int:
    """Return the HTTP status that an answer gives the client."""
    return int(answer.denied_response.status.code) if answer.status.code else 200
