"""Several processes write records to one place: no line is ever inside another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from authz.record.sinks import FileSink, StdoutSink
from authz.record.turns import TurnSink, in_turns

# Writes lines of up to 60 KB in pieces that end anywhere, as the queue does.
_WRITER = """
import sys
from authz.record.sinks import StdoutSink
from authz.record.turns import TurnSink
name, lines, fd, turns = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
sink = TurnSink(StdoutSink(fd), turns)
data = memoryview(b"".join(
    name.encode() * (1 + number * 7919 % 60000) + b"|%d\\n" % number for number in range(lines)
))
at = 0
while at < len(data):
    at += sink.write(data[at : at + 50000])
"""


@pytest.fixture
def turns() -> Iterator[int]:
    fd = os.memfd_create("turns")
    os.truncate(fd, 1)
    yield fd
    os.close(fd)


def writer(name: str, lines: int, fd: int, turns: int) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", _WRITER, name, str(lines), str(fd), str(turns)]
    return subprocess.Popen(words, pass_fds=(fd, turns))


def whole(line: bytes) -> str:
    """Return whose line it is, or "" where it is not whole."""
    text, _, number = line.partition(b"|")
    name = text[:1].decode()
    expected = 1 + int(number) * 7919 % 60000 if number.isdigit() else -1
    return name if text == name.encode() * expected else ""


def test_lines_longer_than_a_pipe_takes_at_once_do_not_mix(turns: int) -> None:
    reader, pipe = os.pipe()
    writers = [writer(name, 60, pipe, turns) for name in "abc"]
    os.close(pipe)
    with os.fdopen(reader, "rb") as lines:
        counts = Counter(whole(line.removesuffix(b"\n")) for line in lines)
    assert counts == {"a": 60, "b": 60, "c": 60}
    assert [one.wait(20) for one in writers] == [0, 0, 0]


def test_a_writer_that_is_killed_in_a_line_breaks_that_line_alone_and_blocks_nobody(turns: int) -> None:
    reader, pipe = os.pipe()
    victim = writer("a", 300, pipe, turns)  # more than the pipe takes: it waits inside of a write
    with os.fdopen(reader, "rb") as lines:
        assert whole(lines.readline().removesuffix(b"\n")) == "a"
        other = writer("b", 20, pipe, turns)
        victim.send_signal(signal.SIGKILL)
        victim.wait(20)
        os.close(pipe)
        counts = Counter(whole(line.removesuffix(b"\n")) for line in lines)
    assert other.wait(20) == 0
    assert counts["b"] == 20
    assert counts[""] <= 1


_TRY = "import fcntl, sys; fcntl.lockf(int(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)"


def free(turns: int) -> bool:
    """Whether another process could write now."""
    words = [sys.executable, "-c", _TRY, str(turns)]
    return subprocess.run(words, pass_fds=(turns,), stderr=subprocess.DEVNULL, check=False).returncode == 0


class Broken:
    """A sink that fails as often as it is told to."""

    name = "broken"

    def __init__(self) -> None:
        self.failures = 0
        self.data = b""
        self.reopened = False

    def write(self, data: memoryview) -> int:
        if self.failures:
            self.failures -= 1
            raise OSError(28, "No space left on device")
        self.data += data[:4]
        return len(data[:4])

    def reopen(self) -> None:
        self.reopened = True


def test_what_fails_lets_others_write_unless_a_line_is_begun(turns: int) -> None:
    broken = Broken()
    sink = TurnSink(broken, turns)
    broken.failures = 1
    with pytest.raises(OSError, match="space"):
        sink.write(memoryview(b"12345\n"))
    assert free(turns)
    assert sink.write(memoryview(b"12345\n")) == 4
    assert not free(turns)
    broken.failures = 1
    with pytest.raises(OSError, match="space"):
        sink.write(memoryview(b"5\n"))
    assert not free(turns)
    assert sink.write(memoryview(b"5\n")) == 2
    assert free(turns)
    assert broken.data == b"12345\n"
    sink.reopen()
    assert (broken.reopened, sink.name) == (True, "broken")


def test_a_line_that_was_left_open_is_ended_first_and_tried_again_where_that_fails(turns: int) -> None:
    os.pwrite(turns, b"\x01", 0)
    broken = Broken()
    sink = TurnSink(broken, turns)
    broken.failures = 1
    with pytest.raises(OSError, match="space"):
        sink.write(memoryview(b"12\n"))
    assert free(turns)
    sink.write(memoryview(b"12\n"))
    assert broken.data == b"\n12\n"


def test_who_writes_alone_takes_no_turns(tmp_path: Path, turns: int) -> None:
    sink = FileSink(tmp_path / "records")
    assert in_turns(sink, -1) is sink
    assert in_turns(None, turns) is None
    assert isinstance(in_turns(StdoutSink(), turns), TurnSink)
