"""Limits as operators see them, in Redis, without it and off: answers, records, metrics and `/ready`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from authz.model.address import UnixAddress
from authz.proxy.choices import EnvoyChoices
from authz.proxy.client import Reply
from authz.proxy.process import http_get
from tests.support.proxy import KEYS, Live, eventually, live
from tests.support.redis import RedisServer, redis_server

pytestmark = pytest.mark.e2e

TRANSPORTS = ("native",)  # what is shown here happens behind both fronts


def _ask(app: Live, path: str, key: str = "acme") -> Reply:
    return app.send("GET", path, app.key(key), host="limits.test")[0]


def _records(app: Live, count: int) -> list[dict[str, Any]]:
    """Return the last records, once there are so many."""

    def lines() -> list[str]:
        return app.stage.records.read_text().splitlines()

    assert eventually(lambda: len(lines()) >= count)
    return [json.loads(line) for line in lines()]


def _number(app: Live, series: str) -> float:
    _, page = http_get(app.stage.ops_port, "/metrics") or (0, b"")
    found = re.search(rf"^{re.escape(series)} (\S+)$", page.decode(), re.MULTILINE)
    return float(found[1]) if found else -1.0


def _ready(app: Live) -> dict[str, Any]:
    _, body = http_get(app.stage.ops_port, "/ready") or (0, b"{}")
    found: dict[str, Any] = json.loads(body)
    return found


@contextmanager
def _in(redis: RedisServer, more: Mapping[str, Any] = MappingProxyType({}), **env: str) -> Iterator[Live]:
    # Patience as on a machine that does other things, too: who gives up early decides alone.
    patient = {"REDIS_URL": redis.unix_url, "AUTHZ_REDIS_TIMEOUT_MS": "1000"}
    with live(env={**patient, **env}, **more) as app:
        assert eventually(lambda: _number(app, 'authz_store_up{store="redis"}') == 1)
        yield app


def test_what_is_spent_in_redis_is_told_to_clients_records_and_metrics() -> None:
    with redis_server() as redis, _in(redis, AUTHZ_LIMIT_HEADERS_ON_ALLOW="true") as app:
        replies = [_ask(app, "/both") for _ in range(7)]
        assert [reply.status for reply in replies] == [200] * 5 + [429] * 2
        assert replies[0].header("ratelimit").startswith('"five";r=4;t=')
        assert json.loads(replies[5].body)["limits"] == ["five"]
        assert int(replies[5].header("retry-after")) >= 17_280 - 30
        records = _records(app, 7)
        assert [record["limits"][0]["store"] for record in records] == ["redis"] * 7
        five, fifty = records[6]["limits"]
        assert (five["name"], five["remaining"], five["refused"]) == ("five", 0, "no_room")
        assert (fifty["name"], fifty["remaining"], fifty["retry_ms"]) == ("fifty", 45, 0)
        assert (records[6]["policy"], records[6]["rule"]) == ("limited", "both")
        assert _number(app, 'authz_limit_near_total{limit="five"}') == 1
        assert _number(app, 'authz_limit_near_total{limit="fifty"}') == -1
        # What the fifth answer told of the bucket is good for a second; a slow machine asks again.
        asked = _number(app, 'authz_store_checks_total{decided="asked",store="redis"}')
        remembered = _number(app, 'authz_store_checks_total{decided="remembered",store="redis"}')
        assert asked in (5, 6, 7)
        assert asked + remembered == 7
        assert _number(app, 'authz_store_calls_total{result="answered",store="redis"}') == asked
        assert _number(app, "authz_store_round_trip_seconds_count") == asked
        assert _number(app, 'authz_store_links{state="up",store="redis"}') == 1
        assert _number(app, 'authz_store_connects_total{store="redis"}') >= 1
        assert _number(app, 'authz_store_evicts{store="redis"}') == 0


def test_what_is_decided_without_redis_says_so_everywhere_but_to_clients() -> None:
    careless = ("--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru")
    with redis_server(*careless) as redis, _in(redis) as app:
        assert _number(app, 'authz_store_evicts{store="redis"}') == 1
        assert [_ask(app, path).status for path in ("/both", "/strict")] == [200, 200]
        assert eventually(lambda: _number(app, "authz_fleet_members") == 1)
        redis.kill()
        assert eventually(lambda: _number(app, 'authz_store_up{store="redis"}') == 0)
        passed, refused = _ask(app, "/both"), _ask(app, "/strict")
        assert (passed.status, refused.status) == (200, 503)
        assert (refused.header("x-authz-reason"), refused.header("retry-after")) == ("unavailable", "")
        assert "ratelimit" not in str(refused.headers)
        assert "limits" not in json.loads(refused.body)
        alone, unavailable = _records(app, 4)[2:]
        assert [limit["store"] for limit in alone["limits"]] == ["outage", "outage"]
        assert (unavailable["reason"], unavailable["rule"]) == ("store_unavailable", "strict")
        told = {limit["name"]: limit for limit in unavailable["limits"]}
        assert told["strict"] == {"name": "strict", "store": "outage", "refused": "store"}
        assert "refused" not in told["fifty"]
        assert _number(app, 'authz_store_checks_total{decided="alone",store="redis"}') == 2
        assert _number(app, 'authz_store_links{state="down",store="redis"}') == 1
        decided = 'authz_limit_decisions_total{limit="strict",mode="enforce",outcome="deny",store="outage"}'
        assert _number(app, decided) == 1
        assert eventually(lambda: "does not answer" in _ready(app).get("store", ""))
        assert _ready(app)["ready"] is True
        assert eventually(lambda: _number(app, 'authz_store_outages_total{store="redis"}') == 1)


def _connections(redis: RedisServer) -> int:
    """Return how many connections it ever had; asking is one."""
    return int(redis.ask("INFO", "stats")["total_connections_received"])


def _two_sockets(choices: EnvoyChoices) -> EnvoyChoices:
    (first,) = choices.authz
    assert isinstance(first, UnixAddress)
    own = [first.path.with_name(f"authz-{index}.sock") for index in range(2)]
    return replace(choices, authz=tuple(UnixAddress(path) for path in own))


TWO_WORKERS: Mapping[str, Any] = {"envoy": _two_sockets, "serve": ("--workers", "2")}


def test_what_several_workers_spend_and_ask_is_told_as_one() -> None:
    with redis_server() as redis, _in(redis, TWO_WORKERS) as app:
        assert eventually(lambda: _number(app, 'authz_store_links{state="up",store="redis"}') == 2)
        statuses = [_ask(app, "/both").status for _ in range(12)]
        assert (statuses.count(200), statuses.count(429)) == (5, 7)
        assert len({record["sidecar"] for record in _records(app, 12)}) == 2
        decided = 'authz_limit_decisions_total{{limit="five",mode="enforce",outcome="{}",store="redis"}}'
        assert eventually(lambda: _number(app, decided.format("deny")) == 7)
        assert _number(app, decided.format("allow")) == 5

        def counted() -> float:
            asked = _number(app, 'authz_store_checks_total{decided="asked",store="redis"}')
            return asked + _number(app, 'authz_store_checks_total{decided="remembered",store="redis"}')

        assert eventually(lambda: counted() == 12)
        assert eventually(lambda: _number(app, "authz_fleet_members") == 2)


@pytest.mark.parametrize("workers", [1, 2])
def test_switched_off_nothing_is_spent_nobody_connects_and_everything_says_so(workers: int) -> None:
    more = TWO_WORKERS if workers == 2 else {}
    with redis_server() as redis:
        before = _connections(redis)
        env = {
            "REDIS_URL": redis.unix_url,
            "RATE_LIMIT_ENABLED": "false",
            "AUTHZ_LIMIT_HEADERS_ON_ALLOW": "true",
        }
        with live(KEYS[:1], env=env, **more) as app:
            assert eventually(lambda: _ready(app)["ready"] is True)
            replies = [_ask(app, path) for _ in range(10) for path in ("/both", "/strict")]
            assert [reply.status for reply in replies] == [200] * 20
            assert "ratelimit" not in str([reply.headers for reply in replies])
            assert _ready(app)["rate_limits"] == "off"
            stores = {limit["store"] for record in _records(app, 20) for limit in record["limits"]}
            assert stores == {"off"}
            assert _number(app, "authz_rate_limits_enabled") == 0
            passed = 'authz_limit_decisions_total{limit="five",mode="enforce",outcome="allow",store="off"}'
            assert eventually(lambda: _number(app, passed) == 10)
            _, page = http_get(app.stage.ops_port, "/metrics") or (0, b"")
            assert b"authz_store_" not in re.sub(rb"(?m)^#.*$", b"", page)
            assert "RATE_LIMIT_ENABLED is false" in app.stage.sidecar.plan.log.read_text()
        assert _connections(redis) == before + 1
