"""What a worker tells, is asked, and does when nobody listens any more."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

import authz.wiring.worker
from authz.config.settings import Settings, load
from authz.limits.inquiry import Answer as BucketAnswer
from authz.limits.inquiry import Inquiry, answer_of, encode
from authz.model.errors import ConfigError
from authz.model.latency import Exemplar
from authz.proxy.process import free_port
from authz.record.metrics import Samples
from authz.record.recent import Recent, Wanted, recent_from, recent_of
from authz.transport.routes import Readiness
from authz.wiring import link
from authz.wiring.child import CONFESS
from authz.wiring.link import Begin, Question, Report
from authz.wiring.shares import Share
from authz.wiring.watch import STUCK
from authz.wiring.worker import ORPHAN, Reporter
from tests.support.checks import check_request
from tests.support.command import AUTHZ, run
from tests.support.grpc import client, read
from tests.support.http import get
from tests.support.lines import decision
from tests.support.policies import PEPPER
from tests.support.sets import KEY, events, small_set
from tests.support.workers import wait_until

EXAMPLE = Exemplar("1" * 32, 25, 1_767_225_600_123_456)
PAYLOAD = check_request(host="a.example.com", headers=[("x-api-key", KEY.token)])


class Sidecar:
    """A sidecar that says what it is told to."""

    listening, draining = True, False

    def __init__(self) -> None:
        self.moves = True
        self.count = 1.0
        self.stopped = threading.Event()
        self.looks = threading.Event()  # it takes until then to look at buckets
        self.looks.set()

    def progress(self) -> bool:
        return self.moves

    def readiness(self) -> Readiness:
        return Readiness(ready=True, revision="r")

    def examples(self) -> list[Exemplar | None]:
        return [EXAMPLE, None]

    def numbers(self) -> Samples:
        return {"authz_checks_total": [(("allow", "allowed"), self.count)]}

    def find(self, decision_id: str) -> bytes | None:
        return b'{"id":"known"}\n' if decision_id == "known" else None

    def recent_here(self, wanted: Wanted) -> Recent:
        return recent_of([decision(number) for number in range(4)], wanted, full=False)

    def shelved(self, inquiry: Inquiry) -> BucketAnswer:
        assert self.looks.wait(20)
        return BucketAnswer(inquiry.limit, 1, [])

    def stop(self) -> None:
        self.stopped.set()


class Told:
    """A reporter, and this end of its link."""

    def __init__(self) -> None:
        self.end, self.its_end = socket.socketpair()
        self.reporter = Reporter(self.its_end, orphaned_s=0.0)
        self.sidecar = Sidecar()
        self.reports: Generator[Report] = link.reports(self.end)

    def ask(self, number: int, find: str = "", buckets: str = "", recent: str = "") -> Report:
        self.end.sendall(link.encode(Question(number, find, buckets, recent)) + b"\n")
        return next(report for report in self.reports if report.answers == number)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    monkeypatch.setattr(authz.wiring.worker, "BEAT_S", 0.05)
    ended = threading.Event()
    codes: list[int] = []

    def exit_(code: int) -> None:
        codes.append(code)
        ended.set()

    monkeypatch.setattr(os, "_exit", exit_)
    made = Told()
    with capture_logs() as logs:
        yield made
        made.end.shutdown(socket.SHUT_RDWR)
        assert ended.wait(20)
    assert codes == [ORPHAN]
    assert events(logs, "the supervisor is gone: this worker drains and ends")
    assert made.reporter.served is None or made.sidecar.stopped.is_set()
    made.reports.close()
    made.end.close()
    made.its_end.close()


def test_before_there_is_a_sidecar_it_tells_that_it_lives(told: Told) -> None:
    told.reporter.start()
    assert next(told.reports) == Report(beat=True)
    assert told.ask(1) == Report(answers=1)


def test_it_tells_how_it_stands_and_only_what_changed(told: Told) -> None:
    told.reporter.served = told.sidecar
    told.reporter.start()
    first, second = next(told.reports), next(told.reports)
    assert (first.beat, first.listening, first.ready, first.revision) == (True, True, True, "r")
    assert first.changes == [("authz_checks_total", ("allow", "allowed"), 1.0)]
    assert second.changes == []
    assert (first.examples, second.examples) == ([EXAMPLE, None], [])
    told.sidecar.count = 2.0
    assert next(report.changes for report in told.reports if report.changes)[0][2] == 2.0


def test_it_tells_how_buckets_stand_and_no_numbers_then(told: Told) -> None:
    told.reporter.served = told.sidecar
    told.reporter.start()
    answer = told.ask(3, buckets=encode(Inquiry(limit="x" * 40_000)).decode())
    assert answer_of(answer.line) == BucketAnswer("x" * 40_000, 1, [])
    assert answer.changes == []


def test_it_tells_recent_records_and_no_numbers_then(told: Told) -> None:
    told.reporter.served = told.sidecar
    told.reporter.start()
    answer = told.ask(6, recent=encode(Wanted(2)).decode())
    assert recent_from(answer.line).lines == [decision(number).decode().rstrip() for number in (2, 3)]
    assert answer.changes == []


def test_while_it_looks_at_buckets_it_beats_and_answers_others(told: Told) -> None:
    told.sidecar.looks.clear()
    told.reporter.served = told.sidecar
    told.reporter.start()
    told.end.sendall(link.encode(Question(4, buckets="{}")) + b"\n")
    assert told.ask(5, "known").line == '{"id":"known"}\n'
    assert next(report for report in told.reports if report.beat).listening
    told.sidecar.looks.set()
    late = next(report for report in told.reports if report.answers == 4)
    assert (late.listening, late.ready, late.revision) == (True, True, "r")


def test_while_a_judge_is_stuck_it_answers_and_does_not_beat(told: Told) -> None:
    told.sidecar.moves = False
    told.reporter.served = told.sidecar
    told.reporter.start()
    assert told.ask(7, "known").line == '{"id":"known"}\n'
    answer = told.ask(8, "unknown")
    assert (answer.line, answer.beat) == ("", False)


def test_it_tells_what_it_cannot_use(told: Told) -> None:
    told.reporter.cannot("--listen x: y")
    assert next(told.reports).cannot == "--listen x: y"
    told.reporter.start()


class Failing(Sidecar):
    """A sidecar whose address is taken."""

    def __init__(self, settings: Settings, share: Share) -> None:
        super().__init__()
        self.listening = False
        assert str(settings.serve.listen[0]) == "unix:/run/a-1.sock"
        assert share.index == 1

    def reopen(self) -> None:
        raise AssertionError

    def run(self) -> None:
        signal.raise_signal(signal.SIGTERM)
        assert self.stopped.is_set()
        raise ConfigError("--listen unix:/run/a-1.sock: taken")


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The supervisor's end of a link whose other end is the command line's."""
    ours, theirs = socket.socketpair()
    monkeypatch.setattr("sys.argv", ["worker", str(theirs.detach())])
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
    yield ours
    for number, handler in before.items():
        signal.signal(number, handler)
    faulthandler.unregister(CONFESS)
    structlog.reset_defaults()
    ours.close()


