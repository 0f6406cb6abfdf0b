"""A secret that came as a file is in force in every process, and to be seen in none of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from authz.proxy.process import Child, Plan, free_port, http_get, program
from tests.support.checks import check_request
from tests.support.grpc import client, read
from tests.support.policies import PEPPER
from tests.support.processes import children
from tests.support.sets import KEY, small_set
from tests.support.workers import status

TOKEN = "hush-hush-hush-token"  # of a sink: the process that ships records is told it


def _family(pid: int) -> Iterator[int]:
    """Yield a process and all that it started."""
    yield pid
    for child in children(pid):
        yield from _family(child)


@pytest.fixture
def sidecar(tmp_path: Path) -> Iterator[tuple[Child, Path]]:
    """Return two workers and a shipper whose secrets are files, and the directory of their sockets."""
    secrets, ops = tmp_path / "secrets", free_port()
    secrets.mkdir()
    (secrets / "API_KEY_SALT").write_bytes(PEPPER + b"\n")
    (secrets / "AUTHZ_RECORD_HTTP_TOKEN").write_text(TOKEN)
    command = [program("authz"), "serve", "--policies", str(small_set(tmp_path / "policies"))]
    command += ["--listen", f"unix:{tmp_path}/a.sock", "--ops", f"127.0.0.1:{ops}", "--debug", "off"]
    command += ["--workers", "2", "--state", "off", "--secrets", str(secrets)]
    env = {"AUTHZ_RECORD_SINK": f"http://127.0.0.1:{free_port()}/records", "AUTHZ_RECORD_DRAIN_S": "0"}
    plan = Plan("the sidecar", command, log=tmp_path / "log", output=tmp_path / "out", env=env)
    with ExitStack() as stack:
        child = stack.enter_context(Child(plan))
        child.wait_until(lambda: (http_get(ops, "/ready") or (0, b""))[0] == 200, timeout_s=40)
        yield child, tmp_path


def test_a_pepper_in_a_file_proves_keys_in_every_worker_and_stands_in_no_environment(
    sidecar: tuple[Child, Path],
) -> None:
    child, home = sidecar
    for worker in range(2):
        with client(f"unix:{home}/a-{worker}.sock") as ask:
            request = check_request(host="a.example.com", headers=[("x-api-key", KEY.token)])
            assert status(read(ask(request, timeout=20))) == 200
    family = list(_family(child.pid))
    assert len(family) >= 4  # the supervisor, two workers, the shipper
    for pid in family:
        for page in ("environ", "cmdline"):
            text = Path(f"/proc/{pid}/{page}").read_bytes()
            assert PEPPER not in text
            assert TOKEN.encode() not in text
    assert PEPPER.decode() not in (home / "log").read_text()
    assert TOKEN not in (home / "log").read_text()


def test_a_secret_that_cannot_be_read_ends_the_start_with_code_3_and_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "API_KEY_SALT").mkdir()
    command = [program("authz"), "serve", "--secrets", str(tmp_path)]
    plan = Plan("the sidecar", command, log=tmp_path / ".log", output=Path(os.devnull))
    with Child(plan) as child:
        assert child.wait(40) == 3
    assert plan.log.read_text() == (
        f"authz: {tmp_path}/API_KEY_SALT: is no file; write the secret to a plain one\n"
    )
