"""What `authz logs` prints: rows or lines on standard output, everything else on standard error."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import typer

from authz.cli.logs_asked import Output
from authz.cli.logs_table import Table, columns
from authz.history.line import Found
from authz.history.scan import Tally
from authz.history.source import Source
from authz.model.text import visible

_DEL = 0x7F
_EVERY_S = 0.2  # between two looks at how far a search is


class Printer:
    """Prints what was found, and tells on a terminal how far a search is.

    Args:
        output: of whom it is read.
    """

    def __init__(self, output: Output, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._table = Table(columns(sys.stdout)) if output is Output.TABLE else None
        self._bare = sys.stdout.isatty()  # somebody's terminal takes the lines as they are
        self._watched = sys.stderr.isatty()
        self._clock_s = clock_s
        self._began_s = self._told_s = clock_s()
        self._drawn = False

    def show(self, found: Sequence[Found]) -> None:
        """Print what was found."""
        if not found:
            return
        self.clear()
        if self._table is not None:
            typer.echo("\n".join(self._table.lines(found)))
            return
        lines = [one.line for one in found]
        typer.echo(b"\n".join(map(harmless, lines) if self._bare else lines))

    def note(self, text: str) -> None:
        """Tell something beside the records."""
        self.clear()
        typer.echo(f"note: {text}", err=True)

    def progress(self, source: Source, tally: Tally | None = None) -> None:
        """Tell now and then how far reading is, where somebody watches."""
        if not self._watched:
            return
        now_s = self._clock_s()
        if now_s - self._told_s < _EVERY_S:
            return
        self._told_s, self._drawn = now_s, True
        text = _progress(source, tally, now_s - self._began_s)[: columns(sys.stderr) - 1]
        sys.stderr.write(f"\r{text}\x1b[K")
        sys.stderr.flush()

    def is_alone(self) -> bool:
        """Whether whoever read our output is gone: else that is noticed at the next line alone."""
        poll = select.poll()
        try:
            poll.register(sys.stdout.fileno(), 0)
        except (OSError, ValueError):  # a test's
            return False
        return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))

    def clear(self) -> None:
        """Take the progress off the terminal."""
        if self._drawn:
            self._drawn = False
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def flaws(self, tally: Tally) -> None:
        """Tell what was not readable, and nothing else."""
        self.clear()
        for text in _flaws(tally):
            self.note(text)

    def sum_up(self, tally: Tally, stopped: str = "") -> None:
        """Tell what was read, found and not readable."""
        self.clear()
        typer.echo("; ".join(_summary(tally, stopped)), err=True)


def harmless(line: bytes) -> bytes:
    """Return a line of JSON with escapes, which say the same, for whatever a terminal would obey."""
    if _is_plain(line):
        return line
    text = line.decode("utf-8", "replace")
    return "".join(each if each.isprintable() else _escape(each) for each in text).encode()


def _is_plain(line: bytes) -> bool:
    return line.isascii() and _DEL not in line and min(line, default=_DEL) >= ord(" ")


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _progress(source: Source, tally: Tally | None, elapsed_s: float) -> str:
    share = f" of {_many(source.total)}, {100 * source.done // source.total} %" if source.total else ""
    text = f"{source.name}: {_many(source.done)}{share}"
    if tally is None:
        return text
    return f"{text}, {tally.lines / max(elapsed_s, 0.001):,.0f} records/s, {tally.matched:,} found"


def _many(size: int) -> str:
    for unit, one in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= one:
            return f"{size / one:.1f} {unit}"
    return f"{size} bytes"


def _summary(tally: Tally, stopped: str) -> Iterator[str]:
    yield f"{count(tally.lines, 'line')} read, {tally.matched:,} found"
    if stopped:
        yield stopped
    if tally.repeated:
        yield f"{tally.repeated:,} delivered twice and shown once"
    if tally.gaps:
        yield f"{count(tally.missing, 'record')} missing, as {count(tally.gaps, 'gap')} told"
    yield from _flaws(tally)


def _flaws(tally: Tally) -> Iterator[str]:
    if tally.first_flaw is not None:
        what, place = tally.first_flaw.what, visible(str(tally.first_flaw.place))
        many = f"{count(tally.unreadable, 'line')} unreadable, the first: " if tally.unreadable else ""
        yield f"{many}{place}: {what}"


def count(number: int, noun: str) -> str:
    """Return a number of things in words."""
    return f"1 {noun}" if number == 1 else f"{number:,} {noun}s"


@contextmanager
def politely() -> Iterator[None]:
    """End quietly where whoever reads has had enough."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        with suppress(OSError):  # or the interpreter tries once more at its end, and complains
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit from None
