"""A running sidecar answers, drains and lets go."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

import authz.wiring.sidecar
from authz.config.settings import load as settings_of
from authz.model.errors import ConfigError
from authz.proxy.process import free_port
from authz.record.tally import Tally
from authz.snapshot.build import Builder, Built
from authz.wiring.shares import ALONE, Share
from authz.wiring.sidecar import Sidecar
from authz.wiring.supported import require_supported
from tests.support.checks import check_request
from tests.support.grpc import client, read
from tests.support.http import get
from tests.support.policies import PEPPER, PROVIDER
from tests.support.proxy import eventually
from tests.support.sets import KEY, POLICY, events, small_set, write


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    return small_set(tmp_path / "policies")


class Running:
    """A sidecar that serves on a Unix socket, with its operations."""

    def __init__(self, directory: Path, policies: Path, environ: dict[str, str]) -> None:
        self.listen, self.ops = f"unix:{directory}/a.sock", f"127.0.0.1:{free_port()}"
        self.records = directory / "records.jsonl"
        flags = {
            "policies": [policies],
            "listen": [self.listen],
            "ops": self.ops,
            "debug": f"unix:{directory}/d.sock",
            "state": f"{directory}/state",
        }
        environ = {"API_KEY_SALT": PEPPER.decode(), "AUTHZ_RECORD_SINK": f"file:{self.records}", **environ}
        self.sidecar = Sidecar(settings_of(flags, environ))
        self.ready = threading.Event()
        self._thread = threading.Thread(target=self.sidecar.run, args=(self.ready.set,))

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.sidecar.stop()
        self._thread.join()

    def get(self, path: str) -> tuple[int, str]:
        return get(self.ops, path)

    def ask(self, times: int = 1, key: str = KEY.token) -> list[int]:
        payload = check_request(host="a.example.com", headers=[("x-api-key", key)])
        with client(self.listen) as ask:
            answers = [read(ask(payload, timeout=5)) for _ in range(times)]
        return [each.denied_response.status.code if each.status.code else 200 for each in answers]


@contextmanager
def running(tmp_path: Path, policies: Path, **environ: str) -> Iterator[Running]:
    made = Running(tmp_path, policies, environ)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def test_a_sidecar_answers_records_and_counts(tmp_path: Path, policies: Path) -> None:
    with running(tmp_path, policies) as made:
        assert made.ready.wait(10)
        assert made.ask(2) == [200, 429]
        assert made.get("/ready")[0] == 200
        assert made.get("/health")[0] == 200
        metrics = made.get("/metrics")[1]
        revision = made.sidecar.loader.current().revision
    assert 'authz_checks_total{outcome="deny",reason="rate_limited"} 1.0' in metrics
    assert f'revision="{revision}"' in metrics
    lines = [json.loads(line) for line in made.records.read_text().splitlines()]
    assert [(line["seq"], line["reason"], line["revision"]) for line in lines] == [
        (1, "allowed", revision),
        (2, "rate_limited", revision),
    ]
    assert not (tmp_path / "a.sock").exists()


def test_a_signal_that_another_thread_catches_is_obeyed(tmp_path: Path, policies: Path) -> None:
    """The system may give it to any; its handler runs on the thread that serves, which has to wake up."""
    made = Running(tmp_path, policies, {})
    caught: list[int] = []

    def catch(number: int, _: object) -> None:
        caught.append(number)
        made.sidecar.stop()

    def other() -> None:
        assert made.ready.wait(10)
        time.sleep(0.2)  # until it sleeps
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, catch)
    rescue = threading.Timer(20, made.sidecar.stop)  # or a failure would be a test that never ends
    thread = threading.Thread(target=other)
    try:
        for started in (rescue, thread):
            started.start()
        made.sidecar.run(made.ready.set)
        in_time = rescue.is_alive()
    finally:
        rescue.cancel()
        thread.join()
        signal.signal(signal.SIGTERM, before)
    assert caught == [signal.SIGTERM]
    assert in_time


def test_limits_can_be_switched_off_and_everything_says_so(tmp_path: Path, policies: Path) -> None:
    with capture_logs() as logs, running(tmp_path, policies, RATE_LIMIT_ENABLED="false") as made:
        assert made.ready.wait(10)
        assert made.ask(3) == [200, 200, 200]
        status, body = made.get("/ready")
    assert status == 200
    assert json.loads(body)["rate_limits"] == "off"
    assert events(logs, "RATE_LIMIT_ENABLED is false: no limit refuses anybody")
    assert all(
        json.loads(line)["limits"][0]["store"] == "off" for line in made.records.read_text().splitlines()
    )


GUARDED = """
kind: Site
metadata: {name: a}
spec: {hosts: ["*"], guard: {rate: 1/h, burst: 2}}
"""


def test_a_guard_refuses_whatever_limits_say_and_is_counted(tmp_path: Path) -> None:
    policies = write(tmp_path / "policies", PROVIDER, POLICY, KEY.document, GUARDED)
    environ = {"RATE_LIMIT_ENABLED": "false", "AUTHZ_TRUSTED_HOPS": "0"}
    with running(tmp_path, policies, **environ) as made:
        assert made.ready.wait(20)
        assert "authz_guard_networks 0.0" in made.get("/metrics")[1]
        assert made.ask(3, "rubbish") == [401, 401, 429]
        assert made.ask() == [429]
        assert "authz_guard_networks 1.0" in made.get("/metrics")[1]
        assert made.get("/ready")[0] == 200


def test_where_no_site_has_a_guard_nothing_is_said_of_it(tmp_path: Path, policies: Path) -> None:
    with running(tmp_path, policies) as made:
        assert made.ready.wait(20)
        assert made.ask(3, "rubbish") == [401] * 3
        assert "\nauthz_guard_networks " not in made.get("/metrics")[1]


def test_a_listener_that_is_bound_to_hosts_serves_no_other(tmp_path: Path, policies: Path) -> None:
    with running(tmp_path, policies, AUTHZ_HOSTS="B.example.com, *.c.example.com") as made:
        assert made.ready.wait(20)
        assert made.ask() == [421]


def test_hosts_that_are_none_are_told_at_the_start(tmp_path: Path, policies: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--hosts: `\*\.127\.0\.0\.1` is not a host; write "):
        Running(tmp_path, policies, {"AUTHZ_HOSTS": "*.127.0.0.1"})


def test_a_set_that_appears_later_is_served(tmp_path: Path, policies: Path) -> None:
    texts = {path.name: path.read_bytes() for path in policies.iterdir()}
    write(policies, "kind: Policy")
    with capture_logs() as logs, running(tmp_path, policies) as made:
        assert made.ask() == [503]
        status, body = made.get("/ready")
        assert status == 503
        assert ".yaml" in body
        assert made.get("/health")[0] == 200
        assert not made.ready.is_set()
        write(policies)
        for name, content in texts.items():
            (tmp_path / name).write_bytes(content)
            (tmp_path / name).rename(policies / name)
        assert made.ready.wait(10)
        assert made.ask() == [200]
    assert events(logs, "policy set loaded")


def test_a_busy_address_is_told_and_everything_else_let_go(tmp_path: Path, policies: Path) -> None:
    with running(tmp_path, policies) as made:
        assert made.ready.wait(10)
        second = Running(tmp_path, policies, {})
        with pytest.raises(ConfigError, match="another process serves there"):
            second.sidecar.run()
        assert made.ask() == [200]


def test_a_judge_that_has_ended_is_unhealthy(tmp_path: Path, policies: Path) -> None:
    with running(tmp_path, policies) as made:
        assert made.ready.wait(10)
        made.sidecar._servers[0].stop()
        made.sidecar._servers[0]._thread.join()
        assert made.get("/health")[0] == 503


@pytest.mark.parametrize(
    ("flags", "environ", "words"),
    [
        ({"policies": ["p"]}, {"AUTHZ_DYNAMIC_METADATA": "true"}, "dynamic_metadata"),
        ({}, {}, "--policies"),
        ({"policies": ["p"], "listen": ["127.0.0.1:0"], "workers": 2}, {}, "consecutive ports"),
        ({"policies": ["p"], "listen": ["127.0.0.1:9192"]}, {}, "9192: --ops has it; choose another"),
        (
            {"policies": ["p"], "listen": ["127.0.0.1:9191"], "workers": 2},
            {},
            "--listen 127.0.0.1:9192: with 2 workers it is needed, and --ops has it",
        ),
        (
            {"policies": ["p"], "listen": ["unix:/r/a.sock"], "debug": "unix:/r/a-1.sock", "workers": 2},
            {},
            "with 2 workers it is needed, and --debug has it",
        ),
    ],
)
def test_what_cannot_be_served_is_refused(
    flags: dict[str, object], environ: dict[str, str], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        require_supported(settings_of(flags, environ))


def test_ports_that_the_kernel_chooses_are_apart() -> None:
    require_supported(settings_of({"policies": ["p"], "listen": ["127.0.0.1:0"], "ops": "127.0.0.1:0"}, {}))


def test_a_worker_that_comes_back_takes_no_call_before_it_has_a_set(tmp_path: Path, policies: Path) -> None:
    write(policies, "kind: Policy")
    flags = {
        "policies": [policies],
        "listen": [f"unix:{tmp_path}/a.sock"],
        "ops": "off",
        "debug": "off",
        "state": "off",
    }
    sidecar = Sidecar(settings_of(flags, {"AUTHZ_RECORD_SINK": "off"}), Share(1, 2, life=1))
    thread = threading.Thread(target=sidecar.run)
    thread.start()
    assert eventually(lambda: sidecar.loader.results["rejected"] > 0)
    assert not (tmp_path / "a.sock").exists()
    assert sidecar.progress()
    sidecar.stop()
    thread.join()
    assert not sidecar.listening
    assert sidecar.readiness().why == "draining"
    assert sidecar.find("x") is None
    assert sidecar.numbers()["authz_reloads_total"]


def hanging(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Have every load hang; return what is set when one does, and what lets them go on."""
    entered, released = threading.Event(), threading.Event()
    real = Builder.build

    def build(builder: Builder, *given: Any) -> Built:
        entered.set()
        while not released.wait(0.01):
            builder.pace()
        return real(builder, *given)

    monkeypatch.setattr(Builder, "build", build)
    return entered, released


