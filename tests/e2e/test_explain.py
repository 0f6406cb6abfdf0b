"""What `authz policy explain` says, beside what Envoy and the sidecar did."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.command import run
from tests.support.proxy import Live, eventually

pytestmark = pytest.mark.e2e
TRANSPORTS = ("native",)  # the sidecar's front has no part in it


def explained(app: Live, *words: str) -> dict[str, Any]:
    scene = app.stage.scene
    result = run(
        "policy", "explain", *map(str, scene.policies), *words, "--output", "json", API_KEY_SALT=scene.pepper
    )
    assert result.returncode == 0, result.stderr
    told: dict[str, Any] = json.loads(result.stdout)
    return told


@pytest.mark.parametrize(
    ("method", "path", "host", "key", "header"),
    [
        ("GET", "/items/1?a=b", "app.test", "acme", None),
        ("GET", "/items/1", "app.test", "", None),
        ("GET", "/items/1", "app.test", "acme", "x-blocked: a,yes"),
        ("PUT", "/items/1", "app.test", "acme", None),
        ("GET", "/admin/x", "closed.test", "acme", None),
        ("GET", "/public/a", "closed.test", "", None),
        ("GET", "/admin/x", "open.test", "", None),
        ("GET", "/", "nowhere.test", "", None),
        ("GET", "/items/a;b", "app.test", "acme", None),
    ],
)
def test_what_is_explained_is_what_envoy_does(
    app: Live, method: str, path: str, host: str, key: str, header: str | None
) -> None:
    headers = [app.key(key)] if key else []
    headers += [(header.partition(":")[0], header.partition(": ")[2])] if header else []
    reply, seen = app.send(method, path, *headers, host=host)
    words = ["--method", method, "--path", path, "--host", host, "--scheme", "http", "--address", "127.0.0.1"]
    told = explained(app, *words, *(["--as", key] if key else []), *(["--header", header] if header else []))
    assert (told["answer"]["outcome"], told["answer"]["status"]) == (
        "allow" if seen else "deny",
        reply.status,
    )
    assert told["answer"].get("told", "") == reply.header("x-authz-reason")
    if seen:
        for name, value in told["upstream"].get("sets", {}).items():
            assert seen[0].values(name) == [value]
        for name in told["upstream"].get("removes", ()):
            assert not seen[0].values(name)


def test_a_decision_is_explained_from_the_debug_socket_and_from_the_records(app: Live) -> None:
    reply, _ = app.send("GET", "/admin/x", app.key(), host="closed.test")
    decision_id = reply.header("x-authz-decision-id")
    debug = f"unix:{app.stage.scene.directory / 'debug.sock'}"
    assert eventually(lambda: decision_id in app.stage.records.read_text())
    live = explained(app, "--decision", decision_id, "--debug", debug)
    kept = explained(app, "--decision", decision_id, "--records", str(app.stage.records))
    assert live == kept
    assert (live["answer"]["reason"], live["revision"]) == ("not_permitted", live["set_revision"])
    assert live["why"][0].startswith(
        'Rule closed/admin does not allow it: its condition is false: "admin" in identity.scopes'
    )
    (rule,) = live["readings"][0]["candidates"]
    assert (rule["says"], rule["when"]["value"]) == ("condition_false", "false")


def test_a_decision_that_nobody_remembers_is_told(app: Live) -> None:
    gone = "01a2043b-aabe-77e7-96c4-0bc73c9bc3e5"
    debug = f"unix:{app.stage.scene.directory / 'debug.sock'}"
    result = run("policy", "explain", "--decision", gone, "--debug", debug)
    assert (result.returncode, result.stdout) == (1, "")
    assert f"there is no record of decision {gone}" in result.stderr
