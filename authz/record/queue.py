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
from datetime import datetime
from typing import NamedTuple, Protocol

from authz.config.log import get_logger
from authz.record.notice import Why, gap_line
from authz.record.numbers import Numbers
from authz.record.recent import Recent, Wanted, recent_of
from authz.record.sinks import Sink
from authz.record.waiting import KEPT_SHARE, WAITING_MAX_BYTES, OnFull, Take, Waiting

# Lines wait so long for company: 100 leave together at 10,000 checks/s. Shorter costs wake-ups, each of which
# takes the interpreter from the judging thread; longer costs memory and freshness.
PAUSE_S = 0.01
WRITE_MAX_BYTES = 256 * 1024  # of one system call: a slow reader must not hide progress
RETRY_MIN_S, RETRY_MAX_S = 0.1, 5.0

_DECISION_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(rb'"time":"(\d{4}-\d\d-\d\dT[\d:.]{8,15}Z)"')  # no text of a client can hold this, either
_LINE_HEAD = 256  # bytes of a line in which its time and its id stand
_GAP_END = f'"why":"{Why.QUEUE_FULL}"}}\n'.encode()  # no text of a client can hold this

_log = get_logger("record")


class RecordCounts(NamedTuple):
    """What became of the lines. `waiting` are neither yet."""

    written: int
    dropped: int
    lost: int
    waiting: int
    errors: int  # failed tries of the sink


class Outlet(Protocol):
    """What the writer writes to: a sink that takes bytes, or a spool that takes blocks."""

    @property
    def name(self) -> str:
        """Its name in metrics."""
        ...

    @property
    def most_bytes(self) -> int:
        """How much it takes at once."""
        ...

    def write(self, take: Take, at: int) -> int:
        """Write some of a take, from its byte `at` on; return how many bytes. May block.

        Raises:
            BlockingIOError: it can take nothing just now.
            OSError: it is broken, or full; the caller waits and tries again.
        """
        ...

    def reopen(self) -> None:
        """See `Sink.reopen`."""
        ...

    def close(self) -> None:
        """Nothing more comes."""
        ...


class Direct:
    """A sink that takes bytes, as an outlet."""

    __slots__ = ("_sink",)
    most_bytes = WAITING_MAX_BYTES

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    @property
    def name(self) -> str:
        """See `Outlet.name`."""
        return self._sink.name

    def write(self, take: Take, at: int) -> int:
        """See `Outlet.write`."""
        return self._sink.write(memoryview(take.data)[at : at + WRITE_MAX_BYTES])

    def reopen(self) -> None:
        """See `Outlet.reopen`."""
        self._sink.reopen()

    def close(self) -> None:
        """Do nothing: what was written is where it belongs."""


