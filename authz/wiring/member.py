"""One worker's place: who fills it now, and what happens when nobody does."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from authz.config.log import get_logger
from authz.config.settings import Settings
from authz.wiring.child import Child
from authz.wiring.link import Begin, Question, Report, packed
from authz.wiring.lives import STEADY_S, Lives, how_ended
from authz.wiring.shares import Share

START_S = 60.0  # without a word from one that was just started: reading our code takes a second or two
CAUSES = ("died", "stuck")  # why a worker was started anew
MARGIN_S = 2.0  # on top of what draining and writing records may take

_log = get_logger("wiring")


class Member:
    """One worker's place. `start`, `look` and `end` belong to the supervisor's own thread.

    Args:
        spool: see `Share`.
        heard: called with each report, by any thread.
        ended: called when a worker has ended and said its last.
        wake: called when there may be something to look at.
    """

    def __init__(
        self,
        index: int,
        settings: Settings,
        turn_fd: int,
        spool: Path | None,
        heard: Callable[[Member, Report], None],
        ended: Callable[[Member], None],
        wake: Callable[[], None],
    ) -> None:
        self.index = index
        self.life = -1  # how often it was started before
        self.seen = False  # whether it has ever taken calls
        self.restarts: Counter[str] = Counter()
        self.cannot = ""  # why it could not begin
        self._settings = settings
        self._turn_fd = turn_fd
        self._spool = spool
        self._heard, self._ended, self._wake = heard, ended, wake
        self._child: Child | None = None
        self._lives = Lives()
        self._silent_s = self._served_s = 0.0
        self._cause = ""  # why it is being ended
        self._due_s = 0.0  # when the next start is

    @property
    def said(self) -> Report | None:
        """What the worker last said; None where there is none."""
        return self._child.said if self._child is not None else None

    @property
    def up(self) -> bool:
        """Whether it takes calls."""
        said = self.said
        return said is not None and said.listening and not self._cause

    @property
    def state(self) -> str:
        """Its revision, or what is the matter with it."""
        said = self.said
        if said is None:
            return "ended"
        if not said.listening or self._cause:
            return "draining" if self._served_s else said.why or "starting"
        return said.revision if said.ready else said.why

    @property
    def backoff_s(self) -> float:
        """How long the next start is put off."""
        return self._lives.backoff_s

    @property
    def resident_bytes(self) -> int | None:
        """Memory that the worker holds; None where nobody knows."""
        if self._child is None:
            return None
        try:
            pages = Path(f"/proc/{self._child.pid}/statm").read_text(encoding="ascii").split()[1]
        except (OSError, IndexError):
            return None
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    @property
    def cpu_s(self) -> float | None:
        """Processor time that the worker took; None where nobody knows."""
        if self._child is None:
            return None
        try:
            # The name of the program stands in brackets, and may hold anything. Source: proc(5).
            fields = (
                Path(f"/proc/{self._child.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
            )
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except (OSError, IndexError, ValueError):
            return None

    def start(self) -> None:
        """Start a worker."""
        self.life += 1
        self._silent_s = self._served_s = 0.0
        self._cause = self.cannot = ""
        share = Share(self.index, self._settings.serve.workers, self.life, self._turn_fd, self._spool)
        self._child = Child(packed(Begin(self._settings, share)), self._turn_fd, self._hear)

    def ask(self, question: Question) -> bool:
        """Ask the worker; False where it cannot be asked."""
        return self._child is not None and self._child.ask(question)

    def send(self, number: signal.Signals) -> None:
        """Send the worker a signal."""
        if self._child is not None:
            self._child.send(number)

    def look(self, now_s: float, elapsed_s: float) -> None:
        """See how the worker is after `elapsed_s` more, and do what must be done."""
        child = self._child
        if child is None:
            if now_s >= self._due_s:
                self.start()
            return
        code = child.code()
        if code is None:
            self._age(child, elapsed_s)
        else:
            self._bury(child, code, now_s)
            if now_s >= self._due_s and not self.cannot:
                self.start()

    def end(self) -> None:
        """Kill the worker, if there still is one, and hear its last words."""
        child, self._child = self._child, None
        if child is not None:
            if child.code() is None:
                _log.error("a worker did not drain in time and is killed", worker=self.index)
                child.kill()
            child.bury()
            self._ended(self)

    @property
    def gone(self) -> bool:
        """Whether no process fills this place."""
        return self._child is None or self._child.code() is not None

    def _age(self, child: Child, elapsed_s: float) -> None:
        self._silent_s += elapsed_s
        self._served_s += elapsed_s if child.said.listening else 0.0
        if self._served_s >= STEADY_S:
            self._lives.steady()
        if self._silent_s >= (self._settings.serve.stuck_after_s if child.spoke else START_S):
            _log.error(
                "a worker is stuck and is killed", worker=self.index, pid=child.pid, silent_s=self._silent_s
            )
            self._cause = CAUSES[1]
            child.kill()

    def _bury(self, child: Child, code: int, now_s: float) -> None:
        child.bury()
        self.cannot = child.said.cannot
        self._child = None
        self._ended(self)
        cause = self._cause or CAUSES[0]
        self.restarts[cause] += 1
        wait_s = self._lives.died(self._served_s)
        self._due_s = now_s + wait_s
        _log.warning(
            "a worker ended and is started anew",
            worker=self.index,
            pid=child.pid,
            how=how_ended(code),
            cause=cause,
            served_s=round(self._served_s, 1),
            restart_in_s=wait_s,
            **({"why": self.cannot} if self.cannot else {}),
        )

    def _hear(self, report: Report | None) -> None:
        if report is None:
            self._wake()
            return
        if report.beat:
            self._silent_s = 0.0
        self.seen = self.seen or report.listening
        self._heard(self, report)
