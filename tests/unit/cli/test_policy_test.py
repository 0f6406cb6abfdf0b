from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner, Result

from authz.cli import policy_test
from authz.cli.main import build
from authz.cli.policy import app
from authz.config.settings import load
from authz.snapshot.sources import Directories
from tests.support.proxy import eventually
from tests.support.rehearsals import SET, asked, cases
from tests.support.sets import write

PASSES = f"{asked()}, expect: {{outcome: deny, status: 401}}"
FAILS = f"{asked()}, expect: {{outcome: allow}}"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("AUTHZ_")]:
        monkeypatch.delenv(name)
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["test", "set", *words])


def test_a_set_whose_tests_pass_is_summed_up() -> None:
    write(Path("set"), *SET, cases(PASSES, PASSES))
    done = run()
    assert (done.exit_code, done.stdout) == (0, "2 cases in 1 test: 2 passed, 0 failed\n")
    assert done.stderr == ""


def test_a_failing_case_ends_with_1_and_is_told() -> None:
    write(Path("set"), *SET, cases(PASSES, FAILS))
    done = run()
    assert done.exit_code == 1
    told = done.stdout.splitlines()
    assert told[0] == "set/4.yaml:8:7: FAILED t/case 1"
    assert told[1] == "    outcome: expected allow, got deny"
    assert told[-1] == "2 cases in 1 test: 1 passed, 1 failed"


def test_the_command_that_a_failure_names_can_be_run() -> None:
    write(Path("set"), *SET, cases(FAILS))
    (line,) = [line for line in run().stdout.splitlines() if "each step: " in line]
    words = line.partition("each step: ")[2].split()[1:]
    done = CliRunner().invoke(build(words), words)
    assert done.exit_code == 0, done.output
    assert "credential_missing" in done.stdout