class RecordQueue:
    """Takes lines from judging threads and hands them to an outlet. Begins with `start`, ends with `close`.

    Args:
        outlet: where lines go; None: nowhere, only the recent ones are kept.
        capacity: lines that may wait, written or not.
        recent: lines that `find` can see.
        numbers: whose stream the lines belong to.
        on_full: what is given up where more come than go; see the setting.
    """

    def __init__(
        self,
        outlet: Outlet | None,
        capacity: int,
        recent: int = 4096,
        numbers: Numbers | None = None,
        on_full: OnFull = "drop",
    ) -> None:
        self._outlet = outlet
        self._most_bytes = outlet.most_bytes if outlet is not None else 0
        self._numbers = numbers or Numbers()
        self._recent: deque[bytes] = deque(maxlen=recent)
        self._lock = threading.Lock()  # held for a few instructions, never while writing
        self._wake = threading.Event()
        self._waiting = Waiting(capacity, on_full, self._gap_line)
        self._writing: Take | None = None  # what the writer took last; None: nothing waited
        self._written = self._dropped = self._lost = self._errors = 0
        self._denies_from = capacity - capacity // KEPT_SHARE if on_full == "deny" else 0
        self.full = False  # whether no check shall be answered: its record could not be kept
        self._broken = self._closed = False
        self._idle = False  # the writer sleeps until somebody wakes it
        self._deadline: float | None = None  # monotonic; set by `close`
        self._writer = threading.Thread(target=self._run, name="records", daemon=True)

    def start(self) -> None:
        """Start the writer."""
        if self._outlet is not None:
            self._writer.start()

    def put(self, lines: list[bytes], missing: int = 0) -> None:
        """Take the lines of one batch; what does not fit is dropped, counted and declared. Never waits.

        Args:
            missing: how many more belong to it, for which there is no line.
        """
        self._recent.extend(lines)
        if self._outlet is None:
            return
        waiting = self._waiting
        with self._lock:
            if self._deadline is None:
                self._dropped += waiting.put(lines)
            else:
                missing += len(lines)
            for _ in range(missing):
                waiting.miss()
            self._dropped += missing
            if self._denies_from and waiting.count >= self._denies_from:
                self.full = True
            wake, self._idle = self._idle, False
        if wake:
            self._wake.set()

    def _gap_line(self, first_seq: int, last_seq: int, count: int, allows: int) -> bytes:
        numbers, now_us = self._numbers, time.time_ns() // 1000
        return gap_line(
            numbers.sidecar, numbers.stream, first_seq, last_seq, count, Why.QUEUE_FULL, now_us, allows
        )

    def find(self, decision_id: str) -> bytes | None:
        """Return the record of a recent decision, whether or not it was written, or None."""
        if not _DECISION_ID.fullmatch(decision_id):
            return None
        # No text of a client can hold this: its quotes are escaped. A header that is recorded may have that
        # name, further on.
        needle = f'"decision_id":"{decision_id}"'.encode()
        recent = list(self._recent)  # one step of the interpreter: nobody appends meanwhile
        return next((line for line in reversed(recent) if line.find(needle, 0, _LINE_HEAD) >= 0), None)

    def recent(self, wanted: Wanted) -> Recent:
        """Return recent records, whether or not they were written."""
        kept = list(self._recent)  # as above
        return recent_of(kept, wanted, full=len(kept) == self._recent.maxlen)

    @property
    def capacity(self) -> int:
        """How many lines may wait."""
        return self._waiting.capacity

    @property
    def sink_name(self) -> str:
        """The sink's name, for metrics."""
        return self._outlet.name if self._outlet is not None else "off"

    def counts(self) -> RecordCounts:
        """Return what became of the lines so far."""
        with self._lock:
            return RecordCounts(self._written, self._dropped, self._lost, self._waiting.count, self._errors)

    def waited_s(self, now_us: int) -> float:
        """Return for how long the oldest line has been waiting, by the time that stands in it; 0: none is.

        Args:
            now_us: wall clock, microseconds since 1970.
        """
        with self._lock:
            if not self._waiting.count:
                return 0.0
            first = self._writing.data[:_LINE_HEAD] if self._writing is not None else self._waiting.first()
        found = _TIME.search(first)
        if found is None:
            return 0.0
        return max(0.0, now_us / 1e6 - datetime.fromisoformat(found[1].decode()).timestamp())

    def reopen(self) -> None:
        """Open the sink anew at the next line, after its file was moved."""
        if self._outlet is not None:
            self._outlet.reopen()

    def close(self, timeout_s: float) -> RecordCounts:
        """Write what waits, for at most `timeout_s`; count the rest as lost. Later lines are dropped."""
        with self._lock:
            self._deadline = time.monotonic() + timeout_s
        self._wake.set()
        if self._writer.ident is not None:
            self._writer.join(timeout_s)
        with self._lock:
            self._lost += self._waiting.count
            self._waiting.done(self._waiting.count, self._waiting.bytes)
            self._closed = True
        counts = self.counts()
        if counts.lost or counts.dropped:
            _log.warning("records are missing", sink=self.sink_name, lost=counts.lost, dropped=counts.dropped)
        return counts

    def _run(self) -> None:
        outlet = self._outlet
        while outlet is not None and (take := self._take()) and self._write(outlet, take):
            if not self._waiting:
                self._wake.wait(PAUSE_S)  # cut short by `close` alone
        if outlet is not None:
            outlet.close()

    def _take(self) -> Take | None:
        """Return the lines that go together, sleeping until there are some; None once we are closed."""
        while True:
            closing = self._deadline is not None  # asked first: what was put before `close` is still written
            if (take := self._taken()) is not None or closing:
                return take
            self._wake.wait()

    def _taken(self) -> Take | None:
        with self._lock:
            take = self._waiting.take(most_bytes=self._most_bytes)
            self._idle, self._writing = take is None, take
            if self._deadline is None:
                self._wake.clear()
            return take

    def _write(self, outlet: Outlet, take: Take) -> bool:
        """Write all of it, trying again for as long as it takes; False where we close and must give up."""
        at = 0
        pause_s = retry_s = RETRY_MIN_S
        while at < len(take.data):
            try:
                count = outlet.write(take, at)
            except BlockingIOError:
                count, pause_s = 0, PAUSE_S  # a pipe that somebody made non-blocking, and full
            except OSError as error:
                self._failed(error)
                count, pause_s, retry_s = 0, retry_s, min(2 * retry_s, RETRY_MAX_S)
            if count:
                self._advance(take, at, at + count)
                at += count
            elif not self._rest(pause_s):
                return False
        return True

    def _advance(self, take: Take, start: int, end: int) -> None:
        records = take.data.count(b"\n", start, end)
        if take.gaps:
            records -= take.data.count(_GAP_END, 0, end) - take.data.count(_GAP_END, 0, start)
        with self._lock:
            if not self._closed:  # what outlives `close` was counted as lost
                self._written += records
                self._waiting.done(records, end - start)
                if self.full and self._waiting.count < self._denies_from // 2:
                    self.full = False
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
