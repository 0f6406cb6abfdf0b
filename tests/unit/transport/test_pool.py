"""A fixed number of threads, a bounded queue, and a mark on what does not fit."""

from __future__ import annotations

import threading

from authz.transport.pool import Pool
from tests.support.proxy import eventually


class Work:
    """Something that takes as long as the test likes."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.go = threading.Event()
        self.shed: list[bool] = []
        self.running = 0

    def __call__(self) -> None:
        self.shed.append(self._pool.shedding)
        if not self._pool.shedding:
            self.running += 1
            self.go.wait(10)


def test_what_does_not_fit_runs_at_once_and_knows_it() -> None:
    pool = Pool(threads=1, waiting_max=1)
    work = Work(pool)
    pool.submit(work)
    assert eventually(lambda: work.running == 1)
    crowded = [pool.crowded]
    pool.submit(work)
    crowded.append(pool.crowded)
    assert crowded == [False, True]
    assert pool.submit(work).done()
    assert work.shed == [False, True]
    assert not pool.shedding
    work.go.set()
    assert eventually(lambda: work.shed == [False, True, False])
    pool.shutdown()


def test_a_thread_that_is_held_for_long_is_lent_another() -> None:
    pool = Pool(threads=1, waiting_max=4)
    work, held, done = Work(pool), threading.Event(), threading.Event()

    def watch() -> None:
        with pool.lent():
            held.set()
            done.wait(10)

    pool.submit(watch)
    assert held.wait(10)
    pool.submit(work)
    assert eventually(lambda: work.running == 1)
    work.go.set()
    done.set()
    pool.shutdown()


def test_threads_end_after_what_waits() -> None:
    before = set(threading.enumerate())
    pool = Pool(threads=3, waiting_max=4)
    ours = set(threading.enumerate()) - before
    work = Work(pool)
    work.go.set()
    pool.submit(work)
    pool.shutdown()
    assert eventually(lambda: not any(thread.is_alive() for thread in ours))
    assert work.shed == [False]
