from __future__ import annotations

import json
from http import HTTPStatus

import pytest

from authz.transport.routes import Form, Readiness, health, metrics, problem, ready, records


def test_health_says_alive() -> None:
    response = health()("")
    assert (response.status, json.loads(response.body)) == (200, {"status": "alive"})


def test_ready_says_which_revision_is_served() -> None:
    response = ready(lambda: Readiness(ready=True, revision="0123456789ab"))("")
    assert (response.status, json.loads(response.body)) == (200, {"ready": True, "revision": "0123456789ab"})


def test_not_ready_says_why_and_limits_that_are_off_are_said() -> None:
    response = ready(lambda: Readiness(ready=False, why="a.yaml:3:1: no such field", rate_limits=False))("")
    assert response.status == 503
    assert json.loads(response.body) == {
        "ready": False,
        "why": "a.yaml:3:1: no such field",
        "rate_limits": "off",
    }


PLAIN = Form("text/plain; version=0.0.4; charset=utf-8", lambda: b"plain")
OPEN = Form("application/openmetrics-text; version=1.0.0; charset=utf-8", lambda: b"open")
SCRAPER = (  # Prometheus 2.42
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


def test_metrics_are_handed_on_with_their_type() -> None:
    page = metrics(PLAIN, OPEN)
    assert page("") == (200, PLAIN.content_type, b"plain")
    assert page(SCRAPER) == (200, OPEN.content_type, b"open")


@pytest.mark.parametrize(
    ("accept", "body"),
    [
        ("application/openmetrics-text", b"open"),
        ("Application/OpenMetrics-Text; Version=1.0.0; charset=utf-8", b"open"),
        ("text/plain;q=0.5, application/openmetrics-text;q=0.5", b"open"),
        ("text/plain;q=0.6, application/openmetrics-text;q=0.5", b"plain"),
        ("application/openmetrics-text;q=0", b"plain"),
        ("application/openmetrics-text;q=0.000", b"plain"),
        ("application/openmetrics-text;q=x", b"plain"),
        ("application/openmetrics-text;q=nan", b"plain"),
        ("application/openmetrics-text;version=0.0.1", b"plain"),
        ("application/openmetrics-text;version=2.0.0", b"plain"),
        ("xapplication/openmetrics-text", b"plain"),
        ("*/*", b"plain"),
        ("application/*", b"plain"),
        (",;=;,q=", b"plain"),
        ("\xff;q=1", b"plain"),
        (";" * 8000, b"plain"),
    ],
)
def test_openmetrics_is_for_whoever_names_it(accept: str, body: bytes) -> None:
    assert metrics(PLAIN, OPEN)(accept).body == body


def test_a_record_is_the_line_itself_and_an_unknown_one_is_a_problem() -> None:
    route = records({"known": b'{"v":1}\n'}.get)
    assert route("known") == (200, "application/json", b'{"v":1}\n')
    missing = route("unknown")
    assert (missing.status, missing.content_type) == (404, "application/problem+json")


def test_a_problem_has_its_four_fields() -> None:
    body = json.loads(problem(HTTPStatus.NOT_FOUND, "why").body)
    assert body == {"type": "about:blank", "title": "Not Found", "status": 404, "detail": "why"}
