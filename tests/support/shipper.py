"""A shipper as a process of its own, and the link to it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

from authz.model.sink import parse_sink
from authz.shipping import report
from authz.shipping.errand import Errand
from authz.shipping.report import Report

PATIENCE_S = 20.0


class ShipperProcess:
    """A started shipper. Ends with the `with` block, at once."""

    def __init__(self, errand: Errand) -> None:
        self.reports: list[Report] = []
        self._link, its_end = socket.socketpair()
        with its_end:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "authz.shipping.main", str(its_end.fileno())],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(its_end.fileno(),),
            )
        self._ears = Thread(target=self._hear, daemon=True)
        self._ears.start()
        report.send_errand(self._link, report.packed(errand))

    def __enter__(self) -> ShipperProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def said(self) -> Report:
        """What it reported last."""
        return self.reports[-1] if self.reports else Report()

    def drain(self) -> int:
        """Tell it to ship what is left; return how it ended."""
        self._link.sendall(report.DRAIN)
        return self.ended()

    def hang_up(self) -> int:
        """Leave it alone; return how it ended."""
        self._link.shutdown(socket.SHUT_RDWR)
        return self.ended()

    def ended(self) -> int:
        """Wait for its end; return how that was."""
        code = self.process.wait(PATIENCE_S)
        self._ears.join(PATIENCE_S)
        return code

    def kill(self) -> str:
        """End it at once, if it still runs; return what it logged."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(PATIENCE_S)
        self._ears.join(PATIENCE_S)
        self._link.close()
        if self.process.stderr is None or self.process.stderr.closed:
            return ""
        with self.process.stderr as log:
            return log.read().decode()

    def _hear(self) -> None:
        self.reports.extend(())
        for said in report.reports(self._link):
            self.reports.append(said)


def errand(spool: Path, *sinks: str, spool_bytes: int = 1 << 26, on_full: str = "drop_allows") -> Errand:
    """Return an errand to these sinks."""
    return Errand(spool, spool_bytes, on_full, tuple(map(parse_sink, sinks)), drain_s=15.0)


def until(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Wait until something is so."""
    deadline_s = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline_s, "it never came about"
        time.sleep(0.01)
