"""One worker: a process that a supervisor started, as `python -P -m authz.wiring.worker FD`.

It serves, tells how it stands, and ends when it is told to or when the supervisor is gone: a worker that
nobody watches would hold its socket against whoever is started next.
"""

from __future__ import annotations

import faulthandler
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from threading import Lock, Thread
from typing import Protocol

import msgspec

from authz.config.log import configure, get_logger
from authz.limits.inquiry import Answer, Inquiry, encode, inquiry_of
from authz.model.errors import ConfigError
from authz.model.latency import Exemplar
from authz.record.ledger import Changes
from authz.record.metrics import Samples
from authz.record.recent import Recent, Wanted, wanted_from
from authz.transport.routes import Readiness
from authz.wiring import link
from authz.wiring.child import CONFESS
from authz.wiring.link import Question, Report
from authz.wiring.shares import own_settings
from authz.wiring.watch import RECORDS_S

BEAT_S = 0.5  # between reports
# Of so many reports one carries numbers unasked: what a killed worker counted since is lost. To look at
# 10,000 series takes 8 ms of the interpreter, at 3,000 two.
BEATS_PER_COUNT = 4
CANNOT_RUN = 3
ORPHAN = 1  # exit code of one that did not drain after its supervisor was gone
_RECEIVE_BYTES = 4096
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_log = get_logger("wiring")


class Served(Protocol):
    """What a reporter asks the sidecar."""

    listening: bool
    draining: bool

    def progress(self) -> bool:
        """Whether every judge moved."""
        ...

    def readiness(self) -> Readiness:
        """Whether checks can be answered."""
        ...

    def numbers(self) -> Samples:
        """What was counted."""
        ...

    def examples(self) -> Sequence[Exemplar | None]:
        """Traced checks that stand for buckets of their durations."""
        ...

    def find(self, decision_id: str) -> bytes | None:
        """Return the record of a recent decision."""
        ...

    def recent_here(self, wanted: Wanted) -> Recent:
        """Return recent records of this process."""
        ...

    def shelved(self, inquiry: Inquiry) -> Answer:
        """Return how buckets in this process stand."""
        ...

    def stop(self) -> None:
        """Drain and end."""
        ...


class Reporter:
    """Tells the supervisor how this worker stands, on a thread of its own.

    Args:
        orphaned_s: how long draining may take once the supervisor is gone.
    """

    def __init__(self, end: socket.socket, orphaned_s: float) -> None:
        self._end = end
        self._orphaned_s = orphaned_s
        self._changes = Changes()
        self._lock = Lock()  # around each message
        self._rest = b""
        self._beats = 0
        self.served: Served | None = None  # set once there is something to tell about
        self._thread = Thread(target=self._run, name="reporter", daemon=True)

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def cannot(self, why: str) -> None:
        """Tell why this worker ends."""
        self._send(Report(cannot=why))

    def _run(self) -> None:
        with suppress(OSError):
            self._talk()
        self._orphaned()

    def _talk(self) -> None:
        next_s = 0.0
        while True:
            now_s = time.monotonic()
            if now_s >= next_s:
                next_s = now_s + BEAT_S
                self._beat()
            if select.select([self._end], [], [], max(0.0, next_s - now_s))[0] and not self._answer():
                return

    def _beat(self) -> None:
        served = self.served
        if served is None:
            self._send(Report(beat=True))
        elif served.progress():
            self._send(self._report(served, beat=True, count=self._beats % BEATS_PER_COUNT == 0))
            self._beats += 1

    def _answer(self) -> bool:
        """Answer what is asked; False where nobody is there to ask."""
        data = self._end.recv(_RECEIVE_BYTES)
        asked, self._rest = link.questions(self._rest + data)
        for question in asked:
            if question.buckets or question.recent:
                # To look at 100,000 takes half a second, at millions long enough to seem stuck.
                Thread(target=self._look, args=(question,), name="look", daemon=True).start()
            else:
                self._send(self._answered(question))
        return bool(data)

    def _answered(self, question: Question) -> Report:
        served = self.served
        if served is None:
            return Report(answers=question.number)
        line = served.find(question.find) if question.find else None
        report = self._report(served, beat=False, count=True)
        return msgspec.structs.replace(report, answers=question.number, line=(line or b"").decode())

    def _look(self, question: Question) -> None:
        """Answer about buckets or recent records, on a thread of its own."""
        report, served = Report(), self.served
        if served is not None:
            said = _said(served, question)
            # Last of all, since it also says how we stand now.
            report = msgspec.structs.replace(
                self._report(served, beat=False, count=False), line=said.decode()
            )
        with suppress(OSError):  # the supervisor is gone: the other thread sees to it
            self._send(msgspec.structs.replace(report, answers=question.number))

    def _report(self, served: Served, *, beat: bool, count: bool) -> Report:
        said = served.readiness()
        changes = self._changes.since(served.numbers()) if count else []
        listening = served.listening and not served.draining
        examples = list(served.examples()) if count else []
        return Report(
            beat,
            listening,
            said.ready,
            said.revision,
            said.why,
            changes,
            about=dict(said.about),
            examples=examples if any(examples) else [],
        )

    def _send(self, report: Report) -> None:
        with self._lock:
            self._end.sendall(link.encode(report) + b"\n")

    def _orphaned(self) -> None:
        """Drain; whoever does not manage to is ended."""
        _log.warning("the supervisor is gone: this worker drains and ends")
        if self.served is not None:
            self.served.stop()
            time.sleep(self._orphaned_s)
        os._exit(ORPHAN)


def _said(served: Served, question: Question) -> bytes:
    if question.recent:
        return encode(served.recent_here(wanted_from(question.recent)))
    return encode(served.shelved(inquiry_of(question.buckets.encode())))


def main() -> None:
    """Be the worker whose end of the link is the file of this number."""
    faulthandler.enable()
    faulthandler.register(CONFESS, all_threads=True)  # asked by a supervisor that gives up on us
    end = socket.socket(fileno=int(sys.argv[1]))
    try:
        settings, share = link.receive_begin(end)
    except EOFError:
        end.close()
        return
    configure(settings.log.log_level, worker=share.index)
    reporter = Reporter(end, settings.serve.drain_s + RECORDS_S)
    reporter.start()
    from authz.wiring.sidecar import Sidecar

    try:
        sidecar = Sidecar(own_settings(settings, share.index), share)
        reporter.served = sidecar
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: sidecar.stop())
        signal.signal(signal.SIGHUP, lambda *_: sidecar.reopen())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)  # blocked since before this process began
        sidecar.run()
    except ConfigError as error:
        reporter.cannot(str(error))
        raise SystemExit(CANNOT_RUN) from None


if __name__ == "__main__":
    main()
