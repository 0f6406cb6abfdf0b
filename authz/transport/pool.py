"""Threads for grpcio's sync server: a fixed number of them, a bounded queue, and a quick no beyond it.

The library's own executor would queue without end: every call that waits there has used up its time by the
moment it is looked at, and so has the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Thread, local
from typing import Any

_Work = tuple[Callable[..., object], tuple[Any, ...]]


class Pool(Executor):
    """Runs calls on `threads` threads; when `waiting_max` wait, at once on the thread that brings the call.

    Args:
        threads: how many calls are worked on at once.
        waiting_max: how many may wait for a thread.
    """

    def __init__(self, threads: int, waiting_max: int) -> None:
        self._waiting: SimpleQueue[_Work | None] = SimpleQueue()
        self._waiting_max = waiting_max
        self._here = local()
        self._done: Future[Any] = Future()  # the server asks each future only to be told of its end
        self._done.set_result(None)
        self._threads = threads
        for _ in range(threads):
            self._add()

    def _add(self) -> None:
        # Daemons: a call that is stuck must not keep the process from ending.
        Thread(target=self._run, name="call", daemon=True).start()

    @property
    def shedding(self) -> bool:
        """Whether the call that asks is one too many: it must answer without waiting for anything."""
        return getattr(self._here, "shedding", False)

    @property
    def crowded(self) -> bool:
        """Whether calls wait for a thread."""
        return not self._waiting.empty()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """One thread more, while the one that asks is held for long."""
        self._add()
        try:
            yield
        finally:
            self._waiting.put(None)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **_: Any) -> Future[Any]:
        """Run a call: soon, on a thread of ours; or at once on this one, marked as `shedding`."""
        if self._waiting.qsize() < self._waiting_max:
            self._waiting.put((fn, args))
            return self._done
        self._here.shedding = True
        try:
            fn(*args)
        finally:
            self._here.shedding = False
        return self._done

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let each thread end after what waits; nobody waits for them."""
        for _ in range(self._threads):
            self._waiting.put(None)

    def _run(self) -> None:
        while (work := self._waiting.get()) is not None:
            fn, args = work
            fn(*args)
            # A call that has ended must not live on until the next one comes.
            del work, fn, args
