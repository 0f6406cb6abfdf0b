"""A set that is stale is denied by both fronts, by every worker and through Envoy, where that is asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from authz.proxy.stage import short_directory
from tests.support.hostile import GOOD, HOST, good_set, restore
from tests.support.proxy import eventually, live
from tests.support.serving import SOON_S, asked, running


@pytest.fixture
def home() -> Path:
    home = short_directory()
    good_set(home / "policies")
    return home


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stale_set_is_denied_where_that_is_asked_and_served_again_once_mended(
    home: Path, workers: str
) -> None:
    sockets = [home / "a.sock"] if workers == "1" else [home / "a-0.sock", home / "a-1.sock"]
    stale = {"AUTHZ_MAX_STALENESS_S": "1", "AUTHZ_WHEN_STALE": "deny", "AUTHZ_POLL_S": "1"}
    with running(home, AUTHZ_WORKERS=workers, **stale) as app:
        assert eventually(lambda: app.ready()[0] == 200, SOON_S)
        (home / "policies" / "good.yaml").write_text(GOOD[:-20])
        assert eventually(lambda: [asked(socket) for socket in sockets] == [503] * len(sockets), SOON_S)
        assert eventually(lambda: app.ready()[0] == 503, SOON_S)
        assert "the policy set is stale, for more than max_staleness_s (1)" in app.ready()[1]["why"]
        assert app.number("authz_snapshot_stale") == 1
        assert app.number("authz_snapshot_age_seconds") >= 1
        restore(app.policies)
        assert eventually(lambda: [asked(socket) for socket in sockets] == [200] * len(sockets), SOON_S)
        assert eventually(lambda: app.ready()[0] == 200, SOON_S)
        assert len(app.told("the policy set is stale")) == int(workers)
        assert len(app.told("the policy set is what stands in the directories again")) == int(workers)


@pytest.mark.e2e
def test_through_envoy_a_stale_set_is_an_explicit_refusal(tmp_path: Path) -> None:
    policies = good_set(tmp_path / "policies")
    env = {"AUTHZ_MAX_STALENESS_S": "1", "AUTHZ_WHEN_STALE": "deny", "AUTHZ_POLL_S": "1"}
    with live((), policies=(policies,), env=env) as app:
        assert app.send("GET", "/open", host=HOST)[0].status == 200
        (policies / "good.yaml").write_text("kind: [")
        assert eventually(lambda: app.send("GET", "/open", host=HOST)[0].status == 503, SOON_S)
        reply, seen = app.send("GET", "/open", host=HOST)
        assert (reply.status, seen, reply.header("x-authz-reason")) == (503, [], "unavailable")
        last = json.loads(app.stage.records.read_text().splitlines()[-1])
        assert (last["status"], last["reason"]) == (503, "not_ready")
        restore(policies)
        assert eventually(lambda: app.send("GET", "/open", host=HOST)[0].status == 200, SOON_S)
