"""Make a finding smaller: leave out what is not needed for the target to break in the same place."""

from __future__ import annotations

import traceback

from tests.fuzz.target import Target

_TRIES = 20_000  # a finding of a kilobyte takes some hundreds

Break = tuple[type[BaseException], str, int]  # what was raised, and in which line


def how_it_breaks(target: Target, data: bytes) -> Break | None:
    """Return what an input breaks, or None where the target holds."""
    try:
        target.run(data)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what we look for
        last = traceback.extract_tb(error.__traceback__)[-1]
        return type(error), last.filename, last.lineno or 0
    return None


def shrink(target: Target, data: bytes) -> bytes:
    """Return a smaller input that breaks the target in the same way; the same one where there is none."""
    wanted = how_it_breaks(target, data)
    if wanted is None:
        return data
    size, tries = len(data) // 2, 0
    while size and tries < _TRIES:
        at, smaller = 0, False
        while at < len(data) and tries < _TRIES:
            without = data[:at] + data[at + size :]
            tries += 1
            if how_it_breaks(target, without) == wanted:
                data, smaller = without, True
            else:
                at += size
        size = size if smaller and size == 1 else size // 2
    return data
