"""The guard and bound hosts, through the real Envoy behind a load balancer of ours."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from authz.proxy.choices import EnvoyChoices
from tests.support.keys import TOKEN
from tests.support.proxy import Live, eventually, live

pytestmark = pytest.mark.e2e

SERVE = ("--trusted-hops", "1", "--hosts", "Guarded.test", "--hosts", "*.served.test")


@pytest.fixture(scope="module")
def bound() -> Iterator[Live]:
    def behind_a_load_balancer(choices: EnvoyChoices) -> EnvoyChoices:
        return replace(choices, trusted_hops=1)

    with live(serve=SERVE, envoy=behind_a_load_balancer) as running:
        yield running


def _from(address: str) -> tuple[str, str]:
    """Return what the load balancer says; what stands before it the client may have written."""
    return ("x-forwarded-for", f"203.0.113.200, {address}")


def _records(app: Live, address: str, count: int) -> list[dict[str, Any]]:
    def found() -> list[dict[str, Any]]:
        lines = map(json.loads, app.stage.records.read_text().splitlines())
        return [record for record in lines if record["request"].get("client_address") == address]

    assert eventually(lambda: len(found()) >= count)
    return found()


def test_a_flood_of_bad_keys_is_guarded_and_others_are_served(bound: Live) -> None:
    bad = ("x-api-key", TOKEN)
    statuses = Counter(
        bound.send("GET", "/items/1", bad, _from("203.0.113.66"), host="guarded.test")[0].status
        for _ in range(60)
    )
    assert statuses == {401: 20, 429: 40}
    refused, seen = bound.send("GET", "/items/1", bound.key(), _from("203.0.113.66"), host="guarded.test")
    assert (refused.status, seen) == (429, [])
    assert int(refused.header("retry-after")) > 3000
    assert (refused.header("x-authz-reason"), refused.header("www-authenticate")) == ("limited", "")
    served, _ = bound.send("GET", "/items/1", bound.key(), _from("203.0.113.67"), host="guarded.test")
    assert served.status == 200
    reasons = Counter(record["reason"] for record in _records(bound, "203.0.113.66", 61))
    assert reasons == {"credential_invalid": 20, "guarded": 41}


def test_all_of_a_64_are_one_network_over_http2_too(bound: Live) -> None:
    statuses = [
        bound.send2(
            "GET", "/items/1", ("x-api-key", "x"), _from(f"2001:db8::{number:x}"), host="guarded.test"
        )[0].status
        for number in range(1, 24)
    ]
    assert statuses == [401] * 20 + [429] * 3
    served, _ = bound.send2("GET", "/items/1", bound.key(), _from("2001:db8:0:1::1"), host="guarded.test")
    assert served.status == 200


def test_bad_requests_are_charged_and_stay_400(bound: Live) -> None:
    for _ in range(25):
        assert bound.send("GET", "/a;b=c", _from("203.0.113.68"), host="guarded.test")[0].status == 400
    assert bound.send("GET", "/public/a", _from("203.0.113.68"), host="guarded.test")[0].status == 429


@pytest.mark.parametrize(
    "host", ["guarded.test", "GUARDED.Test", "guarded.test.", "guarded.test:8443", "a.b.served.test"]
)
def test_a_served_host_is_served_however_it_is_spelled(bound: Live, host: str) -> None:
    assert bound.send("GET", "/public/a", host=host)[0].status == 200
    assert bound.send2("GET", "/public/a", host=host)[0].status == 200


MISDIRECTED = [
    "app.test",
    "APP.test",
    "app.test.",
    "app.test:80",
    "open.test",
    "served.test",
    "xserved.test",
    "guarded.test.app.test",
    "x.guarded.test",
    "127.0.0.1",
    "[::1]:80",
]


@pytest.mark.parametrize("host", MISDIRECTED)
def test_any_other_host_is_421(bound: Live, host: str) -> None:
    """`open.test` would be open to anyone, and `app.test` to this key: neither is this application's."""
    for send in (bound.send, bound.send2):
        refused, seen = send("GET", "/public/a", bound.key(), host=host)
        assert (refused.status, seen) == (421, [])
        assert refused.header("x-authz-reason") == "bad_request"


@pytest.mark.parametrize(
    "host", ["guarded.test:x", "guarded..test", "open.test/", "u@guarded.test", "open.test,guarded.test", ""]
)
def test_what_is_no_host_reaches_nobody(bound: Live, host: str) -> None:
    for send in (bound.send, bound.send2):
        refused, seen = send("GET", "/public/a", host=host)
        assert seen == []
        assert refused.status in (0, 400, 404)


def test_two_hosts_in_one_request_reach_nobody_who_is_not_served(bound: Live) -> None:
    """Whichever of them Envoy believes, the application is asked for the one that was judged."""
    pseudo = [(":method", "GET"), (":scheme", "http"), (":path", "/public/a")]
    for named, other in (("guarded.test", "open.test"), ("open.test", "guarded.test")):
        _, seen = bound.send_list([*pseudo, (":authority", named), ("host", other)])
        assert all(one.values("host") == ["guarded.test"] for one in seen)
    data = b"GET http://open.test/public/a HTTP/1.1\r\nhost: guarded.test\r\nconnection: close\r\n\r\n"
    refused, seen = bound.send_bytes(data)
    assert (refused.status, seen) == (421, [])
