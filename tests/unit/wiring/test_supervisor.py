"""Real workers: served by, killed, stopped, stuck, started anew, drained."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from authz.model.errors import ConfigError
from authz.wiring.shares import Share
from tests.support.http import get
from tests.support.policies import PROVIDER
from tests.support.sets import KEY, POLICY, events, small_set, write
from tests.support.workers import Supervised, status, supervised, wait_until

ROOMY = POLICY.replace("rate: 1/h", "rate: 1/h, burst: 9")


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    return small_set(tmp_path / "policies")


def test_workers_serve_as_one_and_a_dead_one_comes_back(tmp_path: Path, policies: Path) -> None:
    write(policies, PROVIDER, ROOMY, KEY.document)
    with capture_logs() as logs, supervised(tmp_path, policies) as made:
        whole = made.wait_until_whole()
        assert whole["status"] == 200
        assert set(whole["workers"]) == {"0", "1"}
        assert get(made.ops, "/health")[0] == 200
        # Nine tokens among two are four each, and a half that is no token yet.
        for index in range(2):
            assert Counter(map(status, made.ask(index, 6))) == {200: 4, 429: 2}
        assert made.metric('authz_checks_total{outcome="allow",reason="allowed"}') == 8
        wait_until(lambda: made.metric('authz_records_total{result="written"') == 12)
        made.kill(0, signal.SIGKILL)
        wait_until(lambda: made.metric("authz_worker_up") + made.metric('authz_worker_up{worker="1"}') < 2)
        assert made.ready()["status"] == 200
        assert made.metric('authz_checks_total{outcome="allow",reason="allowed"}') == 8
        assert status(made.ask(1)[0]) == 429
        made.wait_until_whole()
        assert made.metric('authz_worker_restarts_total{cause="died",worker="0"}') == 1
        assert status(made.ask(0)[0]) == 200
        assert made.metric('authz_checks_total{outcome="allow",reason="allowed"}') == 9
        decision = next(line for line in reversed(made.lines()) if line["sidecar"] == "s-0.1")
        code, record = get(made.debug, f"/logs/{decision['decision_id']}")
        assert (code, decision["decision_id"] in record) == (200, True)
        assert get(made.debug, "/logs/00000000-0000-0000-0000-000000000000")[0] == 404
    assert [line["restart_in_s"] for line in events(logs, "a worker ended and is started anew")] == [0.0]
    assert events(logs, "limits in memory are divided: each worker has its share of every rate and burst")
    assert not list(tmp_path.glob("*.sock*"))
    streams = Counter((line["sidecar"], line["seq"]) for line in made.lines())
    assert {name for name, _ in streams} == {"s-0", "s-1", "s-0.1"}
    assert set(streams.values()) == {1}


def test_a_worker_that_is_stopped_blocks_no_scrape_and_is_started_anew(
    tmp_path: Path, policies: Path
) -> None:
    with capture_logs() as logs, supervised(tmp_path, policies, AUTHZ_STUCK_AFTER_S="4") as made:
        made.wait_until_whole()
        before = made.pid(1)
        made.kill(1, signal.SIGSTOP)
        began = time.monotonic()
        assert made.metric("authz_rate_limits_enabled") == 1
        assert time.monotonic() - began < 4  # half a second, on a machine that has nothing else to do
        wait_until(lambda: made.metric('authz_worker_restarts_total{cause="stuck",worker="1"}') == 1)
        made.wait_until_whole()
        assert made.pid(1) != before
    assert events(logs, "a worker is stuck and is killed")


def test_a_socket_that_is_taken_ends_everything_and_lets_the_rest_go(tmp_path: Path, policies: Path) -> None:
    (tmp_path / "a-1.sock").mkdir()
    made = Supervised(tmp_path, policies)
    made.start()
    made.join()
    assert isinstance(made.error, ConfigError)
    assert "a-1.sock" in str(made.error)
    assert "\n" not in str(made.error)
    assert [path.name for path in tmp_path.glob("*.sock*")] == ["a-1.sock"]


def test_a_worker_that_keeps_dying_waits_and_the_other_serves(tmp_path: Path, policies: Path) -> None:
    with capture_logs() as logs, supervised(tmp_path, policies) as made:
        made.wait_until_whole()
        (tmp_path / "a-0.sock").unlink()
        (tmp_path / "a-0.sock").mkdir()
        made.kill(0, signal.SIGKILL)
        wait_until(lambda: made.metric('authz_worker_restarts_total{cause="died",worker="0"}') >= 3)
        assert made.metric('authz_worker_backoff_seconds{worker="0"}') >= 0.5
        assert made.ready()["status"] == 200
        assert status(made.ask(1)[0]) in (200, 429)
        (tmp_path / "a-0.sock").rmdir()
        made.wait_until_whole()
    waits = [line["restart_in_s"] for line in events(logs, "a worker ended and is started anew")]
    assert waits[:3] == [0.0, 0.5, 1.0]


def test_every_worker_takes_a_changed_set_by_itself_and_none_is_started_anew(
    tmp_path: Path, policies: Path
) -> None:
    with supervised(tmp_path, policies) as made:
        old = made.wait_until_whole()["revision"]
        pids = [made.pid(index) for index in range(2)]
        write(policies, PROVIDER, ROOMY, KEY.document)
        wait_until(lambda: old not in made.revisions() and len(made.revisions()) == 1, "the new set")
        new = made.ready()
        assert (new["status"], set(new["workers"].values())) == (200, {new["revision"]})
        for index in range(2):
            assert (
                made.metric(f'authz_worker_revision_info{{revision="{new["revision"]}",worker="{index}"}}')
                == 1
            )
        assert made.metric('authz_reloads_total{result="accepted"}') >= 4
        assert [made.pid(index) for index in range(2)] == pids


def test_a_worker_that_finds_a_broken_set_stays_away_until_it_is_mended(
    tmp_path: Path, policies: Path
) -> None:
    with supervised(tmp_path, policies) as made:
        made.wait_until_whole()
        write(policies, "kind: Policy")
        before = made.pid(0)
        made.kill(0, signal.SIGKILL)
        wait_until(lambda: made.crew.members[0]._child and made.pid(0) != before)
        wait_until(lambda: ".yaml" in made.ready()["workers"]["0"], "the fault that keeps it away")
        assert made.ready()["status"] == 200
        assert not made.crew.members[0].up
        assert status(made.ask(1)[0]) == 200
        write(policies, PROVIDER, POLICY, KEY.document)
        made.wait_until_whole()
        assert status(made.ask(0)[0]) == 200


def test_records_go_to_the_new_file_of_every_worker_after_a_rotation(tmp_path: Path, policies: Path) -> None:
    with supervised(tmp_path, policies) as made:
        made.wait_until_whole()
        made.ask(0)
        made.ask(1)
        wait_until(lambda: made.metric('authz_records_total{result="written"') == 2)
        made.records.rename(tmp_path / "old.jsonl")
        made.supervisor.reopen()

        def moved() -> bool:
            made.ask(0)
            made.ask(1)
            return made.records.exists() and {line["sidecar"] for line in made.lines()} == {"s-0", "s-1"}

        wait_until(moved)


def test_a_supervisor_imports_nothing_that_judges() -> None:
    heavy = (
        "authz.check",
        "authz.policy",
        "authz.identity",
        "cel_expr_python",
        "envoy",
        "grpc",
        "pygrpc_native",
        "yaml",
    )
    script = (
        "import sys, authz.cli.serve, authz.wiring.supervisor, authz.wiring.supported\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_share_of_nothing_is_nothing() -> None:
    assert Share(0, 4).of(0) == 0
    assert Share(0, 4).of(3) == 1
