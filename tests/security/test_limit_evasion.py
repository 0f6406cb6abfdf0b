"""Ways to a second bucket, or a free one: whoever tries draws from the same key in Redis, or is refused."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from authz.proxy.stage import short_directory
from tests.support.checks import check_request
from tests.support.grpc import Ask, client, read
from tests.support.policies import PEPPER, PROVIDER, MadeKey
from tests.support.proxy import eventually
from tests.support.redis import RedisServer, redis_server
from tests.support.serving import Running, running
from tests.support.sets import write
from tests.support.workers import status

HOST = "a.example.com"
BURST = 8
POLICY = f"""
kind: Limit
metadata: {{name: per-key}}
spec: {{per: [identity.key_id], rate: 5/d}}
---
kind: Limit
metadata: {{name: per-customer}}
spec: {{per: [identity.customer], rate: {BURST}/d}}
---
kind: Limit
metadata: {{name: per-network}}
spec: {{per: [client.network], rate: {BURST}/d}}
---
kind: Limit
metadata: {{name: per-path}}
spec: {{per: [request.host, request.method, request.url_path], rate: {BURST}/d}}
---
kind: Limit
metadata: {{name: by-cost}}
spec: {{per: [params.case], rate: {BURST}/d, cost: 'double(request.headers["x-cost"])'}}
---
kind: Limit
metadata: {{name: pair}}
spec: {{per: ['request.headers["x-a"]', 'request.headers["x-b"]'], rate: {BURST}/d}}
---
kind: Policy
metadata: {{name: p}}
spec:
  hosts: ["*"]
  rules:
    - {{name: k, effect: allow, paths: [/keyed], identity: [partner-keys], limits: [per-key, per-customer]}}
    - {{name: network, effect: allow, paths: [/network], identity: [anonymous], limits: [per-network]}}
    - {{name: path, effect: allow, paths: ["/path/**"], identity: [anyone], limits: [per-path]}}
    - {{name: cost, effect: allow, paths: ["/cost/{{case}}"], identity: [anyone], limits: [by-cost]}}
    - {{name: pair, effect: allow, paths: [/pair], identity: [anyone], limits: [pair]}}