def test_a_worker_that_cannot_says_why_and_ends_3(
    begun: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(os, "_exit", lambda _: ended.set())
    monkeypatch.setattr("authz.wiring.sidecar.Sidecar", Failing)
    its_ends: list[socket.socket] = []

    def reporter(end: socket.socket, orphaned_s: float) -> Reporter:
        its_ends.append(end)
        return Reporter(end, orphaned_s)

    monkeypatch.setattr(authz.wiring.worker, "Reporter", reporter)
    settings = load({"policies": ["p"], "listen": ["unix:/run/a.sock"], "workers": 2}, {"AUTHZ_DRAIN_S": "0"})
    link.send_begin(begun, link.packed(Begin(settings, Share(1, 2))))
    with pytest.raises(SystemExit) as exit_:
        authz.wiring.worker.main()
    assert exit_.value.code == 3
    reports = link.reports(begun)
    assert next(report.cannot for report in reports if report.cannot).endswith("a-1.sock: taken")
    reports.close()
    monkeypatch.setattr("time.sleep", lambda _: None)
    begun.shutdown(socket.SHUT_RDWR)
    assert ended.wait(20)
    its_ends[0].close()


def test_a_worker_whose_supervisor_is_gone_before_it_began_just_ends(begun: socket.socket) -> None:
    begun.close()
    authz.wiring.worker.main()


# --- as processes ---


class Serving:
    """`authz serve` as a process group of its own."""

    def __init__(self, folder: Path, workers: int = 2, **environ: str) -> None:
        small_set(folder / "policies")
        self.folder, self.ops = folder, f"127.0.0.1:{free_port()}"
        words = ["--policies", f"{folder}/policies", "--listen", f"unix:{folder}/a.sock", "--ops", self.ops]
        self.log = folder / "log"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AUTHZ_")}
        with self.log.open("w") as log, (folder / "records").open("w") as records:
            self.process = subprocess.Popen(
                [str(AUTHZ), "serve", "--workers", str(workers), "--debug", "off", "--state", "off", *words],
                env={**clean, "API_KEY_SALT": PEPPER.decode(), **environ},
                stdout=records,
                stderr=log,
                start_new_session=True,
            )

    def __enter__(self) -> Serving:
        wait_until(self.ready)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return get(self.ops, "/ready")[0] == 200
        except OSError:
            return False

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    with Serving(tmp_path) as made:
        yield made


def test_a_signal_to_the_whole_group_breaks_no_drain(serving: Serving, tmp_path: Path) -> None:
    answers: list[Any] = []
    with client(f"unix:{tmp_path}/a-0.sock") as ask:
        os.killpg(serving.process.pid, signal.SIGINT)
        for _ in range(3):
            answers.append(read(ask(PAYLOAD, timeout=20)))
            os.killpg(serving.process.pid, signal.SIGINT)
    assert [answer.denied_response.status.code for answer in answers[1:]] == [429, 429]
    assert serving.process.wait(20) == 0
    lines = serving.log.read_text()
    assert "Traceback" not in lines
    assert lines.count('"stopped"') == 3
    assert not list(tmp_path.glob("*.sock*"))
    assert len((tmp_path / "records").read_text().splitlines()) == 3


def test_workers_whose_supervisor_is_killed_end_by_themselves(serving: Serving) -> None:
    workers = serving.workers()
    assert len(workers) == 2
    os.kill(serving.process.pid, signal.SIGKILL)
    serving.process.wait(20)
    wait_until(lambda: not any(_runs(pid) for pid in workers))
    assert "the supervisor is gone" in serving.log.read_text()


def test_no_secret_stands_on_a_command_line(serving: Serving) -> None:
    for pid in serving.workers():
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert b"authz.wiring.worker" in words
        assert PEPPER not in words


def test_a_worker_is_not_fooled_by_modules_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('fooled')")
    monkeypatch.chdir(tmp_path)
    with Serving(tmp_path) as made:
        assert made.ready()


def test_a_judge_that_holds_the_interpreter_for_ever_is_started_anew(tmp_path: Path) -> None:
    """The first call makes a worker's judge sleep in C without giving the interpreter to anybody."""
    (tmp_path / "sitecustomize.py").write_text(_SLEEPER)
    with Serving(
        tmp_path, PYTHONPATH=str(tmp_path), AUTHZ_STUCK_AFTER_S="4", SLEEPER=str(tmp_path / "slept")
    ) as made:
        before = set(made.workers())
        with client(f"unix:{tmp_path}/a-1.sock") as ask:
            asked = ask.future(PAYLOAD, timeout=60)  # type: ignore[attr-defined]  # gRPC's own, see `client`
            wait_until((tmp_path / "slept").exists)
            assert get(made.ops, "/health")[0] == 200
            wait_until(lambda: set(made.workers()) - before)
            assert asked.exception(20) is not None
        wait_until(lambda: len(set(json.loads(get(made.ops, "/ready")[1])["workers"].values())) == 1)
        with client(f"unix:{tmp_path}/a-1.sock") as ask:
            assert read(ask(PAYLOAD, timeout=20)).status.code == 0
        log = made.log.read_text()
        assert "a worker is stuck and is killed" in log
        assert "sitecustomize.py" in log  # where its threads stood


def test_a_process_that_serves_alone_ends_itself_when_its_judge_is_stuck(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(_SLEEPER)
    environ = {"PYTHONPATH": str(tmp_path), "SLEEPER": str(tmp_path / "slept"), "SLEEP_LIGHTLY": "1"}
    with Serving(tmp_path, workers=1, AUTHZ_STUCK_AFTER_S="4", **environ) as made:
        with client(f"unix:{tmp_path}/a.sock") as ask:
            asked = ask.future(PAYLOAD, timeout=60)  # type: ignore[attr-defined]  # as above
            wait_until((tmp_path / "slept").exists)
            assert made.process.wait(40) == STUCK
            assert asked.exception(20) is not None
        log = made.log.read_text()
        assert "a judging thread is stuck: this process ends" in log
        assert "sitecustomize.py" in log


def test_an_address_that_cannot_be_had_is_3_and_one_line_for_all_workers(tmp_path: Path) -> None:
    (tmp_path / "a-1.sock").mkdir()
    small_set(tmp_path / "policies")
    words = [
        "--policies",
        "policies",
        "--listen",
        f"unix:{tmp_path}/a.sock",
        "--ops",
        f"127.0.0.1:{free_port()}",
    ]
    done = run("serve", "--workers", "2", "--debug", "off", "--state", "off", *words, cwd=tmp_path)
    assert done.returncode == 3
    last = done.stderr.splitlines()[-1]
    assert last.startswith("authz: ")
    assert "a-1.sock" in last
    assert "Traceback" not in done.stderr


_SLEEPER = """
import ctypes, os, sys, threading, time

def patch():
    while True:
        module = sys.modules.get("authz.transport.shield")
        if hasattr(module, "Shield"):
            break
        time.sleep(0.01)
    serve = module.Shield.serve

    def sleeping(self, arrivals):
        mark = os.environ["SLEEPER"]
        if not os.path.exists(mark):
            open(mark, "w").close()
            time.sleep(600) if os.environ.get("SLEEP_LIGHTLY") else ctypes.PyDLL(None).sleep(600)
        serve(self, arrivals)

    module.Shield.serve = sleeping

if "authz" in " ".join(sys.orig_argv):
    threading.Thread(target=patch, daemon=True).start()
"""


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