def test_an_invalid_set_ends_with_1_and_every_fault() -> None:
    write(Path("set"), *SET, cases("request: {path: /}, expect: {outcome: maybe}"))
    done = run()
    assert (done.exit_code, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 2


def test_a_set_that_cannot_be_read_ends_with_1() -> None:
    done = run()
    assert done.exit_code == 1
    assert done.stderr.startswith("set:1:1: ")


def test_a_directory_must_be_named() -> None:
    assert CliRunner().invoke(app, ["test"]).exit_code == 2


def test_a_set_without_tests_proves_nothing_and_says_so() -> None:
    write(Path("set"), *SET)
    done = run()
    assert done.exit_code == 0
    assert done.stdout == "0 cases in 0 tests: 0 passed, 0 failed\n"
    assert done.stderr == "warning: no tests in this set: nothing is proven\n"
    assert run("--require-tests").exit_code == 1


def test_a_filter_takes_cases_by_the_name_of_their_test_and_their_own() -> None:
    write(Path("set"), *SET, cases(PASSES, FAILS), cases(PASSES, name="other"))
    assert run("--filter", "T/CASE 0").stdout.startswith("1 case in 1 test: 1 passed")
    assert run("--filter", "other/").stdout.startswith("1 case in 1 test: 1 passed")
    assert run("--filter", "case 1").exit_code == 1
    done = run("--filter", "nothing")
    assert (done.exit_code, done.stderr) == (0, "warning: no case holds `nothing`\n")
    assert run("--filter", "nothing", "--require-tests").exit_code == 1


def test_machines_read_json() -> None:
    write(Path("set"), *SET, cases(PASSES, FAILS))
    done = run("--output", "json")
    assert done.exit_code == 1
    data = json.loads(done.stdout)
    assert (data["passed"], data["failed"]) == (1, 1)
    write(Path("set"), *SET, "kind: Nothing")
    done = run("--output", "json")
    assert (done.exit_code, json.loads(done.stdout)["valid"]) == (1, False)


def test_ci_reads_junit_from_a_file_and_people_the_text() -> None:
    write(Path("set"), *SET, cases(PASSES, FAILS))
    done = run("--output", "junit", "--file", "report.xml")
    assert done.exit_code == 1
    assert done.stdout.endswith("2 cases in 1 test: 1 passed, 1 failed\n")
    root = ET.parse("report.xml").getroot()
    assert (root.get("tests"), root.get("failures")) == ("2", "1")
    assert ET.fromstring(run("--output", "junit").stdout.encode()).get("tests") == "2"


def test_text_can_go_to_a_file_too_without_colours() -> None:
    write(Path("set"), *SET, cases(FAILS))
    done = CliRunner().invoke(app, ["test", "set", "--file", "report.txt"], color=True)
    assert "\x1b[31mFAILED\x1b[0m" in done.stdout
    assert "FAILED t/case 0" in Path("report.txt").read_text()


def test_a_file_that_cannot_be_written_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from authz.cli.main import main

    write(Path("set"), *SET, cases(PASSES))
    monkeypatch.setattr(sys, "argv", ["authz", "policy", "test", "set", "--file", "no/such/report.xml"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 3
    assert "--file no/such/report.xml: No such file or directory: name a file" in capsys.readouterr().err


def test_settings_that_change_how_requests_are_read_come_from_where_serve_has_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    long = f"{asked(more=', headers: {x-long: ' + 'a' * 2000 + '}')}, expect: {{outcome: deny, status: 431}}"
    write(Path("set"), *SET, cases(long))
    assert run().exit_code == 1
    Path("authz.toml").write_text("max_header_bytes = 1024\n")
    assert run().exit_code == 0
    monkeypatch.setenv("AUTHZ_MAX_HEADER_BYTES", "4096")
    assert run().exit_code == 1
    Path("other.toml").write_text("max_header_bytes = 1024\n")
    monkeypatch.delenv("AUTHZ_MAX_HEADER_BYTES")
    Path("authz.toml").unlink()
    assert run("--config", "other.toml").exit_code == 0


def test_scopes_and_overrides_are_those_of_serve() -> None:
    write(Path("set"), *SET, cases(FAILS.replace("allow", "deny, reason: denied_by_rule")))
    brake = "kind: Policy\nmetadata: {name: brake}\nspec: {hosts: ['*'], rules: [{name: all, effect: deny}]}"
    write(Path("brake"), brake)
    assert run().exit_code == 1
    done = run("--overrides", "brake")
    assert done.exit_code == 0, done.output
    write(
        Path("scopes"), "kind: Scope\nmetadata: {name: a}\nspec: {directory: a, hosts: [other.example.com]}"
    )
    done = run("--overrides", "brake", "--scopes", "scopes")
    assert done.exit_code == 1
    assert "no documents in the directory `a` of the scope" in done.stderr


@pytest.fixture
def watching(here: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    write(Path("set"), *SET, cases(PASSES))
    out = here / "out"
    with out.open("wb") as file:
        child = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from authz.cli.main import main; main()",
                "policy",
                "test",
                "set",
                "--watch",
            ],
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        try:
            yield child, out
        finally:
            child.kill()
            child.wait()


def test_a_watch_runs_again_when_a_file_changes_and_ends_with_the_last_answer(
    watching: tuple[subprocess.Popen[bytes], Path],
) -> None:
    child, out = watching

    def runs() -> int:
        return out.read_text().count("waiting for changes")

    assert eventually(lambda: runs() == 1, 60)
    text = Path("set/4.yaml").read_text()
    Path("set/4.yaml").write_text(text.replace("status: 401", "status: 403, reason: not_permitted"))
    assert eventually(lambda: runs() == 2, 60)
    assert "1 case in 1 test: 0 passed, 1 failed" in out.read_text()
    child.send_signal(signal.SIGINT)
    assert child.wait(60) == 1


def test_a_watch_that_is_interrupted_while_all_is_well_ends_with_0(
    watching: tuple[subprocess.Popen[bytes], Path],
) -> None:
    child, out = watching
    assert eventually(lambda: "waiting for changes" in out.read_text(), 60)
    child.send_signal(signal.SIGINT)
    assert child.wait(60) == 0
    assert "Traceback" not in out.read_text()


def test_what_is_written_beside_the_documents_runs_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    write(Path("set"), *SET, cases(PASSES))
    named, report = Directories([Path("set")]), Path("set/report.xml")
    asked_for = policy_test.Asked(named, "", policy_test.Output.JUNIT, report, require_tests=False)
    tester = policy_test.Tester(asked_for, load({}, {}))
    runs: list[int] = []
    once = tester.run

    def run_and_note() -> int:
        runs.append(once())
        return runs[-1]

    def play() -> None:
        try:
            eventually(lambda: len(runs) == 1, 60)
            Path("set/notes.txt").write_text("nothing to read")
            text = Path("set/4.yaml").read_text()
            Path("set/4.yaml").write_text(text.replace("status: 401", "status: 302"))
            eventually(lambda: len(runs) == 2, 60)
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(tester, "run", run_and_note)
    player = Thread(target=play)
    before = signal.getsignal(signal.SIGINT)
    player.start()
    assert tester.watch() == 1
    player.join()
    assert runs == [0, 1]
    assert signal.getsignal(signal.SIGINT) is before