"""
KEYS = [MadeKey(f"k{number}", customer="acme") for number in range(12)]


class Spent:
    """A sidecar before a Redis that is asked what became of it."""

    def __init__(self, server: RedisServer, sidecar: Running, ask: Ask) -> None:
        self.server, self.sidecar, self._ask = server, sidecar, ask

    def told(self, path: str, **more: Any) -> int:
        payload = check_request(**{"host": HOST, "path": path, "peer": "203.0.113.7", **more})
        return status(read(self._ask(payload, timeout=10)))

    def buckets(self, limit: str) -> list[float]:
        """What is owed by each bucket of a limit in Redis, in whole tokens."""
        keys = self.server.ask("KEYS", f"authz:default:*:{limit}:*")
        return sorted(round(struct.unpack("<dd", self.server.ask("GET", key))[0], 3) for key in keys)


@pytest.fixture(scope="module")
def started() -> Iterator[Spent]:
    home = short_directory()
    write(home / "policies", PROVIDER, POLICY, *[key.document for key in KEYS])
    environ = {"API_KEY_SALT": PEPPER.decode(), "AUTHZ_REDIS_TIMEOUT_MS": "1000"}
    with ExitStack() as stack:
        server = stack.enter_context(redis_server())
        environ |= {"REDIS_URL": server.unix_url, "AUTHZ_RECORD_SINK": f"file:{home}/records"}
        sidecar = stack.enter_context(running(home, **environ))
        ask = stack.enter_context(client(f"unix:{home}/a.sock"))
        assert eventually(lambda: sidecar.number('authz_store_up{store="redis"}') == 1, 30)
        yield Spent(server, sidecar, ask)
    assert '"store":"outage"' not in (home / "records").read_text()
    shutil.rmtree(home)


@pytest.fixture
def spent(started: Spent) -> Spent:
    started.server.ask("FLUSHALL")
    return started


def test_many_keys_of_one_customer_draw_from_one_bucket(spent: Spent) -> None:
    statuses = [spent.told("/keyed", headers=[("x-api-key", key.token)]) for key in KEYS for _ in range(2)]
    assert statuses.count(200) == BURST
    assert spent.buckets("per-customer") == [BURST]
    assert sum(spent.buckets("per-key")) == BURST  # a refused request spent nothing of its own key's


@pytest.mark.parametrize(
    "peers",
    [
        [f"2001:db8:1:2:{number:x}::{number:x}" for number in range(1, 20)],
        ["2001:db8:1:3::1", "2001:DB8:1:3::2", "2001:0db8:0001:0003:0000:0000:0000:0003", "2001:db8:1:3:0::4"]
        * 4,
        ["203.0.113.9", "::ffff:203.0.113.9", "::ffff:cb00:7109", "0:0:0:0:0:ffff:203.0.113.9"] * 4,
    ],
)
def test_addresses_of_one_network_draw_from_one_bucket(spent: Spent, peers: list[str]) -> None:
    statuses = [spent.told("/network", peer=peer) for peer in peers]
    assert statuses.count(200) == BURST
    assert set(statuses) == {200, 429}
    assert spent.buckets("per-network") == [BURST]


@pytest.mark.parametrize(
    "name",
    [
        "x-forwarded-for",
        "forwarded",
        "x-real-ip",
        "x-client-ip",
        "x-envoy-external-address",
        "cf-connecting-ip",
    ],
)
def test_headers_that_speak_of_another_address_change_nothing(spent: Spent, name: str) -> None:
    """No hop is trusted here: what counts is who speaks to Envoy."""
    values = [f"for=198.51.100.{n}" if name == "forwarded" else f"198.51.100.{n}" for n in range(20)]
    peer = f"192.0.2.{sum(name.encode()) % 251}"
    statuses = [spent.told("/network", headers=[(name, value)], peer=peer) for value in values]
    assert statuses.count(200) == BURST
    assert spent.buckets("per-network") == [BURST]


SPELLINGS = (
    "/path/a/b", "/path/a/b/", "/path/a/b?x=1", "/path/a/b?", "/path/a/b?x=/other", "/path/%61/b",
    "/path//a/b", "/path/./a/b", "/path/x/../a/b", "/path/a%2fb", "/path/a/b;v=1", "/path/a\\b",
    "/path/a/b%00", "/path/a/b#x", "/path/a/b%20", "/path/a/b%", "//path/a/b", "/path/%2e/a/b",
)  # fmt: skip


def test_spellings_of_a_path_draw_from_one_bucket_or_are_refused(spent: Spent) -> None:
    statuses = {spelling: [spent.told(spelling) for _ in range(2)] for spelling in SPELLINGS}
    passed = [spelling for spelling, each in statuses.items() if 200 in each]
    assert set(passed) <= {*SPELLINGS[:5], "/path/a/b%20"}
    assert {status for each in statuses.values() for status in each} <= {200, 400, 429}
    others = 1 if "/path/a/b%20" in passed else 0  # another path, by its own right
    assert len(spent.buckets("per-path")) == 1 + others
    assert max(spent.buckets("per-path")) == BURST


def test_spellings_of_host_and_method_draw_from_one_bucket_or_are_refused(spent: Spent) -> None:
    hosts = (
        HOST,
        HOST.upper(),
        f"{HOST}.",
        f"{HOST}:80",
        f"{HOST}:443",
        "A.Example.Com.:8080",
        f"{HOST}..",
        f" {HOST}",
    )
    statuses = [spent.told("/path/h", host=host, pseudo=False) for host in hosts * 3]
    statuses += [spent.told("/path/h", method=method) for method in ("get", "GET ", "Get")]
    assert statuses.count(200) == BURST
    assert set(statuses) == {200, 400, 429}
    assert spent.buckets("per-path") == [BURST]


def test_no_two_pairs_of_values_share_a_bucket(spent: Spent) -> None:
    """Parts have their lengths: a separator in a value is a character like any other."""
    texts = ("a b", "a:b -", "a b:", "a: b", "a_b c", "a b_c", "ab c", "a bc", "a B", "A b", "a,b c", "a b,c")
    pairs = [text.split() for text in (*texts, "{a} b", "a} {b", "* *")]
    for one, other in pairs:
        spent.told("/pair", headers=[("x-a", one), ("x-b", other)])
    assert len(spent.buckets("pair")) == len(pairs)
    names = spent.server.ask("KEYS", "*:pair:*")
    assert all(name.replace(b"authz:default:", b"").count(b":") == 2 for name in names)


@pytest.mark.parametrize("cost", ["-1", "-0.5", "-1e308", "nan", "-nan", "inf", "-inf", "1e309", "x", ""])
def test_a_cost_that_is_none_is_refused_and_spends_nothing(spent: Spent, cost: str) -> None:
    assert [spent.told("/cost/none", headers=[("x-cost", cost)]) for _ in range(3)] == [403] * 3
    assert spent.buckets("by-cost") == []


@pytest.mark.parametrize("cost", ["8.000001", "9", "1e15", "1e300", "1.7976931348623157e308"])
def test_a_cost_above_the_burst_never_passes_and_spends_nothing(spent: Spent, cost: str) -> None:
    assert [spent.told(f"/cost/huge-{cost}", headers=[("x-cost", cost)]) for _ in range(3)] == [429] * 3
    assert spent.told(f"/cost/huge-{cost}", headers=[("x-cost", "8")]) == 200
    assert spent.buckets("by-cost") == [BURST]


@pytest.mark.parametrize("cost", ["0", "-0.0", "0e10"])
def test_a_cost_of_nothing_passes_even_an_empty_bucket_and_fills_none(spent: Spent, cost: str) -> None:
    assert spent.told(f"/cost/free-{cost}", headers=[("x-cost", "8")]) == 200
    assert [spent.told(f"/cost/free-{cost}", headers=[("x-cost", cost)]) for _ in range(9)] == [200] * 9
    assert spent.told(f"/cost/free-{cost}", headers=[("x-cost", "1")]) == 429
    assert spent.buckets("by-cost") == [BURST]


@pytest.mark.parametrize("cost", ["1e-300", "5e-324", "1e-12"])
def test_a_cost_of_nearly_nothing_never_gives_tokens_back(spent: Spent, cost: str) -> None:
    for _ in range(5):
        spent.told(f"/cost/tiny-{cost}", headers=[("x-cost", cost)])
    assert [spent.told(f"/cost/tiny-{cost}", headers=[("x-cost", "1")]) for _ in range(BURST + 2)].count(
        200
    ) <= BURST
    assert spent.buckets("by-cost") <= [BURST]
