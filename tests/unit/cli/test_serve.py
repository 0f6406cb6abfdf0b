"""`authz serve` as a process: what it survives, what ends it, and how."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

import pytest
import structlog

import authz.wiring.sidecar
from authz.cli.serve import command
from authz.config.settings import Settings
from authz.proxy.process import free_port
from tests.support.certificates import DAY, Authority
from tests.support.checks import check_request
from tests.support.command import AUTHZ, run
from tests.support.grpc import client, read
from tests.support.http import get
from tests.support.policies import PEPPER, PROVIDER, documents
from tests.support.sets import small_set

OPEN = """
kind: Policy
metadata: {name: p}
spec:
  hosts: [a.example.com]
  rules: [{name: r, effect: allow, identity: [anyone]}]
"""
ASK = check_request(host="a.example.com")


class Process:
    """A process that serves, and where it does."""

    def __init__(self, folder: Path, *texts: str) -> None:
        self.folder, self.ops = folder, f"127.0.0.1:{free_port()}"
        self.listen = f"unix:{folder}/a.sock"
        policies = folder / "policies"
        policies.mkdir()
        for name, content in documents(*texts).items() if texts else ():
            (policies / name).write_bytes(content)
        self.words = [
            "serve",
            "--policies",
            str(policies),
            "--listen",
            self.listen,
            "--ops",
            self.ops,
            "--debug",
            "off",
            "--state",
            f"{folder}/state",
        ]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AUTHZ_")}
        self._log = (folder / "log").open("w")
        self._records = (folder / "records").open("w")
        self.process = subprocess.Popen(
            [str(AUTHZ), *self.words],
            env=clean | {"API_KEY_SALT": PEPPER.decode()},
            stdout=self._records,
            stderr=self._log,
        )

    def get(self, path: str) -> tuple[int, str]:
        """Ask the operations, once they answer."""
        deadline = time.monotonic() + 20
        while True:
            try:
                return get(self.ops, path)
            except URLError:
                assert time.monotonic() < deadline
                assert self.process.poll() is None
                time.sleep(0.05)

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 20
        while self.get("/ready")[0] != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def log(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.folder / "log").read_text().splitlines()]

    def records(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.folder / "records").read_text().splitlines()]

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(20)
        self._log.close()
        self._records.close()
        return code


@contextmanager
def process(folder: Path, *texts: str) -> Iterator[Process]:
    made = Process(folder, *texts)
    try:
        yield made
    finally:
        made.end(signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(tmp_path: Path, number: int) -> None:
    with process(tmp_path, OPEN) as made:
        made.wait_until_ready()
        with client(made.listen) as ask:
            assert read(ask(ASK, timeout=5)).status.code == 0
        assert made.end(number) == 0
        assert [line["outcome"] for line in made.records()] == ["allow"]
        assert [line["event"] for line in made.log()][-2:] == ["draining", "stopped"]
        assert not (tmp_path / "a.sock").exists()


@pytest.mark.parametrize("texts", [(), (PROVIDER.replace("kind", "kin"),), (OPEN.replace("hosts", "host"),)])
def test_without_a_usable_set_it_stays_up_and_refuses(tmp_path: Path, texts: tuple[str, ...]) -> None:
    with process(tmp_path, *texts) as made:
        status, body = made.get("/ready")
        assert status == 503
        assert made.get("/health")[0] == 200
        with client(made.listen) as ask:
            for payload in (ASK, b"", b"\xff"):
                answer = read(ask(payload, timeout=5))
                assert answer.status.code == 14
                assert answer.denied_response.status.code == 503
        time.sleep(1.2)  # it looks for a set once a second
        assert str(tmp_path) in made.get("/ready")[1]
        assert made.end() == 0
        assert len([line for line in made.log() if line["event"] == "policy set rejected"]) == 1
        assert {line["reason"] for line in made.records()} == {"not_ready"}
    assert body


def test_a_set_that_is_mended_is_served(tmp_path: Path) -> None:
    with process(tmp_path) as made:
        assert made.get("/ready")[0] == 503
        ((name, content),) = documents(OPEN).items()
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).rename(tmp_path / "policies" / name)
        made.wait_until_ready()
        with client(made.listen) as ask:
            assert read(ask(ASK, timeout=5)).status.code == 0


def test_a_busy_port_and_a_busy_socket_are_3_and_one_line(tmp_path: Path) -> None:
    with process(tmp_path, OPEN) as made:
        made.wait_until_ready()
        free = f"127.0.0.1:{free_port()}"
        for option, address, other in (
            ("--listen", made.listen, ("--ops", free)),
            ("--ops", made.ops, ("--listen", free)),
        ):
            words = [
                "serve",
                "--policies",
                str(tmp_path / "policies"),
                option,
                address,
                *other,
                "--debug",
                "off",
                "--state",
                "off",
            ]
            done = run(*words, cwd=tmp_path)
            assert done.returncode == 3
            last = done.stderr.splitlines()[-1]
            assert last.startswith("authz: ")
            assert address.removeprefix("unix:") in last
            assert "Traceback" not in done.stderr
        with client(made.listen) as ask:
            assert read(ask(ASK, timeout=5)).status.code == 0


def test_signals_reach_the_sidecar(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In this process, with a sidecar that only listens to what it is told."""
    told: list[str] = []

    class Sidecar:
        def __init__(self, settings: Settings, **_: object) -> None:
            told.append(str(settings.serve.listen[0]))

        def stop(self) -> None:
            told.append("stop")

        def reopen(self) -> None:
            told.append("reopen")

        def run(self) -> None:
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
                signal.raise_signal(number)

    monkeypatch.setattr(authz.wiring.sidecar, "Sidecar", Sidecar)
    monkeypatch.chdir(tmp_path)
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
    try:
        command(policies=[tmp_path], listen=["unix:a.sock"])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        structlog.reset_defaults()
    assert told == ["unix:a.sock", "reopen", "stop", "stop"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_certificate_that_cannot_be_used_is_3_and_one_line(tmp_path: Path, workers: str) -> None:
    small_set(tmp_path / "policies")
    cert, key = Authority().server(begins=-3 * DAY, ends=-DAY).written(tmp_path, "server")
    words = ["serve", "--policies", "policies", "--listen", f"127.0.0.1:{free_port()}", "--workers", workers]
    done = run(*words, "--tls-cert", str(cert), "--tls-key", str(key), cwd=tmp_path)
    assert done.returncode == 3
    assert done.stderr.splitlines() == [done.stderr.strip()]
    assert done.stderr.startswith(f"authz: {cert}: expired at ")
