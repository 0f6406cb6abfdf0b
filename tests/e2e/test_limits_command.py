"""`authz limits` beside sidecars that run: buckets in memory, of workers, in every kind of Redis."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from authz.model.address import UnixAddress
from authz.proxy.process import Child, Plan, free_port, http_get, program
from tests.support import command
from tests.support.checks import check_request
from tests.support.grpc import client, read
from tests.support.policies import PEPPER, PROVIDER, MadeKey
from tests.support.redis import redis_cluster, redis_server, sentinel_set
from tests.support.sets import write
from tests.support.workers import status, wait_until

pytestmark = pytest.mark.e2e

TRANSPORTS = ("native",)  # what is shown here happens behind both fronts

FIRST, SECOND, OTHER = MadeKey("first"), MadeKey("second"), MadeKey("other", customer="globex")
SET = """
kind: Limit
metadata: {name: per-key}
spec: {per: [identity.key_id], rate: 4/d}
---
kind: Limit
metadata: {name: per-customer}
spec: {per: [identity.customer], rate: 6/d}
---
kind: Policy
metadata: {name: p}
spec:
  hosts: [a.example.com]
  rules: [{name: r, effect: allow, identity: [partner-keys], limits: [per-key, per-customer]}]
"""
CANARY = """
kind: Limit
metadata: {name: per-visit}
spec: {per: ['request.headers["x-visit"]'], rate: 4/d}
---
kind: Policy
metadata: {name: visits}
spec:
  hosts: [a.example.com]
  rules: [{name: r, effect: allow, paths: [/visit], identity: [partner-keys], limits: [per-visit]}]
