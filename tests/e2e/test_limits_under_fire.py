"""Limits in Redis when it fits badly: a sidecar that leaves, a set that changes, callers without number."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from authz.bench.openloop import Run
from authz.bench.usage import resident_mib
from authz.proxy.stage import short_directory
from tests.support.checks import check_request
from tests.support.grpc import Ask, client, read
from tests.support.hostile_redis import HostileRedis, Line, Play, hostile_redis, passes_on
from tests.support.policies import documents
from tests.support.proxy import eventually
from tests.support.redis import redis_server
from tests.support.serving import Running, running
from tests.support.workers import status

pytestmark = pytest.mark.e2e
TRANSPORTS = ("native",)
FRONTS = ("native", "grpcio")  # they hand over what waits each in its own way

HOST = "a.example.com"
BUCKETS = 5000
_PATIENCE_S = 30.0


def policy(burst: int) -> str:
    return f"""
kind: Limit
metadata: {{name: shared}}
spec: {{per: [client.network], rate: {burst}/d}}
---
kind: Limit
metadata: {{name: each}}
spec: {{per: [params.who], rate: 1/d}}
---
kind: Limit
metadata: {{name: lenient}}
spec: {{per: [client.network], rate: 1/d, onStoreError: allow}}
---
kind: Policy
metadata: {{name: p}}
spec:
  hosts: [{HOST}]
  rules:
    - {{name: shared, effect: allow, paths: [/shared], identity: [anyone], limits: [shared]}}
    - {{name: each, effect: allow, paths: ["/each/{{who}}"], identity: [anyone], limits: [each]}}
    - {{name: lenient, effect: allow, paths: [/lenient], identity: [anyone], limits: [lenient]}}
