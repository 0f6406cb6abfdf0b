"""Text in columns, folded: what reports for people are made of."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TextIO

from authz.model.text import visible

WIDTH = 100  # what files and pipes get; more is hard to read on the widest terminal
_LEAST = 60
_width: ContextVar[int] = ContextVar("width", default=WIDTH)
LABEL = 11  # columns of the words before values


def section(title: str, rows: Iterable[str]) -> Iterator[str]:
    """Yield a heading and its rows, folded."""
    yield ""
    yield title
    for row in rows:
        yield from wrapped(row, "  ", "  " + " " * LABEL)


def pairs(values: Mapping[str, str]) -> str:
    """Return names and values in one line."""
    return ", ".join(f"{name}={value}" for name, value in values.items())


def field(name: str, value: str) -> str:
    """Return a word and its value, in columns; a colon ends a word that is wider than its column."""
    return f"{name:<{LABEL - 1}} {value}".rstrip() if len(name) < LABEL else f"{name}: {value}"


@contextmanager
def fitting(out: TextIO) -> Iterator[None]:
    """Fold what is made inside as the terminal needs it on which it is shown."""
    before = _width.set(_width_of(out))
    try:
        yield
    finally:
        _width.reset(before)


def _width_of(out: TextIO) -> int:
    try:
        columns = os.get_terminal_size(out.fileno()).columns
    except (OSError, ValueError):  # a file, a pipe, a test
        return WIDTH
    return max(_LEAST, min(WIDTH, columns))


def wrapped(text: str, first: str, following: str = "") -> Iterator[str]:
    """Yield a text in lines that fit; what client or file put into it moves no terminal."""
    yield from textwrap.wrap(
        visible(text),
        _width.get(),
        initial_indent=first,
        subsequent_indent=following or first,
        break_on_hyphens=False,
        drop_whitespace=True,
    ) or [first.rstrip()]
