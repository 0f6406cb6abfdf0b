"""The last records, and those that come: what `authz logs tail` does between options and exit code."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from authz.cli.logs_print import Printer
from authz.history.line import Found
from authz.history.scan import Scan
from authz.history.source import Item, Note, Source
from authz.model.errors import ConfigError

_WAIT_S = 0.5  # for one source to have something
_AWAY_S = 1.0  # before a source that failed is asked again


def last(sources: Sequence[Source], scan: Scan, printer: Printer, count: int) -> list[Found]:
    """Return the last records of all sources together, in the order of their time."""
    found = [one for source in sources for one in _last_of(source, scan, printer, count)]
    if len(sources) > 1:
        found.sort(key=lambda one: one.entry.time)
    return found[max(0, len(found) - count) :]


def _last_of(source: Source, scan: Scan, printer: Printer, count: int) -> list[Found]:
    back = source.read_back()
    chunks = _found(source.read() if back is None else back, source, scan, printer)
    if back is None:
        kept: deque[Found] = deque(maxlen=count)
        for chunk in chunks:
            kept.extend(chunk)
        return list(kept)
    found: list[Found] = []
    for chunk in chunks:
        found = chunk + found
        if len(found) >= count:
            break
    return found[max(0, len(found) - count) :]


def _found(items: Iterable[Item], source: Source, scan: Scan, printer: Printer) -> Iterable[list[Found]]:
    for item in items:
        if isinstance(item, Note):
            printer.note(item.what)
        else:
            yield scan.take(item)
            printer.progress(source, scan.tally)


class Follower:
    """Shows what comes, until nobody reads it any more.

    Args:
        wait: waits so many seconds.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        scan: Scan,
        printer: Printer,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._sources, self._scan, self._printer = sources, scan, printer
        self._wait = wait
        self._away: set[str] = set()
        self._told = 0  # unreadable lines

    def run(self) -> None:
        """Follow without end."""
        while not self._printer.is_alone():
            for source in self._sources:
                self.look(source)

    def look(self, source: Source) -> None:
        """Show what came from one source; one that does not answer any more may come back."""
        try:
            items = source.poll(_WAIT_S / len(self._sources))
        except ConfigError as error:
            if source.name not in self._away:
                self._away.add(source.name)
                # What would mend a first question is no advice here.
                self._printer.note(f"{str(error).partition(';')[0]}; it is asked again until it answers")
            self._wait(_AWAY_S)
            return
        if source.name in self._away:
            self._away.remove(source.name)
            self._printer.note(f"{source.name} answers again")
        for item in items:
            self._show(item)

    def _show(self, item: Item) -> None:
        if isinstance(item, Note):
            self._printer.note(item.what)
            return
        self._printer.show(self._scan.take(item))
        flaw, count = self._scan.tally.last_flaw, self._scan.tally.unreadable
        if flaw is not None and count > self._told:
            self._told = count
            self._printer.note(f"{flaw.place}: a line cannot be read: {flaw.what}")