"""


class Sidecar:
    """`authz serve`, and `authz limits` beside it."""

    def __init__(self, home: Path, policies: Path, stack: ExitStack, workers: int, **env: str) -> None:
        self.home, self.policies, self.workers, self._ops = home, policies, workers, free_port()
        self.env = env
        words = [program("authz"), "serve", "--policies", str(policies), "--workers", str(workers)]
        words += ["--listen", f"unix:{home}/a.sock", "--debug", f"unix:{home}/debug.sock"]
        words += ["--ops", f"127.0.0.1:{self._ops}"]
        env = {
            "API_KEY_SALT": PEPPER.decode(),
            "AUTHZ_DRAIN_S": "0",
            "AUTHZ_FLEET_SIZE": "1",
            "AUTHZ_MAX_WAIT_MS": "10000",
            "AUTHZ_RECORD_SINK": "off",
            "AUTHZ_REDIS_TIMEOUT_MS": "1000",
            "AUTHZ_STATE": "off",
            **env,
        }
        stack.enter_context(Child(Plan("the sidecar", words, home / "log", home / "out", env=env)))
        wait_until(lambda: (http_get(self._ops, "/ready") or (0,))[0] == 200, "the sidecar")

    def up(self, store: str) -> bool:
        """Whether it says that a store answers."""
        _, page = http_get(self._ops, "/metrics") or (0, b"")
        return f'authz_store_up{{store="{store}"}} 1.0' in page.decode()

    def ask(
        self, key: MadeKey, times: int = 1, worker: int = 0, path: str = "/", visit: str = "v"
    ) -> list[int]:
        socket = self.home / ("a.sock" if self.workers == 1 else f"a-{worker}.sock")
        headers = [("x-api-key", key.token), ("x-visit", visit)]
        payload = check_request(path=path, host="a.example.com", headers=headers)
        with client(str(UnixAddress(socket))) as ask:
            return [status(read(ask(payload, timeout=20))) for _ in range(times)]

    def run(self, *words: str, code: int = 0) -> str:
        """Run the command on this sidecar; return what it prints, errors last."""
        own = ["--policies", str(self.policies), "--debug", f"unix:{self.home}/debug.sock"]
        url = self.env.get("REDIS_URL")
        words = ("limits", *words, *own)
        done = command.run(*words, REDIS_URL=url) if url else command.run(*words)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def seen(self, *words: str, code: int = 0) -> dict[str, Any]:
        """The same, as JSON."""
        text = self.run(*words, "--output", "json", code=code)
        told: dict[str, Any] = json.JSONDecoder().raw_decode(text)[0]
        return told


@contextmanager
def serving(home: Path, *more: str, workers: int = 1, **env: str) -> Iterator[Sidecar]:
    policies = write(home / "set", PROVIDER, SET, *more, *[key.document for key in (FIRST, SECOND, OTHER)])
    with ExitStack() as stack:
        yield Sidecar(home, policies, stack, workers, **env)


def rows(told: dict[str, Any], *fields: str) -> list[tuple[Any, ...]]:
    return [tuple(row.get(field) for field in fields) for row in told["buckets"]]


def test_in_memory_it_shows_who_is_refused_and_lets_them_go_on(tmp_path: Path) -> None:
    with serving(tmp_path) as sidecar:
        assert sidecar.ask(FIRST, 5) == [200] * 4 + [429]
        assert sidecar.ask(OTHER) == [200]
        told = sidecar.seen("show", "--key", "first")
        assert told["refused"] is True
        assert rows(told, "limit", "whose", "remaining", "refuses", "store") == [
            ("per-key", "key first", 0, True, "memory"),
            ("per-customer", "customer acme", 2, False, "memory"),
        ]
        assert 0 < told["buckets"][0]["refuses_for_s"] <= 86400 / 4
        text = sidecar.run("show", "--customer", "acme")
        assert text.startswith("refused by `per-key` (key first) in memory: until 20")
        top = sidecar.seen("top")
        assert rows(top, "limit", "whose")[:2] == [
            ("per-key", "key first"),
            ("per-customer", "customer acme"),
        ]
        assert len(top["buckets"]) == 4
        assert "1 bucket is filled up" in sidecar.run(
            "reset", "--key", "first", "--limit", "per-key", "--yes"
        )
        assert sidecar.ask(FIRST, 3) == [200, 200, 429]  # now the customer's
        assert "say --yes" in sidecar.run("reset", "--customer", "acme", code=2)
        assert sidecar.ask(FIRST) == [429]
        assert "2 buckets are filled up" in sidecar.run("reset", "--customer", "acme", "--yes")
        assert sidecar.ask(FIRST) == [200]
        assert rows(sidecar.seen("show", "--key", "other"), "remaining") == [(5,), (3,)]


def test_what_a_client_sent_stands_nowhere(tmp_path: Path) -> None:
    with serving(tmp_path, CANARY) as sidecar:
        assert sidecar.ask(FIRST, path="/visit", visit="CANARY-7d1f") == [200]
        texts = [sidecar.run("top"), json.dumps(sidecar.seen("top"))]
        assert all("per-visit" in text and "CANARY" not in text for text in texts)
        (named,) = sidecar.seen("show", "--limit", "per-visit", "--per", "CANARY-7d1f")["buckets"]
        assert (named["remaining"], named["store"]) == (3, "memory")
        assert "1 bucket is" in sidecar.run("reset", "--limit", "per-visit", "--per", "CANARY-7d1f", "--yes")


def test_of_workers_each_has_its_share_and_all_are_reset(tmp_path: Path) -> None:
    with serving(tmp_path, workers=2) as sidecar:
        assert sidecar.ask(FIRST, 3, worker=0) == [200, 200, 429]
        assert sidecar.ask(FIRST, 1, worker=1) == [200]
        told = sidecar.seen("show", "--key", "first", "--limit", "per-key")
        assert rows(told, "worker", "burst", "remaining", "refuses") == [
            (0, 2.0, 0, True),
            (1, 2.0, 1, False),
        ]
        assert "2 buckets are filled up" in sidecar.run(
            "reset", "--key", "first", "--limit", "per-key", "--yes"
        )
        assert sidecar.ask(FIRST, 1, worker=0) == [200]


@contextmanager
def store(kind: str) -> Iterator[str]:
    match kind:
        case "standalone":
            with redis_server() as redis:
                yield redis.url
        case "sentinel":
            with sentinel_set() as watched:
                yield watched.url
        case _:
            with redis_cluster() as cluster:
                yield cluster.url


@pytest.mark.parametrize("kind", ["standalone", "sentinel", "cluster"])
def test_in_redis_it_shows_what_the_fleet_spent_and_lets_them_go_on(tmp_path: Path, kind: str) -> None:
    with store(kind) as url, serving(tmp_path, REDIS_URL=url) as sidecar:
        wait_until(lambda: sidecar.up("redis"), "a link to Redis")
        assert sidecar.ask(FIRST, 5) == [200] * 4 + [429]
        told = sidecar.seen("show", "--customer", "acme")
        assert rows(told, "limit", "whose", "remaining", "refuses", "store") == [
            ("per-key", "key first", 0, True, "redis"),
            ("per-customer", "customer acme", 2, False, "redis"),
            ("per-key", "key second", 4, False, None),
        ]
        assert rows(sidecar.seen("top"), "whose") == [("key first",), ("customer acme",)]
        assert "2 buckets are filled up" in sidecar.run("reset", "--customer", "acme", "--yes")
        assert sidecar.ask(FIRST) == [200]
        assert rows(sidecar.seen("show", "--key", "first"), "remaining") == [(5,), (3,)]


def test_without_redis_it_shows_what_the_sidecar_decides_by_and_resets_that(tmp_path: Path) -> None:
    with redis_server() as redis, serving(tmp_path, REDIS_URL=redis.url) as sidecar:
        wait_until(lambda: sidecar.up("redis"), "a link to Redis")
        assert sidecar.ask(FIRST, 4) == [200] * 4
        redis.kill()
        wait_until(lambda: not sidecar.up("redis"), "the loss of Redis")
        assert sidecar.ask(FIRST) == [429]
        told = sidecar.seen("show", "--key", "first", code=3)
        assert ("per-key", "outage", True) in rows(told, "limit", "store", "refuses")
        assert "refused" in told["trouble"]
        text = sidecar.run("reset", "--key", "first", "--yes", code=3)
        assert "those of other sidecars have to be filled up there" in text
        assert sidecar.ask(FIRST) == [200]


def test_nobody_there_is_a_line_and_cannot_run(tmp_path: Path) -> None:
    policies = write(tmp_path / "set", PROVIDER, SET, FIRST.document)
    words = ("limits", "top", "--policies", str(policies), "--debug", f"unix:{tmp_path}/none.sock")
    alone = command.run(*words)
    assert (alone.returncode, alone.stdout) == (3, "")
    assert "nobody answers at unix:" in alone.stderr
    shared = command.run(*words, REDIS_URL="redis://:hush-hush@127.0.0.1:1")
    assert (shared.returncode, shared.stdout) == (3, "")
    assert shared.stderr.count("\n") == 1
    assert "hush" not in shared.stderr
