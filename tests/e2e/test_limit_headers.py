"""What clients learn of their limits through the real Envoy: refused, and where asked for also allowed."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from authz.proxy import upstream
from authz.proxy.client import Reply
from authz.proxy.upstream import Seen
from tests.support.proxy import Live, eventually, live

pytestmark = pytest.mark.e2e

_PLAIN = upstream._reply


def _boasting(seen: Seen) -> bytes:
    """An application that counts for itself, and says so under our names."""
    own = b"RateLimit: theirs\r\nratelimit: again\r\nX-RateLimit-Limit: 7\r\n"
    return _PLAIN(seen).replace(b"x-upstream: sample\r\n", b"x-upstream: sample\r\n" + own)


@pytest.fixture(scope="module")
def told(transport: str) -> Iterator[Live]:
    """A sidecar that tells clients of their limits always, before an application that does so, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upstream, "_reply", _boasting)
        with live(env={"AUTHZ_LIMIT_HEADERS_ON_ALLOW": "true"}) as running:
            yield running


def _values(reply: Reply, name: str) -> list[str]:
    return [value for key, value in reply.headers if key == name]


def test_a_client_that_passes_sees_what_is_left_and_nothing_else_of_that_name(told: Live) -> None:
    for send, left in ((told.send, 9), (told.send2, 8)):
        reply, seen = send("GET", "/tenth", told.key("globex"))
        assert (reply.status, len(seen)) == (200, 1)
        assert _values(reply, "ratelimit-policy") == ['"ten";q=10;w=86400']
        (state,) = _values(reply, "ratelimit")
        assert state.startswith(f'"ten";r={left};t=')
        assert seen[0].values("x-auth-customer") == ["globex"]
        assert seen[0].values("ratelimit") == seen[0].values("ratelimit-policy") == []


def test_a_request_without_limits_gets_the_applications_own_headers(told: Live) -> None:
    reply, _ = told.send("GET", "/items/1", told.key("globex"))
    assert (reply.status, _values(reply, "ratelimit-policy")) == (200, [])
    assert _values(reply, "x-ratelimit-limit") == ["7"]


def test_a_refused_client_is_told_which_limit_it_was(told: Live) -> None:
    replies = [told.send("GET", "/tenth", told.key("acme"))[0] for _ in range(11)]
    assert [reply.status for reply in replies] == [200] * 10 + [429]
    assert [_values(reply, "ratelimit")[0].split(";")[1] for reply in replies] == [
        f"r={left}" for left in (9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0)
    ]
    refused = json.loads(replies[-1].body)
    assert refused["limits"] == ["ten"]
    assert int(replies[-1].header("retry-after")) >= 8640


def test_unless_asked_for_what_passes_says_only_what_the_application_says(
    app: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "_reply", _boasting)
    reply, _ = app.send("GET", "/tenth", app.key("globex"))
    told = [(name, value) for name, value in reply.headers if "ratelimit" in name]
    assert (reply.status, told) == (
        200,
        [("ratelimit", "theirs"), ("ratelimit", "again"), ("x-ratelimit-limit", "7")],
    )


def test_other_forms_take_the_place_of_what_the_application_says(transport: str) -> None:
    env = {"AUTHZ_LIMIT_HEADERS_ON_ALLOW": "true", "AUTHZ_LIMIT_HEADERS": "x-ratelimit"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upstream, "_reply", _boasting)
        with live(env=env) as running:
            reply, _ = running.send("GET", "/tenth", running.key())
            assert _values(reply, "x-ratelimit-limit") == ["10"]
            assert _values(reply, "x-ratelimit-remaining") == ["9"]
            assert 8640 <= int(reply.header("x-ratelimit-reset")) <= 8641
            assert eventually(lambda: '"limits":[{"name":"ten"' in running.stage.records.read_text())