def test_a_stop_while_the_first_set_loads_ends_at_once_and_nobody_was_listening(
    tmp_path: Path, policies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, _ = hanging(monkeypatch)
    made = Running(tmp_path, policies, {})
    made.start()
    assert entered.wait(20)
    made.stop()
    assert not made.sidecar.listening
    assert not (tmp_path / "a.sock").exists()
    assert not made.ready.is_set()


def test_a_first_set_that_does_not_end_loading_is_waited_for_in_the_open(
    tmp_path: Path, policies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authz.wiring.sidecar, "_FIRST_LOAD_S", 0.1)
    _, released = hanging(monkeypatch)
    with running(tmp_path, policies) as made:
        assert eventually(lambda: made.sidecar.listening, 20)
        assert made.ask() == [503]
        assert made.get("/ready")[0] == 503
        assert "authz_reload_running_seconds 0.0" not in made.get("/metrics")[1]
        released.set()
        assert made.ready.wait(20)
        assert made.ask() == [200]


def test_a_set_that_hangs_while_serving_stops_nobody_and_a_stop_gives_it_up(
    tmp_path: Path, policies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path, policies) as made:
        assert made.ready.wait(20)
        entered, _ = hanging(monkeypatch)
        write(policies, PROVIDER, POLICY.replace("1/h", "9/h"), KEY.document)
        assert entered.wait(20)
        assert made.ask() == [200]
        assert made.get("/ready")[0] == 200


@pytest.mark.parametrize(("share", "each"), [(ALONE, 45), (Share(0, 3), 15)])
def test_the_bound_of_spans_is_of_all_listeners_and_workers_together(
    tmp_path: Path, policies: Path, share: Share, each: int
) -> None:
    listen = [f"unix:{tmp_path}/{name}.sock" for name in "ab"]
    flags = {"policies": [policies], "listen": listen, "ops": "off", "debug": "off", "state": "off"}
    spans = {"AUTHZ_TRACE_SINK": "otlp://127.0.0.1:1", "AUTHZ_TRACE_MAX_PER_S": "90"}
    tracing = Sidecar(settings_of(flags, spans), share)._tracing(Tally())
    assert tracing is not None
    assert tracing._most_per_s == each
    assert Sidecar(settings_of(flags, {}), share)._tracing(Tally()) is None
