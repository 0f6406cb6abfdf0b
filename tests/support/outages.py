"""Sidecars whose limits are in Redis, asked on their own sockets, and what they wrote down."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any, NamedTuple

import grpc

from tests.support.checks import check_request
from tests.support.grpc import Ask, client, read
from tests.support.serving import Running
from tests.support.sets import write
from tests.support.workers import status

HOST = "limits.example.com"
BURST = 20
PATIENT = "1000"  # ms that an answer is waited for, where a slow machine must not make an outage of a test
PATIENCE_S = 30.0  # for a machine that does other things, too

_LIMIT = """
kind: Limit
metadata: {{name: {name}}}
spec: {{per: ['request.headers["x-caller"]'], rate: {rate}, burst: {burst}, onStoreError: {how}}}
---
"""
_POLICY = """
kind: Policy
metadata: {name: limits}
spec:
  hosts: [limits.example.com]
  rules:
    - {name: open, effect: allow, identity: [anyone], paths: [/open]}
    - {name: local, effect: allow, identity: [anyone], paths: [/local], limits: [local]}
    - {name: allow, effect: allow, identity: [anyone], paths: [/allow], limits: [allow]}
    - {name: deny, effect: allow, identity: [anyone], paths: [/deny], limits: [deny]}
    - {name: both, effect: allow, identity: [anyone], paths: [/both], limits: [local, deny]}
    - {name: fast, effect: allow, identity: [anyone], paths: [/fast], limits: [fast]}
"""


def policies(directory: Path) -> Path:
    """Write a rule for each way of a limit in an outage; of all but `fast` a token takes an hour."""
    limits = [_LIMIT.format(name=how, rate="1/h", burst=BURST, how=how) for how in ("local", "allow", "deny")]
    limits.append(_LIMIT.format(name="fast", rate="1000000/s", burst=1_000_000, how="local"))
    return write(directory, "".join(limits) + _POLICY)


def by_network(directory: Path, rate: str, burst: int) -> Path:
    """Write one rule, whose limit is exact on a Cluster too."""
    return write(
        directory,
        f"""
kind: Limit
metadata: {{name: fast}}
spec: {{per: [client.network], rate: {rate}, burst: {burst}}}
---
kind: Policy
metadata: {{name: limits}}
spec:
  hosts: [limits.example.com]
  rules: [{{name: fast, effect: allow, identity: [anonymous], paths: [/fast], limits: [fast]}}]
""",
    )


def question(path: str, caller: str = "somebody") -> bytes:
    return check_request(host=HOST, path=path, headers=[("x-caller", caller)])


class Limited(Running):
    """`authz serve` with `policies`, and records in a file; with workers, of which each has a socket."""

    def __init__(self, home: Path, stack: ExitStack, redis_url: str, workers: int = 1, **env: str) -> None:
        self._records = home / "records.jsonl"
        env = {"REDIS_URL": redis_url, "AUTHZ_RECORD_SINK": f"file:{self._records}", **env}
        super().__init__(home, stack, AUTHZ_WORKERS=str(workers), **env)
        sockets = [f"a-{number}.sock" for number in range(workers)] if workers > 1 else ["a.sock"]
        eventually(lambda: all((home / socket).exists() for socket in sockets), "its sockets")
        self.asks: list[Ask] = [stack.enter_context(client(f"unix:{home}/{socket}")) for socket in sockets]

    def status(self, path: str, caller: str = "somebody", worker: int = 0) -> int:
        """Ask once; return what the client would see."""
        return status(read(self.asks[worker](question(path, caller), timeout=PATIENCE_S)))

    def statuses(self, path: str, times: int, caller: str = "somebody", worker: int = 0) -> Counter[int]:
        return Counter(self.status(path, caller, worker) for _ in range(times))

    def lines(self, count: int) -> list[dict[str, Any]]:
        """Return the records, once so many are written."""
        eventually(lambda: len(self._lines()) >= count)
        return self._lines()

    def _lines(self) -> list[dict[str, Any]]:
        text = self._records.read_text() if self._records.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def is_up(self) -> bool:
        """Whether it has a Redis, and knows how many share it."""
        return self.number('authz_store_up{store="redis"}') == 1 and self.number("authz_fleet_members") >= 1

    def is_down(self) -> bool:
        return self.number('authz_store_up{store="redis"}') == 0


@contextmanager
def limited(home: Path, redis_url: str, workers: int = 1, **env: str) -> Iterator[Limited]:
    """Start one over `home`, where its policies are."""
    with ExitStack() as stack:
        yield Limited(home, stack, redis_url, workers, **env)


def eventually(holds: Any, what: str = "it", within_s: float = PATIENCE_S) -> float:
    """Wait for something that other processes do; return how long that took."""
    began_s = time.monotonic()
    while not holds():
        assert time.monotonic() - began_s < within_s, f"{what} was not so after {within_s:g} s"
        time.sleep(0.01)
    return time.monotonic() - began_s


class Asked(NamedTuple):
    """One call under load."""

    path: str
    at_s: float  # when it was asked
    waited_s: float
    status: int  # 0: no answer before the deadline


class Load:
    """Callers who ask all the time, each one path, until the `with` block ends."""

    def __init__(
        self, targets: Sequence[tuple[Path, str]], deadline_s: float, pause_s: float = 0.002
    ) -> None:
        self.asked: list[Asked] = []
        self._deadline_s, self._pause_s, self._end = deadline_s, pause_s, Event()
        self._threads = [Thread(target=self._ask, args=target) for target in targets]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def of(self, *paths: str) -> list[Asked]:
        return [one for one in list(self.asked) if one.path in paths]

    def _ask(self, home: Path, path: str) -> None:
        payload = question(path)
        with client(f"unix:{home}/a.sock") as ask:
            while not self._end.wait(self._pause_s):
                at_s = time.monotonic()
                try:
                    code = status(read(ask(payload, timeout=self._deadline_s)))
                except grpc.RpcError:
                    code = 0
                self.asked.append(Asked(path, at_s, time.monotonic() - at_s, code))


def quantile(waits: Sequence[float], part: float) -> float:
    """Return a wait that this part of all does not exceed."""
    return sorted(waits)[min(len(waits) - 1, int(part * len(waits)))]
