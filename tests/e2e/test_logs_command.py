"""`authz logs` beside sidecars that run: their files, their debug sockets, what follows them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from authz.cli import door
from authz.model.address import UnixAddress
from authz.proxy.process import Child, Plan, free_port, http_get, program
from tests.support import command
from tests.support.checks import check_request
from tests.support.grpc import client, read
from tests.support.policies import PEPPER, PROVIDER, MadeKey
from tests.support.sets import write
from tests.support.workers import status, wait_until

pytestmark = pytest.mark.e2e

TRANSPORTS = ("native",)  # what is shown here happens behind both fronts

KEY = MadeKey("first")
SET = """
kind: Policy
metadata: {name: orders}
spec:
  hosts: [a.example.com]
  rules: [{name: read, effect: allow, paths: [/orders/**], identity: [partner-keys]}]
"""


class Sidecar:
    """`authz serve` of two workers, and `authz logs` beside it."""

    def __init__(self, home: Path, stack: ExitStack) -> None:
        self.home, self.records = home, home / "records.jsonl"
        policies, self._ops = write(home / "set", PROVIDER, SET, KEY.document), free_port()
        words = [program("authz"), "serve", "--policies", str(policies), "--workers", "2"]
        words += ["--listen", f"unix:{home}/a.sock", "--debug", f"unix:{home}/debug.sock"]
        words += ["--ops", f"127.0.0.1:{self._ops}"]
        env = {
            "API_KEY_SALT": PEPPER.decode(),
            "AUTHZ_DRAIN_S": "0",
            "AUTHZ_MAX_WAIT_MS": "10000",
            "AUTHZ_RECORD_SINK": f"file:{self.records}",
            "AUTHZ_STATE": "off",
        }
        stack.enter_context(Child(Plan("the sidecar", words, home / "log", home / "out", env=env)))
        wait_until(lambda: (http_get(self._ops, "/ready") or (0,))[0] == 200, "the sidecar")

    def ask(self, path: str, worker: int = 0, token: str = KEY.token) -> int:
        headers = [("x-api-key", token)] if token else []
        with client(str(UnixAddress(self.home / f"a-{worker}.sock"))) as ask:
            return status(
                read(ask(check_request(path=path, host="a.example.com", headers=headers), timeout=20))
            )

    @property
    def debug(self) -> str:
        return f"unix:{self.home}/debug.sock"

    def logs(self, *words: str, code: int = 0) -> str:
        done = command.run("logs", *words)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def paths(self, *words: str) -> list[str]:
        return [
            one["request"]["path"]
            for one in map(json.loads, self.logs(*words, "--output", "json").splitlines())
        ]


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    with ExitStack() as stack:
        made = Sidecar(tmp_path_factory.mktemp("logs"), stack)
        for number in range(6):
            assert made.ask(f"/orders/{number}", number % 2) == 200
        assert made.ask("/orders/\x1b[31m", 1) == 400
        assert made.ask("/orders/7", 0, "") == 401
        wait_until(lambda: made.records.read_bytes().count(b'"decision_id"') == 8, "the records")
        yield made


def test_the_file_and_the_socket_tell_the_same(sidecar: Sidecar) -> None:
    asked = [f"/orders/{number}" for number in range(6)]
    assert sidecar.paths("search", str(sidecar.records), "--customer", "acme") == asked
    assert sidecar.paths("search", "--debug", sidecar.debug, "--customer", "acme") == asked
    assert sidecar.paths("tail", "-n", "1", "--debug", sidecar.debug) == ["/orders/7"]


def test_a_refusal_is_found_and_explained(sidecar: Sidecar) -> None:
    found = json.loads(
        sidecar.logs("search", "--debug", sidecar.debug, "--status", "401", "--output", "json")
    )
    for where in ((str(sidecar.records),), ("--debug", sidecar.debug)):
        for wanted in (found["decision_id"], found["decision_id"][-8:]):
            text = sidecar.logs("show", wanted, *where)
            assert text.startswith("DENIED 401 credential_missing")
            assert "No credential was presented" in text
    hostile = sidecar.logs("search", str(sidecar.records), "--reason", "bad_request")
    assert "\\x1b[31m" in hostile
    assert "\x1b" not in hostile


def test_the_socket_answers_bit_by_bit(sidecar: Sidecar) -> None:
    socket = UnixAddress(sidecar.home / "debug.sock")
    reply = door.ask(socket, "/logs?count=3", 100_000)
    assert reply.status == 200
    page = json.loads(reply.body)
    assert [one["request"]["path"] for one in page["records"]][-1] == "/orders/7"
    assert len(page["records"]) == 3
    again = json.loads(door.ask(socket, f"/logs?after={page['cursor']}", 100_000).body)
    assert (again["records"], again["cursor"]) == ([], page["cursor"])
    refused = door.ask(socket, "/logs?count=x", 100_000)
    assert (refused.status, refused.detail) == (400, "count: a number from 1 to 1000")


@contextmanager
def following(sidecar: Sidecar, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Follow in a process of its own; its output goes to a file."""
    with (sidecar.home / "followed").open("wb") as out:
        process = subprocess.Popen(
            [str(command.AUTHZ), "logs", "tail", "-f", "--output", "json", *words],
            stdout=out,
            stderr=out,
            # Whoever runs tests in the background has interrupts ignored, and so would this one.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait(10)


def followed(sidecar: Sidecar, text: str) -> None:
    out = sidecar.home / "followed"
    wait_until(lambda: text in out.read_text(), f"{text} in what is followed")


@pytest.mark.parametrize("source", ["file", "socket"])
def test_what_comes_is_followed_until_somebody_interrupts(sidecar: Sidecar, source: str) -> None:
    where = (str(sidecar.records),) if source == "file" else ("--debug", sidecar.debug)
    with following(sidecar, "-n", "1", *where) as process:
        followed(sidecar, '"path":')
        for worker in (0, 1):
            assert sidecar.ask(f"/orders/{source}-{worker}", worker) == 200
            followed(sidecar, f"/orders/{source}-{worker}")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    text = (sidecar.home / "followed").read_text()
    assert len([line for line in text.splitlines() if line]) == 3
    assert "Traceback" not in text


def test_a_reader_that_leaves_ends_it(sidecar: Sidecar) -> None:
    ours, theirs = os.pipe()
    words = [str(command.AUTHZ), "logs", "tail", "--follow", str(sidecar.records)]
    with (sidecar.home / "errors").open("wb") as errors:
        process = subprocess.Popen(words, stdout=theirs, stderr=errors)
    os.close(theirs)
    assert os.read(ours, 100).startswith(b"TIME")
    os.close(ours)  # as `head` does; nothing more is written
    assert process.wait(20) == 0
    assert (sidecar.home / "errors").read_bytes() == b""
