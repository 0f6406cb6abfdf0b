from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request

import pytest
from typer.testing import CliRunner

from authz.cli.envoy_config import app
from authz.proxy.process import free_port
from authz.proxy.upstream import Upstream

_RUN = "from authz.cli.main import main; main()"


def test_it_answers_until_it_is_told_to_stop() -> None:
    at = f"127.0.0.1:{free_port()}"
    words = [sys.executable, "-c", _RUN, "envoy", "application", "--listen", at]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"listening at {at}\n"
        with urllib.request.urlopen(f"http://{at}/allowed", timeout=10) as answer:
            assert json.load(answer)["path"] == "/allowed"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_told_to_stop_in_this_process_it_ends_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "sigwait", lambda _ends: signal.SIGTERM)
    monkeypatch.setattr(signal, "pthread_sigmask", lambda _how, _which: set())
    done = CliRunner().invoke(app, ["application", "--listen", f"127.0.0.1:{free_port()}"])
    assert (done.exit_code, done.stdout[:12]) == (0, "listening at")


@pytest.mark.parametrize("listen", ["nowhere", "127.0.0.1:0", "unix:/tmp/a.sock"])
def test_what_is_no_address_is_code_2_and_a_sentence(listen: str) -> None:
    done = CliRunner().invoke(app, ["application", "--listen", listen])
    assert done.exit_code == 2
    assert done.stderr.startswith(f"authz: --listen: `{listen}` is not HOST:PORT")


def test_an_address_that_is_taken_is_code_3_and_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "pthread_sigmask", lambda _how, _which: set())
    with Upstream() as other:
        done = CliRunner().invoke(app, ["application", "--listen", f"127.0.0.1:{other.port}"])
    # `allow_reuse_address` shares with those that closed, never with one that listens.
    assert (done.exit_code, "cannot listen at" in done.stderr) == (3, True)
