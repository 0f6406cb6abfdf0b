"""The process that ships records, as its parent sees it: started, watched, started anew, and ended last."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock, Thread

from pydantic import SecretBytes

from authz.config.log import get_logger
from authz.config.settings import Settings
from authz.record.ledger import Ledger
from authz.record.metrics import Sample, Samples
from authz.record.segment import is_stream
from authz.record.spool import make_private
from authz.shipping import report as link
from authz.shipping.errand import Access, Errand
from authz.shipping.report import Report, SinkState
from authz.wiring.lives import Lives, how_ended
from authz.wiring.records import spool_bytes, spool_directory

_MODULE = "authz.shipping.main"
_SILENT_S = 30.0  # without a word from one that is well: it speaks twice a second
_MARGIN_S = 2.0  # on top of what it may take to ship what is left
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# SECURITY: of our environment it gets what finds programs and certificates, and nothing that is a secret.
_PASSED = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "VIRTUAL_ENV")
_PASSED_PREFIXES = ("LC_", "PYTHON", "COVERAGE", "COV_")

_log = get_logger("wiring")


class Shipping:
    """One shipper at a time, for one spool. Its thread starts another whenever one ends.

    Args:
        settings: of the whole sidecar, not of one of its workers.
    """

    def __init__(self, settings: Settings) -> None:
        self.spool = spool_directory(settings)
        self._errand = link.packed(errand_of(settings, self.spool))
        self._in_memory = settings.record.record_spool is None
        self._drain_s = settings.record.record_drain_s
        self._ended = Event()
        self._lock = Lock()  # guards what follows
        self._ledger = Ledger()
        self._states: Sequence[SinkState] = ()
        self._child: _Child | None = None
        self._restarts = 0
        self._lives = Lives()
        self._thread = Thread(target=self._run, name="shipping", daemon=True)

    def start(self) -> None:
        """Start the first."""
        self._thread.start()

    def reopen(self) -> None:
        """Have files opened anew, after they were moved."""
        with self._lock:
            if self._child is not None:
                self._child.say(link.REOPEN)

    def samples(self) -> Samples:
        """Return what was counted of shipping."""
        with self._lock:
            up = self._child is not None and self._child.spoke
            own: dict[str, Sequence[Sample]] = {
                "authz_shipper_up": [((), float(up))],
                "authz_shipper_restarts_total": [((), self._restarts)],
            }
            return {**self._ledger.samples(), **own}

    def about(self) -> dict[str, str]:
        """Return which sinks are down, as a field of `/ready`."""
        with self._lock:
            if self._restarts and not (self._child is not None and self._child.spoke):
                return {"records": "none is shipped: the process that ships them ended, see the log"}
            down = [f"{state.name}: {state.why}" for state in self._states if not state.up]
        return {"records": "; ".join(down)} if down else {}

    def close(self) -> None:
        """Ship what is left, for as long as the operator gives, then end. Nobody writes any more."""
        self._ended.set()
        with self._lock:
            if self._child is not None:
                self._child.say(link.DRAIN)
        if self._thread.ident is not None:
            self._thread.join(self._drain_s + _MARGIN_S)
        with self._lock:
            if self._child is not None:
                _log.error("records were not shipped in time", left_in=str(self.spool))
                self._child.kill()
        if self._in_memory:
            _tidy(self.spool)

    def _run(self) -> None:
        while True:
            began_s, how = time.monotonic(), ""
            try:
                how = how_ended(self._live())
            except OSError as error:  # no process can be had just now
                _log.error("records cannot be shipped", why=error.strerror)
            if self._ended.is_set():
                return
            wait_s = self._lives.died(time.monotonic() - began_s)
            self._restarts += 1
            _log.warning(
                "the process that ships records ended and is started anew", how=how, restart_in_s=wait_s
            )
            self._ended.wait(wait_s)  # cut short by `close`: one more shall ship what is left

    def _live(self) -> int:
        """Start one, and hear what it says until it ends; return its exit code."""
        make_private(self.spool)
        child = _Child(self._errand)
        with self._lock:
            self._child = child
            if self._ended.is_set():
                child.say(link.DRAIN)
        for said in child.reports():
            self._take(said)
        code = child.end()
        with self._lock:
            self._child, self._states = None, ()
            self._ledger.ended("")
        return code

    def _take(self, said: Report) -> None:
        if said.cannot:
            _log.error("records cannot be shipped", why=said.cannot)
            return
        with self._lock:
            self._ledger.take("", said.changes)
            self._states = said.sinks


class _Child:
    """A started shipper."""

    def __init__(self, errand: bytes) -> None:
        self.spoke = False
        self._link, its_end = socket.socketpair()
        with its_end:
            self._process = _spawn(its_end.fileno())
        self._link.settimeout(_SILENT_S)
        with suppress(OSError):  # it is dead already
            link.send_errand(self._link, errand)

    def say(self, word: bytes) -> None:
        """Say a word, unless it is gone."""
        with suppress(OSError):
            self._link.sendall(word)

    def reports(self) -> Generator[Report]:
        """Yield what it says until it is gone, or has been silent for too long."""
        for said in link.reports(self._link):
            self.spoke = True
            yield said

    def kill(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            self._process.kill()

    def end(self) -> int:
        """See that it has ended: one that closed its end, or says nothing, has nothing more to do."""
        self._link.close()
        try:
            return self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()


def errand_of(settings: Settings, spool: Path) -> Errand:
    """Return what a shipper is told of the settings."""
    record = settings.record
    return Errand(
        spool=spool,
        spool_bytes=spool_bytes(settings),
        on_full=record.record_on_full,
        sinks=record.record_sink,
        access=Access(
            timeout_s=record.record_timeout_s,
            ca=record.record_ca,
            cert=record.record_cert,
            key=record.record_key,
            http_token=_text(record.record_http_token),
            redis_user=record.record_redis_user,
            redis_password=_text(record.record_redis_password),
            redis_max_len=record.record_redis_max_len,
            kafka_user=record.record_kafka_user,
            kafka_password=_text(record.record_kafka_password),
        ),
        traces=settings.trace.trace_sink,
        trace_service=settings.trace.trace_service,
        chain_key=record.record_chain_key,
        file_max_bytes=record.record_file_max_bytes,
        file_keep=record.record_file_keep,
        drain_s=record.record_drain_s,
        log_level=settings.log.log_level,
    )


def _tidy(spool: Path) -> None:
    """Give memory back, unless somebody shall still ship what is there, or does."""
    with suppress(OSError):
        if not any(is_stream(entry.name) for entry in spool.iterdir()):
            shutil.rmtree(spool)


def _text(secret: SecretBytes | None) -> str:
    return secret.get_secret_value().decode("utf-8", "surrogateescape") if secret is not None else ""


def _environment() -> Mapping[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED or name.startswith(_PASSED_PREFIXES)
    }


def _spawn(link_fd: int) -> subprocess.Popen[bytes]:
    """Start a shipper whose signals wait until it is able to take them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-m", _MODULE, str(link_fd)],
            stdin=subprocess.DEVNULL,
            pass_fds=(link_fd,),
            env=_environment(),
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
