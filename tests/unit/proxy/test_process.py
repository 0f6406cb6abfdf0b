from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from authz.model.errors import NotStarted
from authz.proxy.process import Child, Plan, free_port, http_get, program, tail
from authz.proxy.upstream import Upstream


def _plan(directory: Path, code: str, env: dict[str, str] | None = None) -> Plan:
    command = [sys.executable, "-c", code]
    return Plan("a part", command, log=directory / "part.log", output=directory / "part.out", env=env)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def test_a_child_ends_with_its_block(tmp_path: Path) -> None:
    with Child(_plan(tmp_path, "import time; time.sleep(60)")) as child:
        assert child.running
    assert not child.running


def test_a_child_writes_to_its_files_and_gets_its_variables(tmp_path: Path) -> None:
    code = "import os, sys; print(os.environ['PART']); print('oops', file=sys.stderr)"
    with Child(_plan(tmp_path, code, {"PART": "one"})) as child:
        assert child.wait(10) == 0
    assert (tail(child.plan.output), tail(child.plan.log)) == ("one", "oops")


def test_a_child_that_ignores_a_polite_request_is_ended_with_its_own_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authz.proxy.process._STOP_TIMEOUT_S", 0.3)
    code = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "part = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(part.pid, flush=True); time.sleep(60)\n"
    )
    with Child(_plan(tmp_path, code)) as child:
        child.wait_until(lambda: tail(child.plan.output).isdigit())
    grandchild = int(tail(child.plan.output))
    end = time.monotonic() + 5
    while _alive(grandchild) and time.monotonic() < end:
        time.sleep(0.01)
    assert not child.running
    assert not _alive(grandchild)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's leash is Linux's")
def test_a_child_does_not_outlive_us_even_when_we_are_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from authz.proxy.process import Child, Plan\n"
        f"d = Path({str(tmp_path)!r})\n"
        "c = Child(Plan('x', [sys.executable, '-c', 'print(1, flush=True); import time; time.sleep(60)'],"
        " log=d / 'l', output=d / 'o'))\n"
        "c.wait_until(lambda: (d / 'o').read_text() != '')\n"
        "print(c.pid, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    end = time.monotonic() + 5
    while _alive(child) and time.monotonic() < end:
        time.sleep(0.01)
    assert not _alive(child)


def test_a_part_that_ends_instead_of_becoming_ready_is_reported_with_its_last_words(tmp_path: Path) -> None:
    with (
        Child(_plan(tmp_path, "import sys; sys.exit('no such port')")) as child,
        pytest.raises(NotStarted, match="a part ended with exit code 1") as fault,
    ):
        child.wait_until(lambda: False)
    assert fault.value.tail == "no such port"


def test_a_part_that_never_becomes_ready_is_reported(tmp_path: Path) -> None:
    with (
        Child(_plan(tmp_path, "import time; time.sleep(60)")) as child,
        pytest.raises(NotStarted, match=r"was not ready after 0\.1 s"),
    ):
        child.wait_until(lambda: False, timeout_s=0.1)


def test_a_signal_to_a_part_that_has_ended_is_no_error(tmp_path: Path) -> None:
    with Child(_plan(tmp_path, "pass")) as child:
        child.wait(10)
        child.send(signal.SIGTERM)
        assert child.wait(0) == 0


def test_a_command_that_is_not_installed_is_named() -> None:
    with pytest.raises(NotStarted, match="`no-such-command` is not in"):
        program("no-such-command")


def test_http_get_tells_silence_from_an_answer() -> None:
    with Upstream() as upstream:
        reply = http_get(upstream.port, "/ready")
        assert reply is not None
        assert reply[0] == 200
    assert http_get(free_port(), "/ready") is None


def test_a_log_that_was_never_written_has_no_last_words(tmp_path: Path) -> None:
    assert tail(tmp_path / "none") == ""
