"""`authz demo`, as people start it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from authz.proxy import steps, tour
from authz.proxy.client import request_bytes, send_raw
from authz.proxy.keys import make_keys
from authz.proxy.process import program
from authz.proxy.stage import Scene, new_pepper, short_directory, staged
from tests.support.proxy import eventually

pytestmark = pytest.mark.e2e
TRANSPORTS = ("native",)  # the demo chooses for itself

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def outcomes() -> Iterator[list[tour.Outcome]]:
    pepper, directory = new_pepper(), short_directory()
    tokens = make_keys(steps.KEYS, pepper, directory / "keys")
    policies = (ROOT / "policies" / "examples" / "demo", directory / "keys")
    with staged(Scene(directory, policies, pepper, steps.HOSTS)) as stage:
        yield list(tour.walk(stage, steps.steps(tokens)))
    shutil.rmtree(directory)


def test_every_step_of_the_tour_comes_out_as_expected(outcomes: list[tour.Outcome]) -> None:
    assert {outcome.step.title: outcome.faults for outcome in outcomes if outcome.faults} == {}


def test_the_tour_is_long_enough_to_be_worth_it(outcomes: list[tour.Outcome]) -> None:
    assert len(outcomes) >= 16
    assert len({outcome.step.title for outcome in outcomes}) == len(outcomes)


def _processes_in(directory: str) -> list[str]:
    """Return the command lines of running processes that mention a directory."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return [line for line in lines if directory in line]


def test_the_demo_ends_well_and_leaves_nothing_behind(tmp_path: Path) -> None:
    before = set((ROOT / ".run").glob("*"))
    done = subprocess.run(
        [program("authz"), "demo"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "requests came out as expected" in done.stdout.splitlines()[-1]
    assert "FAILED" not in done.stdout
    assert "ak_live_" not in done.stdout
    assert set((ROOT / ".run").glob("*")) - before == set()


@pytest.fixture
def kept() -> Iterator[subprocess.Popen[str]]:
    """A demo that stays up. It hears Ctrl-C even if these tests run in the background, where nobody does."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        demo = subprocess.Popen(
            [program("authz"), "demo", "--keep"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    finally:
        signal.signal(signal.SIGINT, before)
    with demo:
        yield demo
        if demo.poll() is None:
            demo.terminate()


def test_kept_up_it_prints_requests_that_work_and_ends_at_ctrl_c(kept: subprocess.Popen[str]) -> None:
    assert kept.stdout is not None
    lines = []
    for line in kept.stdout:
        lines.append(line)
        if line.startswith("Ctrl-C"):
            break
    text = "".join(lines)
    found = re.search(r"localhost:(\d+)/api/v1/items -H 'x-api-key: (\S+)'", text)
    assert found is not None, text
    directory = re.search(r"tail -f (\S+)/records", text)
    assert directory is not None
    data = request_bytes("GET", "/api/v1/items", [("host", "localhost"), ("x-api-key", found[2])])
    assert send_raw(int(found[1]), data).status == 200
    assert _processes_in(directory[1])
    command = re.search(r"^  (API_KEY=.* attack .*)$", text, re.MULTILINE)
    assert command is not None, text
    few = ["--class", "dots", "--class", "credential-removal"]
    words = dict([shlex.split(command[1])[0].split("=", 1)])
    done = subprocess.run([*shlex.split(command[1])[1:], *few], env=os.environ | words, check=False)
    assert done.returncode == 0
    kept.send_signal(signal.SIGINT)
    assert kept.wait(20) == 0
    assert eventually(lambda: _processes_in(directory[1]) == [])
    assert not Path(directory[1]).exists()


def test_a_part_that_cannot_start_is_one_line_and_code_3(tmp_path: Path) -> None:
    # The demo finds its commands beside the interpreter; one that is a link elsewhere finds none there.
    python = tmp_path / "python"
    python.symlink_to(Path(program("python")).resolve())
    code = "from authz.cli.demo import command; import typer; typer.run(command)"
    done = subprocess.run(
        [str(python), "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *_site_packages()])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("authz demo: the command `authz` is not in ")


def _site_packages() -> list[str]:
    return [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
