"""Records of one process: from its judging threads to standard output, a file, or the spool."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from pathlib import Path

from authz.config.settings import Settings
from authz.record.keeper import Diary, Keeper
from authz.record.numbers import Numbers
from authz.record.queue import Direct, Outlet, RecordCounts, RecordQueue
from authz.record.segment import new_stream
from authz.record.sinks import open_sink
from authz.record.spool import SpoolWriter
from authz.record.tally import Tally
from authz.record.turns import in_turns
from authz.wiring.shares import Share

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a private directory is made there
_MEMORY_BYTES = 32 * 1024 * 1024  # half of what a container has there unless somebody says otherwise
_DISK_BYTES = 1024 * 1024 * 1024


class Records:
    """What becomes of the records of one process.

    Args:
        sidecar: what records call this process.
        spool: where they are written to be shipped; None: this process writes them where they belong.
    """

    def __init__(self, settings: Settings, share: Share, sidecar: str, spool: Path | None) -> None:
        record, serve = settings.record, settings.serve
        self.numbers = Numbers(new_stream(time.time_ns() // 1_000_000), sidecar)
        self._spool = SpoolWriter(spool, self.numbers, spool_bytes(settings)) if spool is not None else None
        self.queue = RecordQueue(
            self._spool or _direct(settings, share),
            record.record_queue,
            share.of(record.record_recent) if serve.debug is not None else 0,  # who could ask?
            self.numbers,
            record.record_on_full,
        )
        self.diary = Diary(self.queue, self.numbers)
        self._sample_allows = record.record_sample_allows

    def keeper(self, tally: Tally) -> Keeper:
        """Return what keeps the records of one judging thread."""
        return Keeper(self.queue, tally, self.numbers, self._sample_allows)

    def start(self) -> None:
        """Begin to write.

        Raises:
            ConfigError: there is no writing to the spool, and never will be.
        """
        if self._spool is not None:
            self._spool.open()
        self.queue.start()

    def close(self, timeout_s: float) -> RecordCounts:
        """Write what waits, for at most so long."""
        return self.queue.close(timeout_s)


def is_shipped(settings: Settings) -> bool:
    """Whether another process brings records where they belong.

    Standard output or one file needs none, as long as nothing else is asked for: no second process, which
    takes memory in every pod.
    """
    record, traces = settings.record, settings.trace.trace_sink
    sinks = record.record_sink
    plain = not sinks or (len(sinks) == 1 and sinks[0].local and not record.record_file_max_bytes)
    asked = record.record_chain_key is not None or record.record_spool is not None
    return traces is not None or (bool(sinks) and (not plain or asked))


def spool_directory(settings: Settings) -> Path:
    """Return where records wait.

    In memory its name follows from where checks are answered: who comes after a process that was killed finds
    what that one left, and nobody else does.
    """
    if settings.record.record_spool is not None:
        return settings.record.record_spool
    named = "\n".join(sorted(str(address) for address in settings.serve.listen))
    name = f"authz-records-{os.geteuid()}-{hashlib.sha256(named.encode()).hexdigest()[:16]}"
    memory = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else Path(tempfile.gettempdir())
    return memory / name


def spool_bytes(settings: Settings) -> int:
    """Return how much may wait."""
    record = settings.record
    return record.record_spool_bytes or (_MEMORY_BYTES if record.record_spool is None else _DISK_BYTES)


def _direct(settings: Settings, share: Share) -> Outlet | None:
    sinks = settings.record.record_sink
    if not sinks:
        return None
    sink = in_turns(open_sink(sinks[0]), share.turn_fd)
    return Direct(sink) if sink is not None else None
