"""The thread that keeps the last good set for the next start.

A thread of its own, since a disk may take seconds, or hang: neither checks nor the next reload wait for it.
"""

from __future__ import annotations

from collections import Counter
from threading import Condition, Thread
from typing import NamedTuple

from authz.config.log import get_logger, place_of
from authz.model.errors import StateUnusable
from authz.snapshot.parts import Parts
from authz.snapshot.state import State

_PAUSE_S = 1.0  # between two writes: of sets that follow each other faster, the last is kept
_CLOSE_S = 2.0

_log = get_logger("wiring")


class _Good(NamedTuple):
    revision: str
    parts: Parts
    known_us: int


class Keeping:
    """Keeps what is good, and says once where it cannot.

    Args:
        pause_s: between two writes.
    """

    def __init__(self, state: State, pause_s: float = _PAUSE_S) -> None:
        self._state = state
        self._pause_s = pause_s
        self._news = Condition()
        self._next: _Good | None = None
        self._ended = False
        self._problem = ""
        self._thread = Thread(target=self._run, name="state", daemon=True)
        self.results: Counter[str] = Counter()  # `written`, `failed`

    def start(self) -> None:
        """Begin to keep."""
        self._thread.start()

    def note(self, revision: str, parts: Parts, known_us: int) -> None:
        """Have the set in force kept, soon; see `State.keep`."""
        with self._news:
            self._next = _Good(revision, parts, known_us)
            self._news.notify()

    def close(self) -> None:
        """Keep what was noted last, and no more. A disk that hangs is left to itself after a moment."""
        with self._news:
            self._ended = True
            self._news.notify()
        if self._thread.ident is not None:
            self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        while (good := self._awaited()) is not None:
            written = self._keep(good)
            with self._news:
                self._news.wait_for(lambda: self._ended, self._pause_s if written else 0)

    def _awaited(self) -> _Good | None:
        with self._news:
            self._news.wait_for(lambda: self._ended or self._next is not None)
            good, self._next = self._next, None
            return good

    def _keep(self, good: _Good) -> bool:
        try:
            written = self._state.keep(*good)
        except StateUnusable as error:
            self._failed(str(error))
            return True
        except Exception as error:  # noqa: BLE001 - whatever a disk does, the set is served
            self._failed(
                f"keeping it crashed ({type(error).__name__} at {place_of(error)}): please report it"
            )
            return True
        if written:
            self.results["written"] += 1
        if self._problem:
            self._problem = ""
            _log.info("the last good set is kept again", revision=good.revision)
        return written

    def _failed(self, problem: str) -> None:
        self.results["failed"] += 1
        if problem != self._problem:
            self._problem = problem
            _log.warning("the last good set is not kept: a restart cannot begin with it", why=problem)
