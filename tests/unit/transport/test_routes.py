from __future__ import annotations

import json
from http import HTTPStatus

from authz.transport.routes import Readiness, health, metrics, problem, ready, records


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


def test_metrics_are_handed_on_with_their_type() -> None:
    assert metrics(lambda: b"page", "text/plain")("") == (200, "text/plain", b"page")


def test_a_record_is_the_line_itself_and_an_unknown_one_is_a_problem() -> None:
    route = records({"known": b'{"v":1}\n'}.get)
    assert route("known") == (200, "application/json", b'{"v":1}\n')
    missing = route("unknown")
    assert (missing.status, missing.content_type) == (404, "application/problem+json")


def test_a_problem_has_its_four_fields() -> None:
    body = json.loads(problem(HTTPStatus.NOT_FOUND, "why").body)
    assert body == {"type": "about:blank", "title": "Not Found", "status": 404, "detail": "why"}
