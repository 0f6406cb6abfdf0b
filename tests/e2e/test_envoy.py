"""What the generated configuration promises, on the Envoy that the tests run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from authz.proxy.choices import EnvoyChoices
from authz.proxy.client import request_bytes
from authz.proxy.cors import CorsRules
from authz.proxy.process import http_get
from authz.proxy.stage import envoy_choices, start_envoy
from tests.support.proxy import Live, eventually

pytestmark = pytest.mark.e2e


@contextmanager
def _another(app: Live, name: str, **changes: Any) -> Iterator[int]:
    """A second Envoy with other choices before the same sidecar."""
    scene, upstream = app.stage.scene, app.stage.upstream.port
    directory = scene.directory / name
    directory.mkdir()
    authz = envoy_choices(scene, upstream).authz

    def change(choices: EnvoyChoices) -> EnvoyChoices:
        return replace(choices, **{"authz": authz, **changes})

    with ExitStack() as stack:
        _, (port, _) = start_envoy(replace(scene, directory=directory, envoy=change), upstream, stack)
        yield port


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


def test_a_listener_bound_to_hosts_serves_no_other(app: Live) -> None:
    with _another(app, "hosts", hosts=("app.test",)) as port:
        assert app.send("GET", "/public/a", port=port)[0].status == 200
        assert app.send("GET", "/public/a", host="app.test:8443", port=port)[0].status == 200
        reply, seen = app.send("GET", "/other", host="open.test", port=port)
        assert (reply.status, seen) == (404, [])


def test_a_body_above_the_bound_is_413_and_below_it_passes(app: Live) -> None:
    with _another(app, "body", body_bytes=1024) as port:
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

    with _another(app, "cors", cors=rules) as port:
        assert preflight("https://b.a.test") == (200, "https://b.a.test")
        assert preflight("https://evila.test") == (403, "")


def test_at_the_edge_the_peer_is_appended_to_x_forwarded_for(app: Live) -> None:
    with _another(app, "edge", edge=True) as port:
        _, seen = app.send("GET", "/public/a", ("x-forwarded-for", "1.2.3.4"), port=port)
        # Envoy writes its own address where the peer is the loopback.
        assert re.fullmatch(r"1\.2\.3\.4,[0-9.]+", seen[0].values("x-forwarded-for")[0])
    _, seen = app.send("GET", "/public/a", ("x-forwarded-for", "1.2.3.4"))
    assert seen[0].values("x-forwarded-for") == ["1.2.3.4"]


def test_a_websocket_is_403_where_upgrades_are_not_passed_on(app: Live) -> None:
    with _another(app, "plain", upgrades=()) as port:
        headers = [("host", "app.test"), app.key(), ("upgrade", "websocket"), ("sec-websocket-version", "13")]
        data = request_bytes("GET", "/live", headers).replace(b"connection: close", b"connection: upgrade")
        reply, seen = app.send_bytes(data, port)
        assert (reply.status, seen) == (403, [])
