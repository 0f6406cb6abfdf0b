"""Text in columns, folded: what reports for people are made of."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping

WIDTH = 100
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
    """Return a word and its value, in columns."""
    return f"{name:<{LABEL - 1}} {value}".rstrip() if len(name) < LABEL else f"{name} {value}"


def wrapped(text: str, first: str, following: str = "") -> Iterator[str]:
    """Yield a text in lines of at most 100 columns; what client or file put into it moves no terminal."""
    safe = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
    yield from textwrap.wrap(
        safe,
        WIDTH,
        initial_indent=first,
        subsequent_indent=following or first,
        break_on_hyphens=False,
        drop_whitespace=True,
    ) or [first.rstrip()]
