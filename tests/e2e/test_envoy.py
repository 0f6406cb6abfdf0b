"""What the generated configuration promises, on the Envoy that the tests run."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner

from authz.cli.envoy_config import app as envoy_command
from authz.proxy.choices import EnvoyChoices
from authz.proxy.client import request_bytes
from authz.proxy.cors import CorsRules
from authz.proxy.process import http_get
from tests.support.proxy import Live, another_envoy, eventually, live

pytestmark = pytest.mark.e2e


def _logged(app: Live, request_id: str) -> dict[str, Any]:
    def lines() -> list[dict[str, Any]]:
        text = app.stage.access_log.read_text()
        return [json.loads(line) for line in text.splitlines() if request_id in line]

    assert eventually(lambda: bool(lines()), 15)
    return lines()[0]


def test_the_access_log_tells_the_latency_of_the_check_and_never_the_query(app: Live) -> None:
    app.send("GET", "/public/a?secret=hush", ("x-request-id", "log-1"))
    line = _logged(app, "log-1")
    assert 0 < int(line["authz_latency_us"]) < 2_000_000
    assert (line["path"], line["response_code"]) == ("/public/a", 200)
    assert "hush" not in json.dumps(line)


def test_the_access_log_tells_a_refusal_of_ours_from_an_outage(app: Live) -> None:
    app.send("GET", "/items", ("x-request-id", "log-2"))
    assert _logged(app, "log-2")["response_code_details"] == "ext_authz_denied"


def test_the_filter_counts_no_error_while_all_is_well(app: Live) -> None:
    app.send("GET", "/public/a")
    reply = http_get(app.stage.admin_port, "/stats?filter=ext_authz.(error|failure_mode_allowed)$")
    assert reply is not None
    assert {line.rpartition(b": ")[2] for line in reply[1].splitlines()} == {b"0"}


def test_the_counter_that_an_alert_asks_of_envoy_is_there(app: Live) -> None:
    _, page = http_get(app.stage.admin_port, "/stats/prometheus") or (0, b"")
    assert b"\nenvoy_http_ext_authz_error{" in page


def test_an_installation_can_be_asked_whether_it_allows_and_refuses(app: Live) -> None:
    at = ["ask", "--at", f"127.0.0.1:{app.stage.port}", "--host", "app.test"]
    done = CliRunner().invoke(envoy_command, [*at, "200 GET /public/a", "401 GET /items unauthenticated"])
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == "ok     GET /public/a: 200\nok     GET /items: 401 unauthenticated\n"


def test_a_listener_bound_to_hosts_serves_no_other(app: Live) -> None:
    with another_envoy(app, "hosts", hosts=("app.test",)) as port:
        assert app.send("GET", "/public/a", port=port)[0].status == 200
        assert app.send("GET", "/public/a", host="app.test:8443", port=port)[0].status == 200
        reply, seen = app.send("GET", "/other", host="open.test", port=port)
        assert (reply.status, seen) == (404, [])


def test_a_body_above_the_bound_is_413_and_below_it_passes(app: Live) -> None:
    with another_envoy(app, "body", body_bytes=1024) as port:
        reply, seen = app.send("POST", "/items", app.key(), body=b"x" * 1024, port=port)
        assert (reply.status, len(seen[0].body)) == (200, 1024)
        reply, seen = app.send("POST", "/items", app.key(), body=b"x" * 1025, port=port)
        assert (reply.status, seen) == (413, [])


def test_a_preflight_is_answered_by_envoy_and_any_other_is_judged(app: Live) -> None:
    rules = CorsRules(allow_origins=["https://*.a.test"], allow_headers=["x-api-key"])

    def preflight(origin: str) -> tuple[int, str]:
        asked = ("access-control-request-method", "GET")
        reply, seen = app.send("OPTIONS", "/items", ("origin", origin), asked, port=port)
        assert seen == []
        return reply.status, reply.header("access-control-allow-origin")

    with another_envoy(app, "cors", cors=rules) as port:
        assert preflight("https://b.a.test") == (200, "https://b.a.test")
        assert preflight("https://evila.test") == (403, "")


def test_at_the_edge_the_peer_is_appended_to_x_forwarded_for(app: Live) -> None:
    with another_envoy(app, "edge", edge=True) as port:
        _, seen = app.send("GET", "/public/a", ("x-forwarded-for", "1.2.3.4"), port=port)
        # Envoy writes its own address where the peer is the loopback.
        assert re.fullmatch(r"1\.2\.3\.4,[0-9.]+", seen[0].values("x-forwarded-for")[0])
    _, seen = app.send("GET", "/public/a", ("x-forwarded-for", "1.2.3.4"))
    assert seen[0].values("x-forwarded-for") == ["1.2.3.4"]


def test_a_websocket_is_403_where_upgrades_are_not_passed_on(app: Live) -> None:
    with another_envoy(app, "plain", upgrades=()) as port:
        headers = [("host", "app.test"), app.key(), ("upgrade", "websocket"), ("sec-websocket-version", "13")]
        data = request_bytes("GET", "/live", headers).replace(b"connection: close", b"connection: upgrade")
        reply, seen = app.send_bytes(data, port)
        assert (reply.status, seen) == (403, [])


def _client(app: Live, forwarded: str) -> tuple[str, str]:
    """Return the client that the decision record names, and the one that Envoy's log names."""
    request_id = f"client-{forwarded}"
    app.send("GET", "/public/a", ("x-forwarded-for", forwarded), ("x-request-id", request_id))

    def records() -> list[dict[str, Any]]:
        lines = app.stage.records.read_text().splitlines()
        return [record for record in map(json.loads, lines) if record.get("request_id") == request_id]

    assert eventually(lambda: bool(records()))
    return records()[0]["request"]["client_address"], _logged(app, request_id)["client"]


def test_behind_a_load_balancer_both_read_the_entry_that_it_wrote() -> None:
    def hop(choices: EnvoyChoices) -> EnvoyChoices:
        return replace(choices, trusted_hops=1)

    with live((), serve=("--trusted-hops", "1"), envoy=hop) as app:
        assert _client(app, "6.6.6.6, 203.0.113.9") == ("203.0.113.9", "203.0.113.9")
        assert _client(app, "203.0.113.8") == ("203.0.113.8", "203.0.113.8")


def test_at_the_edge_behind_a_cdn_both_read_the_entry_that_it_wrote() -> None:
    def edge(choices: EnvoyChoices) -> EnvoyChoices:
        return replace(choices, trusted_hops=1, edge=True)

    env = {"AUTHZ_XFF_APPENDED": "true"}
    with live((), serve=("--trusted-hops", "1"), env=env, envoy=edge) as app:
        recorded, logged = _client_at_the_edge(app, "6.6.6.6, 203.0.113.9")
        assert (recorded, logged) == ("203.0.113.9", "203.0.113.9")


def _client_at_the_edge(app: Live, forwarded: str) -> tuple[str, str]:
    """Like `_client`, where Envoy gives every request an id of its own."""
    app.send("GET", "/public/edge", ("x-forwarded-for", forwarded))
    assert eventually(lambda: "/public/edge" in app.stage.records.read_text())
    assert eventually(lambda: "/public/edge" in app.stage.access_log.read_text())
    record = json.loads(app.stage.records.read_text().splitlines()[-1])
    return record["request"]["client_address"], json.loads(app.stage.access_log.read_text())["client"]


def test_a_client_cannot_choose_its_address_where_no_proxy_is_trusted(app: Live) -> None:
    recorded, _ = _client(app, "6.6.6.6")
    assert recorded == "127.0.0.1"
