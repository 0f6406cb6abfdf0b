"""Documents in `mode: shadow`, beside those that decide: clients notice nothing, records and metrics tell."""

from __future__ import annotations

import json
from typing import Any

import pytest

from authz.proxy.process import http_get
from tests.support.proxy import Live, eventually

pytestmark = pytest.mark.e2e


def _record(app: Live, request_id: str) -> dict[str, Any]:
    def found() -> list[dict[str, Any]]:
        lines = app.stage.records.read_text().splitlines()
        return [record for record in map(json.loads, lines) if record.get("request_id") == request_id]

    assert eventually(lambda: bool(found()))
    return found()[0]


def test_what_is_tried_changes_no_answer_and_stands_in_record_and_metrics(app: Live) -> None:
    def ask(path: str, request_id: str) -> int:
        reply, seen = app.send("GET", path, ("x-request-id", request_id), host="shadow.test")
        assert reply.status == 403 or not seen[0].values("x-shadow")
        return reply.status

    assert ask("/open/a", "shadow-1") == 200
    assert ask("/open/old", "shadow-2") == 200
    assert ask("/new", "shadow-3") == 403
    assert [shade["outcome"] for shade in _record(app, "shadow-1")["shadow"]] == ["allow"]
    policy, limit = _record(app, "shadow-2")["shadow"]
    assert policy == {"policy": "shadow-next", "rule": "old", "outcome": "deny", "changes": True}
    assert (limit["limit"], limit["outcome"], limit["changes"]) == ("shadow-once", "deny", True)
    assert _record(app, "shadow-3")["shadow"] == [
        {"policy": "shadow-next", "rule": "new", "outcome": "allow", "changes": True}
    ]
    reply = http_get(app.stage.ops_port, "/metrics")
    assert reply is not None
    assert b'authz_shadow_changes_total{kind="policy",name="shadow-next",outcome="allow"} 1.0' in reply[1]