"""


class Fired:
    """A sidecar behind a server that may be slow."""

    def __init__(self, server: HostileRedis, sidecar: Running, ask: Ask) -> None:
        self.server, self.sidecar, self._ask = server, sidecar, ask

    def send(self, path: str, times: int) -> list[Any]:
        """Ask so often at once; returns the calls."""
        payload = check_request(host=HOST, path=path)
        ask = self._ask.future  # type: ignore[attr-defined] # grpc has no types
        return [ask(payload, timeout=_PATIENCE_S) for _ in range(times)]

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.sidecar.home / "records").read_text().splitlines()]


def told(calls: list[Any]) -> Counter[int]:
    return Counter(status(read(call.result())) for call in calls)


def set_policy(home: Path, burst: int) -> None:
    for name, content in documents(policy(burst)).items():
        new = home / f"{name}.new"
        new.write_bytes(content)
        new.replace(home / "policies" / name)


@contextmanager
def fired(burst: int = 100, timeout_ms: int = 1000, front: str = "native") -> Iterator[Fired]:
    home = short_directory()
    (home / "policies").mkdir()
    set_policy(home, burst)
    environ = {
        "AUTHZ_RECORD_SINK": f"file:{home}/records",
        "AUTHZ_RECORD_QUEUE": "100000",
        "AUTHZ_MAX_WAIT_MS": "10000",
        "AUTHZ_REDIS_TIMEOUT_MS": str(timeout_ms),
        "AUTHZ_DRAIN_S": "20",
        "AUTHZ_TRANSPORT": front,
    }
    with ExitStack() as stack:
        server = stack.enter_context(hostile_redis(stack.enter_context(redis_server()).socket))
        sidecar = stack.enter_context(running(home, REDIS_URL=server.url, **environ))
        ask = stack.enter_context(client(f"unix:{home}/a.sock"))
        assert eventually(lambda: sidecar.number('authz_store_up{store="redis"}') == 1, _PATIENCE_S)
        yield Fired(server, sidecar, ask)
        log = (home / "log").read_text()
        assert "crash" not in log
        assert "Traceback" not in log
    shutil.rmtree(home)


def _slow(line: Line, command: list[bytes]) -> None:
    time.sleep(0.03)
    passes_on(line, command)


@pytest.mark.parametrize("front", FRONTS)
def test_a_sidecar_that_leaves_answers_whoever_still_waits_for_redis(front: str) -> None:
    """Each answer of Redis takes a while, and a batch holds 64: the last waits for nine round trips."""
    with fired(front=front) as made:
        assert told(made.send("/lenient", 1)) == {200: 1}
        with made.server.playing(Play(_slow)):
            calls = made.send("/each/one", 20) + made.send("/shared", 580)
            assert eventually(lambda: any(call.done() for call in calls), _PATIENCE_S)
            made.sidecar.child.send(signal.SIGTERM)
            answered = told(calls)
            assert made.sidecar.child.wait(_PATIENCE_S) == 0
        assert answered == {200: 101, 429: 499}
        records = made.records()
        assert len(records) == 601
        assert {limit["store"] for record in records for limit in record["limits"]} == {"redis"}


@pytest.mark.parametrize("front", FRONTS)
def test_a_sidecar_that_leaves_while_redis_is_silent_answers_as_each_limit_says(front: str) -> None:
    with fired(timeout_ms=200, front=front) as made:
        with made.server.playing(Play(lambda line, _: line.hold())):
            calls = made.send("/lenient", 300)
            made.sidecar.child.send(signal.SIGTERM)
            assert told(calls) == {200: 300}
            assert made.sidecar.child.wait(_PATIENCE_S) == 0
        stores = Counter(record["limits"][0]["store"] for record in made.records())
        assert stores == {"outage": 300}


def test_a_rate_that_changes_again_and_again_under_load_gives_no_token_twice() -> None:
    """Debt keeps its meaning: whatever the burst is just then, no more than the largest is ever granted."""
    with fired(burst=40) as made:
        done = Event()

        def change() -> None:
            burst = 40
            while not done.wait(0.05):
                burst = 100 - burst  # 60, 40, 60, ...
                set_policy(made.sidecar.home, burst)

        thread = Thread(target=change)
        thread.start()
        answers: Counter[int] = Counter()
        end_s = time.monotonic() + _PATIENCE_S
        while answers[200] < 60 and time.monotonic() < end_s:  # until the larger was in force
            answers += told(made.send("/shared", 50))
        for _ in range(10):
            answers += told(made.send("/shared", 50))
        done.set()
        thread.join()
        assert set(answers) == {200, 429}
        assert answers[200] == 60


def _about_the_deadline(line: Line, command: list[bytes]) -> None:
    time.sleep(random.uniform(0.0, 0.12))
    passes_on(line, command)


def test_where_redis_answers_just_about_at_the_deadline_each_check_has_one_answer_and_one_record() -> None:
    """The spender and the sweep race for each of these; whoever comes second gets nothing."""
    with fired(burst=100_000) as made:
        payload = check_request(host=HOST, path="/shared")
        frame = b"\0" + len(payload).to_bytes(4, "big") + payload
        with made.server.playing(Play(_about_the_deadline)):
            run = Run([made.sidecar.home / "a.sock"], [frame], 100, 4)
            outcome = run.go(500, 2.0)
            run.close()
        made.sidecar.child.send(signal.SIGTERM)
        assert made.sidecar.child.wait(_PATIENCE_S) == 0
        records = made.records()
        assert outcome.allowed > 0
        assert outcome.unavailable > 0
        assert outcome.answered + outcome.errors == outcome.sent == sum(r.get("count", 1) for r in records)
        assert outcome.allowed == sum(record["outcome"] == "allow" for record in records)
        assert {r["reason"] for r in records} == {"allowed", "overloaded"}
        assert len({record["decision_id"] for record in records}) == len(records)


def test_thousands_of_callers_at_once_have_a_bucket_each_and_memory_stays_bounded() -> None:
    with fired() as made:
        before_mib = resident_mib(made.sidecar.child.pid)
        frames = []
        for number in range(BUCKETS):
            payload = check_request(host=HOST, path=f"/each/{number}")
            frames.append(b"\0" + len(payload).to_bytes(4, "big") + payload)
        run = Run([made.sidecar.home / "a.sock"], frames, 20_000, 4)
        outcome = run.go(0.0, 2.0, closed=1000)
        run.close()
        assert outcome.errors == outcome.unanswered == outcome.unavailable == 0
        assert outcome.allowed == min(outcome.sent, BUCKETS)
        assert outcome.allowed + outcome.refused == outcome.sent
        assert outcome.sent > 1000
        # Names, debts that were seen, records that wait: a few hundred bytes each.
        assert resident_mib(made.sidecar.child.pid) - before_mib < 64
