"""One decision in full."""

from __future__ import annotations

import json
from typing import Any

import pytest

from authz.cli.logs_show import lines, read_record
from authz.model.errors import ConfigError
from authz.model.meaning import REASONS
from authz.model.reason import Reason
from tests.support.lines import decision, denied


def shown(line: bytes, **more: Any) -> str:
    told = json.loads(line) | more
    return "\n".join(lines(read_record(json.dumps(told).encode())))


@pytest.fixture(autouse=True)
def _no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.mark.parametrize("reason", list(Reason))
def test_what_every_reason_means_is_said(reason: Reason) -> None:
    text = " ".join(shown(denied(1, reason)).split())
    assert REASONS[reason] in text


def test_everything_that_stands_in_it_is_shown() -> None:
    text = shown(
        denied(1),
        detail="cost_exceeds_burst",
        request_id="req-1",
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        source_revision="c0ffee",
        count=40,
        override=True,
        allowed_by=["orders/read", "orders/more"],
        limits=[
            {"name": "per-key", "remaining": 0, "store": "redis", "retry_ms": 1500, "refused": "no_room"},
            {"name": "per-ip", "store": "outage"},
            {"name": "per-odd", "refused": "odd"},
        ],
        shadow=[
            {"policy": "next", "rule": "r", "outcome": "deny", "changes": True, "detail": "rule_error"},
            {"policy": "next", "limit": "l", "outcome": "allow"},
        ],
        shadow_omitted=3,
        identity={
            "kind": "jwt", "provider": "idp", "subject": "s1", "scopes": ["a", "b"],
            "labels": {"tier": "gold"},
        },
        request={
            "method": "GET", "host": "h", "path": "/p", "protocol": "HTTP/2", "client_address": "192.0.2.1",
            "size": 7, "headers": {"user-agent": "curl"},
        },
    )  # fmt: skip
    for part in (
        "DENIED 429 rate_limited (cost_exceeds_burst)",
        "waiting does not help",
        "stands for 40 checks",
        "GET h/p", "192.0.2.1", "HTTP/2", "7 bytes", "user-agent curl",
        "jwt by idp", "s1", "a, b", "tier=gold",
        "orders/read (override)", "orders/read, orders/more", "commit c0ffee",
        "per-key  REFUSED: no room, room in 1.5 s; 0 left, in redis",
        "per-ip  had room; nobody knows what is left, in outage",
        "per-odd  REFUSED: odd",
        "next/r  would refuse (rule_error); enforced, it would have turned this",
        "limit l  would allow", "and 3 more",
        "req-1", "4bf92f3577b34da6a3ce929d0e0e4736", "orders-7f", "1a206ddce3eb2ca0, number 1",
    ):  # fmt: skip
        assert part in text, part


def test_what_is_not_there_is_not_shown() -> None:
    text = shown(b'{"v":1,"outcome":"deny","status":400,"reason":"bad_request"}')
    assert "not recorded" in text
    assert "nobody was proven" in text
    assert "Limits" not in text
    assert "Shadow" not in text


def test_steps_of_a_traced_check_are_shown() -> None:
    text = shown(decision(1), span_id="00f067aa0ba902b7", steps=[["received", 0], ["decided", 85]])
    assert "00f067aa0ba902b7" in text
    assert "decided" in text
    assert "0.085 ms" in text


def test_words_of_a_later_version_are_shown_as_they_are() -> None:
    assert shown(denied(1, "brand_new"), detail="newer").startswith("DENIED 429 brand_new (newer)")
    assert "key_expired: the key" in shown(denied(1, "credential_invalid"), detail="key_expired")


def test_nothing_moves_a_terminal() -> None:
    hostile = "\x1b[31m\x9b1m\u202e\n"
    text = shown(
        denied(1), reason=hostile, detail=hostile, policy=hostile, sidecar=hostile, request_id=hostile,
        limits=[{"name": hostile, "store": hostile, "refused": hostile}],
        shadow=[{"policy": hostile, "outcome": hostile}],
        identity={"kind": hostile, "labels": {hostile: hostile}},
        request={"path": hostile, "headers": {hostile: hostile}},
        steps=[[hostile, 1]],
    )  # fmt: skip
    assert all(each.isprintable() or each == "\n" for each in text)


@pytest.mark.parametrize("odd", [{"identity": 7}, {"shadow": {"a": 1}}, {"allowed_by": "x"}, {"limits": 7}])
def test_what_is_odd_is_refused(odd: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="the record cannot be read"):
        shown(decision(1), **odd)
