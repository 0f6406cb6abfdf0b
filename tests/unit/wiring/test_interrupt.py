"""A thread ends wherever it is, unless it is in a library."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Event, Thread

from authz.wiring.interrupt import Interrupted, interrupt


def started(work: Callable[[], object]) -> Thread:
    begun = Event()

    def run() -> None:
        with suppress(Interrupted):
            begun.set()
            work()

    thread = Thread(target=run, daemon=True)
    thread.start()
    assert begun.wait(10)
    return thread


def for_ever() -> Iterator[None]:
    while True:
        yield


def test_a_thread_that_works_for_ever_ends() -> None:
    assert interrupt(started(lambda: [None for _ in for_ever()]), 20)


def test_a_thread_that_goes_on_after_exceptions_ends() -> None:
    def stubborn() -> None:
        while True:
            with suppress(Exception):
                sum(range(1000))

    assert interrupt(started(stubborn), 20)


def test_a_thread_that_waits_in_a_library_is_given_up() -> None:
    released = Event()
    thread = started(released.wait)
    assert not interrupt(thread, 0.2)
    released.set()
    thread.join(20)
    assert not thread.is_alive()


def test_a_thread_that_has_ended_or_never_began_needs_nothing() -> None:
    thread = started(lambda: None)
    thread.join()
    assert interrupt(thread, 0.1)
    assert interrupt(Thread(target=print), 0.1)
