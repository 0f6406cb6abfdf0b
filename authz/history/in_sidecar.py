"""The recent records of a running sidecar, asked at its debug socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from authz.history.line import Chunk, Place
from authz.history.source import Item, Note
from authz.record.recent import COUNT_MAX, OLDEST, Page

_SLOWLY_S = 0.5  # between questions, while somebody follows

Ask = Callable[[str], Page]  # takes a query


class SidecarSource:
    """What a sidecar keeps of its latest decisions, all of its workers.

    Args:
        name: its address.
        ask: asks it.
        wait: waits so many seconds.
    """

    total = 0  # nobody knows

    def __init__(self, name: str, ask: Ask, wait: Callable[[float], None]) -> None:
        self._name = name
        self._ask = ask
        self._wait = wait
        self._cursor = OLDEST
        self._silent: set[int] = set()
        self.done = 0

    @property
    def name(self) -> str:
        """See `Source.name`."""
        return self._name

    def read(self) -> Iterator[Item]:
        """See `Source.read`."""
        more = True
        while more:
            page = self._next()
            more = page.more
            yield from self._items(page)
            if page.missed:
                yield Note(f"{self._name} keeps the latest records alone: there were earlier ones")

    def read_back(self) -> Iterator[Item] | None:
        """See `Source.read_back`: a few thousand are there, and pages come in their order."""
        return None

    def cannot_follow(self) -> str:
        """See `Source.cannot_follow`."""
        return ""

    def poll(self, wait_s: float) -> list[Item]:
        """See `Source.poll`."""
        self._wait(min(wait_s, _SLOWLY_S))
        page = self._next()
        items = list(self._items(page))
        if page.missed:
            items.insert(0, Note(f"{self._name} decided more than it keeps: some records are not shown here"))
        return items

    def close(self) -> None:
        """See `Source.close`: each question has a connection of its own."""

    def _next(self) -> Page:
        page = self._ask(f"count={COUNT_MAX}&after={self._cursor}")
        self._cursor = page.cursor
        return page

    def _items(self, page: Page) -> Iterator[Item]:
        self.done += len(page.records)
        fresh = set(page.silent) - self._silent
        self._silent = set(page.silent)
        if fresh:
            workers = ", ".join(map(str, sorted(fresh)))
            yield Note(f"these workers did not answer in time, and their records are not shown: {workers}")
        if page.records:
            yield Chunk(b"".join(bytes(record) + b"\n" for record in page.records), Place(self._name))
