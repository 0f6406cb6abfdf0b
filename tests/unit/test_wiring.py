"""The composition root: the loader keeps what is good, and a running sidecar answers, drains and lets go."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

import authz.wiring
from authz.config.settings import load as settings_of
from authz.identity.keyring import Peppers
from authz.model.errors import ConfigError
from authz.proxy.process import free_port
from authz.snapshot.build import Surroundings
from authz.wiring import Loader, Sidecar, SystemClock, require_supported
from tests.support.checks import check_request
from tests.support.grpc import client, read
from tests.support.http import get
from tests.support.policies import PEPPER, PROVIDER, MadeKey, documents

POLICY = """
kind: Limit
metadata: {name: per-key}
spec: {per: [identity.key_id], rate: 1/h}
---
kind: Policy
metadata: {name: p}
spec:
  hosts: [a.example.com]
  rules: [{name: r, effect: allow, identity: [partner-keys], limits: [per-key]}]
"""
KEY = MadeKey("k")


def write(directory: Path, *texts: str) -> Path:
    directory.mkdir(exist_ok=True)
    for old in directory.iterdir():
        old.unlink()
    for name, content in documents(*texts).items():
        (directory / name).write_bytes(content)
    return directory


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    return write(tmp_path / "policies", PROVIDER, POLICY, KEY.document)


def loader(directory: Path, **around: Any) -> Loader:
    return Loader(
        [directory], Surroundings(**{"peppers": Peppers(PEPPER), "sidecar": "s-1", **around}), SystemClock()
    )


def events(logs: list[Any], event: str) -> list[Any]:
    return [line for line in logs if line["event"] == event]


# --- the loader


def test_before_the_first_set_nothing_is_ready(policies: Path) -> None:
    made = loader(policies)
    assert not made.current().ready
    assert made.current().problem == "no policy set is loaded yet"
    assert made.current().fixed.sidecar == "s-1"


def test_a_good_set_is_in_force(policies: Path) -> None:
    made = loader(policies)
    with capture_logs() as logs:
        made.load()
    assert made.current().ready
    assert made.results == {"accepted": 1}
    (line,) = events(logs, "policy set loaded")
    assert (line["revision"], line["policies"], line["keys"]) == (made.current().revision, 1, 1)


@pytest.mark.parametrize(
    "broken",
    [["kind: Policy"], [POLICY], ["a: [b"], [PROVIDER, POLICY.replace("r, effect", "r, when: foo, effect")]],
)
def test_a_broken_set_keeps_the_good_one_and_says_why_once(policies: Path, broken: list[str]) -> None:
    made = loader(policies)
    made.load()
    good = made.current()
    write(policies, *broken)
    with capture_logs() as logs:
        for _ in range(3):
            made.load()
    assert made.current() is good
    assert made.results == {"accepted": 1, "rejected": 3}
    (line,) = events(logs, "policy set rejected")
    assert line["count"] == len(line["faults"]) > 0


def test_an_empty_or_missing_directory_is_not_ready_and_says_so(tmp_path: Path) -> None:
    for directory in (write(tmp_path / "empty"), tmp_path / "gone"):
        made = loader(directory)
        with capture_logs() as logs:
            made.load()
            made.load()
        assert not made.current().ready
        assert str(directory) in made.current().problem
        assert len(events(logs, "policy set rejected")) == 1


def test_a_fault_that_comes_back_is_told_again(policies: Path) -> None:
    made = loader(policies)
    with capture_logs() as logs:
        for texts in (["kind: Policy"], [PROVIDER, POLICY], ["kind: Policy"]):
            write(policies, *texts)
            made.load()
    assert len(events(logs, "policy set rejected")) == 2


def test_a_crash_while_loading_keeps_what_is_served(policies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = loader(policies)
    made.load()
    good = made.current()

    def broken(*_: object) -> None:
        raise RecursionError("deep")

    monkeypatch.setattr(authz.wiring, "build", broken)
    with capture_logs() as logs:
        made.load()
    assert made.current() is good
    assert "RecursionError" in events(logs, "policy set rejected")[0]["faults"][0]


@pytest.mark.parametrize("peppers", [Peppers(), Peppers(b"another-pepper-of-32-bytes-long!")])
def test_keys_without_their_pepper_are_disabled_and_told(policies: Path, peppers: Peppers) -> None:
    made = loader(policies, peppers=peppers)
    with capture_logs() as logs:
        made.load()
    assert made.current().ready
    assert made.current().keyring.disabled_count == 1
    (line,) = events(logs, "keys are disabled: their pepper is not here")
    assert (line["count"], line["keys"]) == (1, [KEY.id])


# --- a whole sidecar


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


def test_a_set_that_appears_later_is_served(
    tmp_path: Path, policies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authz.wiring, "_RETRY_S", 0.02)
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
    ("flags", "words"),
    [
        ({"policies": ["p"], "transport": "grpcio"}, "--transport grpcio"),
        ({"policies": ["p"], "hosts": ["a.example.com"]}, "--hosts"),
        ({}, "--policies"),
    ],
)
def test_what_is_not_built_yet_is_refused(flags: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        require_supported(settings_of(flags, {}))


def test_crashes_are_logged_without_what_clients_sent_and_not_for_each_call() -> None:
    crashes = authz.wiring._Crashes(SystemClock())
    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(ValueError, match="c4n4ry") as caught:
                int("c4n4ry")
            crashes.tell(caught.value)
    (line,) = logs
    assert line["kind"] == "ValueError"
    assert line["place"].startswith("test_wiring.py:")
    assert "c4n4ry" not in str(line)
