"""The process that ships records, started as `python -P -m authz.shipping.main FD`.

It ends when it is told to drain, or when whoever started it is gone; either way it first ships what it can.
Signals do not end it: they reach a whole group of processes, and what the others still write must be shipped.
"""

from __future__ import annotations

import faulthandler
import os
import select
import signal
import socket
import sys
import threading
import time
from contextlib import suppress

from authz.config.log import configure, get_logger, place_of
from authz.model.errors import ConfigError
from authz.record.ledger import Changes
from authz.shipping import report
from authz.shipping.open import open_sinks
from authz.shipping.report import DRAIN, REOPEN, Report
from authz.shipping.shipper import Shipper, open_spool

BEAT_S = 0.5  # between reports
DRAIN_LOOK_S = 0.02  # between looks whether all is shipped, at the end
CANNOT_RUN = 3
CRASHED = 1
# An earlier shipper whose parent was killed may still drain: it is waited for so long, beyond its time.
_PATIENCE_S = 2.0
_NICE = 5  # where processors are short, whoever answers goes first: a third as much is ours then
_RECEIVE_BYTES = 4096
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

_log = get_logger("shipping")


class Talk:
    """The shipper's end of the link: reports go out, words come in."""

    def __init__(self, end: socket.socket, shipper: Shipper) -> None:
        self._end = end
        self._shipper = shipper
        self._changes = Changes()
        self._rest = b""
        self._drain_by_s: float | None = None  # monotonic

    def run(self, drain_s: float) -> bool:
        """Talk until it is time to end; whether everything was shipped."""
        next_s = 0.0
        while not self._over():
            now_s = time.monotonic()
            if now_s >= next_s:
                next_s = now_s + BEAT_S
                if not self._shipper.whole:  # why is in the log; whoever started us starts another
                    os._exit(CRASHED)
                if self._shipper.moved():  # silence is noticed, too
                    self.tell()
            if self._hears(max(0.0, next_s - now_s)) and self._drain_by_s is None:
                self._drain_by_s = time.monotonic() + drain_s
                self._shipper.drain()
        return self._shipper.drained

    def _over(self) -> bool:
        if self._drain_by_s is None:
            return False
        return self._shipper.drained or time.monotonic() >= self._drain_by_s

    def _hears(self, wait_s: float) -> bool:
        """Wait for words; whether it is time to drain."""
        if self._drain_by_s is not None:
            time.sleep(min(wait_s, DRAIN_LOOK_S))
            return False
        if not select.select([self._end], [], [], wait_s)[0]:
            return False
        data = b""
        with suppress(OSError):
            data = self._end.recv(_RECEIVE_BYTES)
        words, self._rest = report.words(self._rest + data)
        if REOPEN in words:
            self._shipper.reopen()
        return not data or DRAIN in words

    def tell(self) -> None:
        """Report."""
        shipper = self._shipper
        said = Report(
            beat=True,
            changes=self._changes.since(shipper.samples(time.time_ns() // 1000)),
            sinks=shipper.states(),
            drained=shipper.drained,
            resident_bytes=resident_bytes(),
        )
        with suppress(OSError):  # it is gone: that is noticed where words are awaited
            self._end.sendall(report.encode(said) + b"\n")


def resident_bytes() -> int:
    """Return how much memory this process holds; 0: that cannot be seen just now."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - twice a second
            return int(file.read().split()[1]) * _PAGE_BYTES
    except OSError:  # no descriptor is free: no reason to end
        return 0


def main() -> None:
    """Ship what the link says."""
    faulthandler.enable()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    end = socket.socket(fileno=int(sys.argv[1]))
    with end:
        try:
            errand = report.receive_errand(end)
        except EOFError:
            return
        configure(errand.log_level)
        os.nice(_NICE)
        threading.excepthook = _crashed
        try:
            spool = open_spool(errand, errand.drain_s + _PATIENCE_S)
            shipper = Shipper(errand, open_sinks(errand), spool)
        except ConfigError as error:
            end.sendall(report.encode(Report(cannot=str(error))) + b"\n")
            raise SystemExit(CANNOT_RUN) from None
        signal.signal(signal.SIGHUP, lambda *_: shipper.reopen())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)  # blocked since before this process began
        shipper.start()
        talk = Talk(end, shipper)
        drained = talk.run(errand.drain_s)
        left = {state.name: state.waiting for state in shipper.states() if state.waiting}
        if left and not drained:
            _log.warning("records are left in the spool", bytes=left)
        closed = shipper.close()
        talk.tell()
        if not closed:
            os._exit(0)  # a sink that hangs must not keep us


def _crashed(crash: threading.ExceptHookArgs) -> None:
    # SECURITY: the kind and the place, never the message: it may quote what a client sent.
    if crash.exc_value is not None:
        _log.error("a bug of ours", kind=crash.exc_type.__name__, place=place_of(crash.exc_value))


if __name__ == "__main__":
    main()
