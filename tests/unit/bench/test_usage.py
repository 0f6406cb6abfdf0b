"""What a process has used, as the kernel says."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from authz.bench import usage


def test_the_cpu_of_a_process_is_its_own_clock() -> None:
    before = time.process_time()
    found = usage.cpu_s(os.getpid())
    assert before <= found <= time.process_time()


def test_children_count_where_they_are_asked_for() -> None:
    script = "import sys; sum(range(10**6)); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert child.pid in usage.children(os.getpid())
        own, tree = usage.cpu_s(os.getpid()), usage.tree_cpu_s(os.getpid())
        assert tree >= own + usage.cpu_s(child.pid) > own
        child.communicate(b"")


def test_a_process_that_is_gone_has_no_clock() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    with pytest.raises(OSError, match="Invalid argument"):
        usage.cpu_s(child.pid)


def test_memory_is_told_in_mib() -> None:
    assert 5 < usage.resident_mib(os.getpid()) < 5000
