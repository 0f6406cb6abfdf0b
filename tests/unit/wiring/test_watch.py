"""A process that no longer answers is seen, and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from authz.wiring.watch import STUCK, Progress, Watchdog
from tests.support.sets import events

ROOT = Path(__file__).parents[3]


@dataclass
class Judge:
    turns: int = 0
    alive: bool = True


def test_every_judge_must_have_moved() -> None:
    judges = [Judge(), Judge()]
    progress = Progress(judges)
    assert progress.made()
    assert not progress.made()
    judges[0].turns += 1
    assert not progress.made()
    judges[1].turns += 5
    assert progress.made()


def test_a_judge_that_has_ended_is_missed_unless_all_are_about_to_end() -> None:
    judges = [Judge(), Judge(alive=False)]
    progress = Progress(judges)
    assert not progress.made()
    assert progress.made(draining=True)
    assert not progress.made(draining=True)
    judges[0].turns += 1
    assert progress.made(draining=True)


def test_nobody_to_watch_is_well() -> None:
    assert Progress([]).made()


def watchdog(made: list[bool]) -> tuple[Watchdog, list[int]]:
    ended: list[int] = []
    return Watchdog(lambda: made.pop(0), 5.0, end=ended.append), ended


def test_a_process_is_unhealthy_before_it_is_ended(capfd: pytest.CaptureFixture[str]) -> None:
    dog, ended = watchdog([False] * 5)
    states = []
    with capture_logs() as logs:
        for _ in range(5):
            dog.look(1.0)
            states.append((dog.stuck, list(ended)))
    assert states == [(False, []), (False, []), (True, []), (True, []), (True, [STUCK])]
    assert events(logs, "a judging thread is stuck: this process ends, to be started anew")
    assert "test_watch.py" in capfd.readouterr().err  # where every thread stood


def test_progress_makes_it_well_again() -> None:
    dog, ended = watchdog([False, False, False, False, True, False])
    for _ in range(6):
        dog.look(1.0)
    assert not dog.stuck
    assert not ended


def test_it_looks_by_itself_until_it_is_closed() -> None:
    looked, ticked = threading.Event(), threading.Event()

    def made() -> bool:
        looked.set()
        return True

    dog = Watchdog(made, 5.0, ticked.set)
    dog.start()
    assert looked.wait(20)
    assert ticked.is_set()
    dog.close()
    dog._thread.join(20)
    assert not dog._thread.is_alive()


# A process whose watchdog ticks, and which then does something else.
_PROCESS = """
import os, re, signal, threading, time
from authz.wiring.watch import LastResort
last_resort = LastResort({cpu_s})
def tick():
    while True:
        last_resort.arm()
        time.sleep(0.05)
threading.Thread(target=tick, daemon=True).start()
time.sleep(0.2)
print("begun", flush=True)
{work}
print("well", flush=True)
"""


def process(work: str, cpu_s: float) -> subprocess.Popen[str]:
    script = _PROCESS.format(work=work, cpu_s=cpu_s)
    pipe = subprocess.PIPE
    made = subprocess.Popen([sys.executable, "-c", script], stdout=pipe, stderr=pipe, text=True, cwd=ROOT)
    assert made.stdout is not None
    assert made.stdout.readline() == "begun\n"
    return made


def test_a_library_that_keeps_the_interpreter_is_ended_and_it_is_told_where() -> None:
    """An expression that a match takes for ever for: the interpreter is held, by C, at work."""
    made = process('re.match("(a+)+$", "a" * 60 + "b")', 0.5)
    output, errors = made.communicate(timeout=60)
    assert made.returncode == int(signal.SIGPROF)
    assert "well" not in output
    assert "in match" in errors


def test_who_was_stopped_for_long_does_not_die_of_being_continued() -> None:
    made = process("os.kill(os.getpid(), signal.SIGSTOP)\ntime.sleep(0.3)", 0.2)
    assert os.waitid(os.P_PID, made.pid, os.WSTOPPED | os.WNOWAIT) is not None
    # Longer by the clock than the bound in processor time, of which it uses none meanwhile.
    threading.Event().wait(0.2 * (os.cpu_count() or 1) + 0.5)
    made.send_signal(signal.SIGCONT)
    output, errors = made.communicate(timeout=60)
    assert (made.returncode, output, errors) == (0, "well\n", "")


def test_who_works_long_in_python_is_left_alone() -> None:
    made = process("end = time.process_time() + 2\nwhile time.process_time() < end: pass", 0.5)
    output, _ = made.communicate(timeout=60)
    assert (made.returncode, output) == (0, "well\n")
