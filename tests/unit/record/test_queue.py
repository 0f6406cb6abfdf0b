from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Iterator

import pytest
import structlog
from structlog.testing import capture_logs

from authz.record import queue as queue_module
from authz.record import waiting as waiting_module
from authz.record.queue import Direct, RecordCounts, RecordQueue
from authz.record.sinks import StdoutSink
from tests.support.answers import DECISION_ID

PATIENCE_S = 5.0


class Script:
    """A sink that does what a list says: bytes to take at most, or an error to raise; then it takes all."""

    name = "script"

    def __init__(self, *steps: int | OSError) -> None:
        self.steps = list(steps)
        self.taken = b""
        self.writes = 0
        self.reopened = False

    def write(self, data: memoryview) -> int:
        self.writes += 1
        step = self.steps.pop(0) if self.steps else len(data)
        if isinstance(step, OSError):
            raise step
        self.taken += bytes(data[:step])
        return min(step, len(data))

    def reopen(self) -> None:
        self.reopened = True


class Gate(Script):
    """A sink that blocks until it is opened, as a pipe does that nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.opened = threading.Event()

    def write(self, data: memoryview) -> int:
        self.entered.set()
        self.opened.wait(PATIENCE_S)
        return super().write(data)


def told(line: bytes) -> dict[str, object]:
    """Return what a gap line says."""
    gap = json.loads(line)
    assert (gap.pop("v"), gap.pop("kind")) == (1, "gap")
    assert gap.pop("time").endswith("Z")
    return dict(gap)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(queue_module, "RETRY_MIN_S", 0.001)
    monkeypatch.setattr(queue_module, "RETRY_MAX_S", 0.002)
    yield
    structlog.reset_defaults()


def test_lines_arrive_whole_and_in_order_and_each_is_counted() -> None:
    sink = Script()
    queue = RecordQueue(Direct(sink), 100)
    queue.start()
    queue.put([b"1\n", b"2\n"])
    queue.put([b"3\n"])
    assert queue.close(PATIENCE_S) == RecordCounts(written=3, dropped=0, lost=0, waiting=0, errors=0)
    assert sink.taken == b"1\n2\n3\n"


def test_many_lines_leave_in_one_write() -> None:
    sink = Script()
    queue = RecordQueue(Direct(sink), 1000)
    for number in range(500):
        queue.put([b"%d\n" % number])
    queue.start()
    queue.close(PATIENCE_S)
    assert sink.writes == 1


def test_a_full_queue_drops_the_newest_and_counts_exactly() -> None:
    sink = Script()
    queue = RecordQueue(Direct(sink), 3)
    queue.put([b"1\n", b"2\n"])
    queue.put([b"3\n", b"4\n", b"5\n"])
    queue.put([b"6\n"])
    assert queue.counts() == RecordCounts(written=0, dropped=3, lost=0, waiting=3, errors=0)
    queue.start()
    assert queue.close(PATIENCE_S).written == 3
    *lines, gap = sink.taken.splitlines()
    assert lines == [b"1", b"2", b"3"]
    assert told(gap) == {"first_seq": 4, "last_seq": 6, "count": 3, "allows": 0, "why": "queue_full"}


def test_long_lines_are_bounded_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_module, "WAITING_MAX_BYTES", 10)
    queue = RecordQueue(Direct(Script()), 100)
    queue.put([b"12345\n", b"123\n", b"x\n"])
    assert queue.counts()[:4] == (0, 1, 0, 2)


def test_a_blocked_sink_never_blocks_the_one_who_puts() -> None:
    sink = Gate()
    queue = RecordQueue(Direct(sink), 4)
    queue.start()
    queue.put([b"1\n"])
    assert sink.entered.wait(PATIENCE_S)
    for _ in range(10):
        queue.put([b"x\n"])
    counts = queue.counts()
    assert (counts.waiting, counts.dropped) == (4, 7)  # what is being written still takes its place
    assert queue.close(0.01)[:4] == (0, 7, 4, 0)
    sink.opened.set()
    queue._writer.join(PATIENCE_S)
    assert queue.counts()[:4] == (0, 7, 4, 0)  # nothing is counted twice


def test_a_sink_that_takes_a_few_bytes_at_a_time_gets_them_all() -> None:
    sink = Script(1, 0, 3, BlockingIOError(), 2)
    queue = RecordQueue(Direct(sink), 10)
    queue.put([b"abc\n", b"def\n"])
    queue.start()
    assert queue.close(PATIENCE_S)[:4] == (2, 0, 0, 0)
    assert sink.taken == b"abc\ndef\n"


def test_a_broken_sink_is_tried_again_and_logged_once() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    sink = Script(2, full, full, full)
    queue = RecordQueue(Direct(sink), 10)
    with capture_logs() as logs:
        queue.start()
        queue.put([b"abc\n"])
        while queue.counts().waiting:
            queue._wake.wait(0.001)
        counts = queue.close(PATIENCE_S)
    assert (counts.written, counts.errors) == (1, 3)
    assert sink.taken == b"abc\n"
    assert [event["event"] for event in logs] == ["records cannot be written", "records are written again"]


def test_a_sink_that_is_broken_at_the_end_loses_what_waits_and_says_so() -> None:
    class Broken(Script):
        def write(self, data: memoryview) -> int:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    queue = RecordQueue(Direct(Broken()), 10)
    queue.put([b"1\n", b"2\n"])
    with capture_logs() as logs:
        queue.start()
        counts = queue.close(PATIENCE_S)
        queue.put([b"3\n"])
    assert counts[:4] == (0, 0, 2, 0)
    assert queue.counts()[:4] == (0, 1, 2, 0)
    assert logs[-1] == {
        "event": "records are missing",
        "sink": "script",
        "lost": 2,
        "dropped": 0,
        "log_level": "warning",
        "room": "record",
    }


def test_a_pipe_that_stays_full_is_given_up_at_the_deadline() -> None:
    class Full(Script):
        def write(self, data: memoryview) -> int:
            raise BlockingIOError

    queue = RecordQueue(Direct(Full()), 10)
    queue.put([b"1\n"])
    queue.start()
    assert queue.close(0.05).lost == 1


def test_threads_that_put_at_once_lose_nothing() -> None:
    sink = Script()
    queue = RecordQueue(Direct(sink), 100_000)
    queue.start()

    def work() -> None:
        for _ in range(500):
            queue.put([b"x\n"] * 3)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert queue.close(PATIENCE_S).written == 6000
    assert sink.taken == b"x\n" * 6000


def test_a_recent_record_is_found_by_its_id_even_if_it_was_dropped() -> None:
    line = f'{{"v":1,"decision_id":"{DECISION_ID}","path":"x"}}\n'.encode()
    queue = RecordQueue(Direct(Script()), 0, recent=2)
    queue.put([line])
    assert queue.counts().dropped == 1
    assert queue.find(DECISION_ID) == line
    assert queue.find(DECISION_ID.replace("0", "1")) is None
    assert queue.find('"') is None
    queue.put([b"a\n", b"b\n"])
    assert queue.find(DECISION_ID) is None


def test_without_a_sink_only_the_recent_lines_are_kept() -> None:
    queue = RecordQueue(None, 10)
    queue.start()
    queue.put([f'"decision_id":"{DECISION_ID}"\n'.encode()])
    queue.reopen()
    assert queue.find(DECISION_ID) is not None
    assert queue.sink_name == "off"
    assert queue.close(0) == RecordCounts(0, 0, 0, 0, 0)


def test_reopen_reaches_the_sink() -> None:
    sink = Script()
    RecordQueue(Direct(sink), 1).reopen()
    assert sink.reopened


def test_through_a_real_pipe_a_slow_reader_gets_every_line() -> None:
    reader, writer = os.pipe()
    queue = RecordQueue(Direct(StdoutSink(writer)), 10_000)
    queue.start()
    lines = [b"%06d" % number + b"." * 200 + b"\n" for number in range(5000)]  # a megabyte: far beyond a pipe
    queue.put(lines)
    with os.fdopen(reader, "rb") as file:
        got = [file.readline() for _ in lines]
    assert got == lines
    assert queue.close(PATIENCE_S)[:4] == (5000, 0, 0, 0)
    os.close(writer)


def test_what_is_full_says_so_until_half_of_it_is_written() -> None:
    sink = Gate()
    queue = RecordQueue(Direct(sink), 10, on_full="deny")
    queue.put([b"x\n"] * 8)
    seen = [queue.full]
    queue.put([b"x\n"])
    seen.append(queue.full)
    sink.opened.set()
    queue.start()
    assert queue.close(PATIENCE_S).written == 9
    assert [*seen, queue.full] == [False, True, False]


def test_a_gap_stands_where_the_missing_lines_would_have_stood() -> None:
    sink = Gate()
    queue = RecordQueue(Direct(sink), 2)
    queue.put([b"1\n", b"2\n", b"3\n", b"4\n"])
    queue.start()
    sink.opened.set()
    for number in (5, 6):
        waited = time.monotonic() + PATIENCE_S
        while queue.counts().waiting and time.monotonic() < waited:
            time.sleep(0.001)
        queue.put([b"%d\n" % number])
    queue.put([], missing=2)
    counts = queue.close(PATIENCE_S)
    assert (counts.written, counts.dropped, counts.lost) == (4, 4, 0)
    lines = sink.taken.splitlines()
    assert [line for line in lines if len(line) == 1] == [b"1", b"2", b"5", b"6"]
    gaps = [told(line) for line in lines if len(line) > 1]
    assert [(gap["first_seq"], gap["last_seq"], gap["count"]) for gap in gaps] == [(3, 4, 2), (7, 8, 2)]


def test_the_oldest_line_says_how_long_it_has_been_waiting() -> None:
    sink = Gate()
    queue = RecordQueue(Direct(sink), 100)
    now_us = 1_000_000_000_000_000  # 2001-09-09T01:46:40Z
    first = b'{"v":1,"time":"2001-09-09T01:46:37.500000Z","path":"/"}\n'
    assert queue.waited_s(now_us) == 0
    queue.put([first, b'{"v":1,"time":"2001-09-09T01:46:39.000000Z"}\n'])
    assert queue.waited_s(now_us) == 2.5
    assert queue.waited_s(0) == 0  # a clock that was set back
    queue.start()
    assert sink.entered.wait(PATIENCE_S)
    assert queue.waited_s(now_us) == 2.5  # taken, and not written yet
    sink.opened.set()
    queue.close(PATIENCE_S)
    assert queue.waited_s(now_us) == 0


def test_a_line_without_a_time_has_no_age() -> None:
    queue = RecordQueue(Direct(Script()), 7)
    queue.put([b"1\n"])
    assert queue.waited_s(1) == 0
    assert queue.capacity == 7
