"""Records to standard output: pipes that are full, slow, broken or somebody else's to configure."""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest

from authz.shipping.delivery import Batch, Unavailable
from authz.shipping.stdout import StdoutSink
from tests.support.batches import batch_of, record_line, records

Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe of one page: full at once."""
    ends = os.pipe()
    fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, 4096)
    yield ends
    for end in ends:
        with suppress(OSError):
            os.close(end)


class _Reader:
    """Reads a pipe until its end, from a thread of its own."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.pieces: list[bytes] = []
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while data := os.read(self._fd, 1 << 20):
            self.pieces.append(data)

    def all(self) -> bytes:
        self._thread.join(10)
        return b"".join(self.pieces)


def _waiting(fd: int) -> int:
    """How long a line of 3,000 bytes: it fills most of the pipe."""
    return os.write(fd, b"x" * 3000)


def _impatient(fd: int) -> StdoutSink:
    return StdoutSink("stdout", fd, wait_s=0.0)


def test_batches_come_out_as_they_stand(pipe: Pipe) -> None:
    reader, sink = _Reader(pipe[0]), StdoutSink("stdout", pipe[1])
    sink.deliver(records(1, 500))
    sink.deliver(records(501, 501))
    os.close(pipe[1])
    assert reader.all() == records(1, 501).lines


def test_a_line_is_never_torn_between_two_writes_where_a_pipe_can_take_it_whole(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, sizes = os.write, []

    def watched(fd: int, data: memoryview) -> int:
        assert bytes(data).endswith(b"\n")
        sizes.append(len(data))
        return write(fd, data)

    reader = _Reader(pipe[0])
    with monkeypatch.context() as patched:
        patched.setattr("os.write", watched)
        StdoutSink("stdout", pipe[1]).deliver(records(1, 300))
    os.close(pipe[1])
    assert reader.all() == records(1, 300).lines
    assert max(sizes) <= select.PIPE_BUF
    assert len(sizes) < 300 / 10  # and many go together


def test_a_line_longer_than_a_pipe_takes_at_once_arrives_whole(pipe: Pipe) -> None:
    long = b'{"v":1,"path":"' + b"a" * 50_000 + b'"}\n'
    batch = batch_of(record_line(1), long, record_line(3))
    reader = _Reader(pipe[0])
    StdoutSink("stdout", pipe[1]).deliver(batch)
    os.close(pipe[1])
    assert reader.all() == batch.lines


def test_a_file_takes_a_batch_at_once(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        StdoutSink("stdout", file.fileno()).deliver(records(1, 2000))
    assert (tmp_path / "out").read_bytes() == records(1, 2000).lines


@pytest.mark.parametrize("blocking", [True, False])
def test_a_full_pipe_is_waited_for_so_long_and_no_longer(pipe: Pipe, blocking: bool) -> None:
    os.set_blocking(pipe[1], blocking)
    _waiting(pipe[1])
    with pytest.raises(Unavailable, match="standard output: nobody reads it"):
        _impatient(pipe[1]).deliver(records(1, 30))
    assert os.get_blocking(pipe[1]) is blocking  # its flags are shared with whoever else has it


def test_what_was_written_of_a_batch_is_not_written_again(pipe: Pipe) -> None:
    sink, batch = _impatient(pipe[1]), records(1, 100)
    got = b""
    for _ in range(100):
        try:
            sink.deliver(batch)
            break
        except Unavailable:
            got += os.read(pipe[0], 1 << 20)
    os.close(pipe[1])
    got += os.read(pipe[0], 1 << 20)
    assert got == batch.lines


def test_a_line_that_was_begun_is_ended_before_another_batch(pipe: Pipe) -> None:
    """Meanwhile the spool was thinned: what comes instead has fewer lines."""
    long = b'{"v":1,"path":"' + b"a" * 10_000 + b'"}\n'
    sink = _impatient(pipe[1])
    with pytest.raises(Unavailable):
        sink.deliver(batch_of(long, record_line(2)))
    reader = _Reader(pipe[0])
    StdoutSink.deliver(sink, _patient(sink, records(2, 2)))
    os.close(pipe[1])
    assert reader.all() == long + records(2, 2).lines


def _patient(sink: StdoutSink, batch: Batch) -> Batch:
    sink._wait_s = 10.0
    return batch


def test_a_pipe_that_says_it_has_room_and_has_none_is_no_endless_loop(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_fd: int, _data: memoryview) -> int:
        raise BlockingIOError

    with monkeypatch.context() as patched:
        patched.setattr("os.write", refuse)
        with pytest.raises(Unavailable, match="too slow"):
            StdoutSink("stdout", pipe[1]).deliver(records(1, 1))


def test_a_reader_that_is_gone_is_an_outage(pipe: Pipe) -> None:
    os.close(pipe[0])
    sink = StdoutSink("stdout", pipe[1])
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"^standard output: broken pipe$"):
            sink.deliver(records(1, 1))


def test_a_closed_standard_output_is_an_outage(pipe: Pipe) -> None:
    os.close(pipe[1])
    with pytest.raises(Unavailable, match="bad file descriptor"):
        StdoutSink("stdout", pipe[1]).deliver(records(1, 1))


def test_it_is_not_ours_to_close_or_to_open(pipe: Pipe) -> None:
    sink = StdoutSink("stdout", pipe[1])
    sink.reopen()
    sink.close()
    sink.deliver(records(1, 1))
    assert os.read(pipe[0], 1 << 20) == record_line(1)


_SHIPPER = """
import sys
from authz.shipping.delivery import Unavailable
from authz.shipping.stdout import StdoutSink
from tests.support.batches import records
sink, told = StdoutSink("stdout"), 0
sys.stdin.readline()
try:
    sink.deliver(records(1, 1))
except Unavailable as error:
    sys.stderr.write(str(error))
"""


def test_a_process_whose_reader_is_gone_lives_on() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _SHIPPER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate("go\n", timeout=20)
    assert (process.returncode, said) == (0, "standard output: broken pipe")
