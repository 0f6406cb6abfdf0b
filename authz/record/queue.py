"""Between judging and writing: a bounded queue with a thread of its own.

The judging thread only appends. The writer sleeps while there is nothing; between writes it waits a little so
that many lines leave in one system call: neither waking it nor writing costs anything per record.
INVARIANT: every line that was put is counted once: written, dropped (queue full) or lost (at the end).
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from typing import NamedTuple

from authz.config.log import get_logger
from authz.record.sinks import Sink

# Lines wait so long for company: 100 leave together at 10,000 checks/s. Shorter costs wake-ups, each of which
# takes the interpreter from the judging thread; longer costs memory and freshness.
PAUSE_S = 0.01
# Lines that are joined at once: behind a slow sink, all that waits would stand in memory twice. Not fewer:
# each round of the writer waits for the interpreter several times, up to 5 ms each.
TAKE_MAX = 4096
WRITE_MAX_BYTES = 256 * 1024  # of one system call: a slow reader must not hide progress
WAITING_MAX_BYTES = (
    32 * 1024 * 1024
)  # hostile lines are long: the bound in lines alone would not bound memory
RETRY_MIN_S, RETRY_MAX_S = 0.1, 5.0

_DECISION_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_log = get_logger("record")


class RecordCounts(NamedTuple):
    """What became of the lines. `waiting` are neither yet."""

    written: int
    dropped: int
    lost: int
    waiting: int
    errors: int  # failed tries of the sink


class RecordQueue:
    """Takes lines from judging threads and hands them to a sink. Begins with `start`, ends with `close`.

    Args:
        sink: where lines go; None: nowhere, only the recent ones are kept.
        capacity: lines that may wait, written or not.
        recent: lines that `find` can see.
    """

    def __init__(self, sink: Sink | None, capacity: int, recent: int = 4096) -> None:
        self._sink = sink
        self._capacity = capacity
        self._recent: deque[bytes] = deque(maxlen=recent)
        self._lock = threading.Lock()  # held for a few instructions, never while writing
        self._wake = threading.Event()
        self._lines: list[bytes] = []
        self._waiting = self._waiting_bytes = 0  # taken by `put`, not yet done with
        self._written = self._dropped = self._lost = self._errors = 0
        self._broken = self._closed = False
        self._idle = False  # the writer sleeps until somebody wakes it
        self._deadline: float | None = None  # monotonic; set by `close`
        self._writer = threading.Thread(target=self._run, name="records", daemon=True)

    def start(self) -> None:
        """Start the writer."""
        if self._sink is not None:
            self._writer.start()

    def put(self, lines: list[bytes]) -> None:
        """Take the lines of one batch; of those that do not fit the newest are dropped. Never waits."""
        self._recent.extend(lines)
        if self._sink is None:
            return
        size = sum(map(len, lines))
        with self._lock:
            count = len(lines)
            fits = self._waiting + count <= self._capacity and self._waiting_bytes + size <= WAITING_MAX_BYTES
            if not fits or self._deadline is not None:
                lines, size = self._fitting(lines)
                self._dropped += count - len(lines)
            self._lines += lines
            self._waiting += len(lines)
            self._waiting_bytes += size
            wake, self._idle = self._idle, False
        if wake:
            self._wake.set()

    def _fitting(self, lines: list[bytes]) -> tuple[list[bytes], int]:
        """Return the first lines that still fit, and their bytes; none once we are closing."""
        room = self._capacity - self._waiting if self._deadline is None else 0
        room_bytes = WAITING_MAX_BYTES - self._waiting_bytes
        size = 0
        for index, line in enumerate(lines[:room]):
            if size + len(line) > room_bytes:
                return lines[:index], size
            size += len(line)
        return lines[:room], size

    def find(self, decision_id: str) -> bytes | None:
        """Return the record of a recent decision, whether or not it was written, or None."""
        if not _DECISION_ID.fullmatch(decision_id):
            return None
        # No text of a client can hold this: its quotes are escaped.
        needle = f'"decision_id":"{decision_id}"'.encode()
        recent = list(self._recent)  # one step of the interpreter: nobody appends meanwhile
        return next((line for line in reversed(recent) if needle in line), None)

    @property
    def sink_name(self) -> str:
        """The sink's name, for metrics."""
        return self._sink.name if self._sink is not None else "off"

    def counts(self) -> RecordCounts:
        """Return what became of the lines so far."""
        with self._lock:
            return RecordCounts(self._written, self._dropped, self._lost, self._waiting, self._errors)

    def reopen(self) -> None:
        """Open the sink anew at the next line, after its file was moved."""
        if self._sink is not None:
            self._sink.reopen()

    def close(self, timeout_s: float) -> RecordCounts:
        """Write what waits, for at most `timeout_s`; count the rest as lost. Later lines are dropped."""
        with self._lock:
            self._deadline = time.monotonic() + timeout_s
        self._wake.set()
        if self._writer.ident is not None:
            self._writer.join(timeout_s)
        with self._lock:
            self._lost += self._waiting
            self._waiting = self._waiting_bytes = 0
            self._closed = True
        counts = self.counts()
        if counts.lost or counts.dropped:
            _log.warning("records are missing", sink=self.sink_name, lost=counts.lost, dropped=counts.dropped)
        return counts

    def _run(self) -> None:
        sink = self._sink
        while sink is not None and (data := self._take()) and self._write(sink, data):
            if not self._lines:
                self._wake.wait(PAUSE_S)  # cut short by `close` alone

    def _take(self) -> bytes:
        """Return the lines that go together, sleeping until there are some; nothing once we are closed."""
        while True:
            closing = self._deadline is not None  # asked first: what was put before `close` is still written
            if lines := self._taken():
                return b"".join(lines)
            if closing:
                return b""
            self._wake.wait()

    def _taken(self) -> list[bytes]:
        with self._lock:
            lines = self._lines[:TAKE_MAX]
            del self._lines[:TAKE_MAX]
            self._idle = not lines
            if self._deadline is None:
                self._wake.clear()
            return lines

    def _write(self, sink: Sink, data: bytes) -> bool:
        """Write all of it, trying again for as long as it takes; False where we close and must give up."""
        view, at = memoryview(data), 0
        pause_s = retry_s = RETRY_MIN_S
        while at < len(data):
            try:
                count = sink.write(view[at : at + WRITE_MAX_BYTES])
            except BlockingIOError:
                count, pause_s = 0, PAUSE_S  # a pipe that somebody made non-blocking, and full
            except OSError as error:
                self._failed(error)
                count, pause_s, retry_s = 0, retry_s, min(2 * retry_s, RETRY_MAX_S)
            if count:
                self._advance(data, at, at + count)
                at += count
            elif not self._rest(pause_s):
                return False
        return True

    def _advance(self, data: bytes, start: int, end: int) -> None:
        lines = data.count(b"\n", start, end)
        with self._lock:
            if not self._closed:  # what outlives `close` was counted as lost
                self._written += lines
                self._waiting -= lines
                self._waiting_bytes -= end - start
        if self._broken:
            self._broken = False
            _log.warning("records are written again", sink=self.sink_name, dropped=self._dropped)

    def _failed(self, error: OSError) -> None:
        self._errors += 1
        if not self._broken:  # one line for each outage, not for each try
            self._broken = True
            _log.error("records cannot be written", sink=self.sink_name, cause=error.strerror)

    def _rest(self, pause_s: float) -> bool:
        """Wait before another try; False where there shall be none."""
        if self._deadline is None:
            self._wake.wait(pause_s)
            return True
        if self._broken or time.monotonic() >= self._deadline:
            return False
        time.sleep(PAUSE_S)
        return True
