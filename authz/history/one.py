"""One decision, found by its id: from the end of a file, since people ask about what was decided lately."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta

from authz.history.line import Chunk, Found, Kind, kind_of, read_line
from authz.history.question import moment_text
from authz.history.source import Item, Source
from authz.model.errors import ConfigError
from authz.model.moment import EPOCH
from authz.model.text import visible

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TAIL = re.compile(r"[0-9a-f-]{8,35}")
_TIME_DIGITS = 12  # of a UUIDv7: milliseconds since 1970 (RFC 9562, section 5.7)


def decision_id(text: str) -> str:
    """Return the id of a decision, or its end, as lists show it.

    Raises:
        ConfigError: it is neither.
    """
    lowered = text.strip().lower()
    if _ID.fullmatch(lowered) or _TAIL.fullmatch(lowered):
        return lowered
    raise ConfigError(
        f"`{visible(text)[:60]}` is no id of a decision: one looks like 01a2043b-aabe-77e7-96c4-0bc73c9bc3e5;"
        " its last 8 characters or more will do"
    )


def is_whole(wanted: str) -> bool:
    """Whether it is a whole id."""
    return bool(_ID.fullmatch(wanted))


def made_at(wanted: str) -> str:
    """Return when the decision with this id was made, or "" where only the end of the id is known."""
    if not is_whole(wanted) or wanted[14] != "7":
        return ""
    made: datetime = EPOCH + timedelta(milliseconds=int(wanted.replace("-", "")[:_TIME_DIGITS], 16))
    return moment_text(made)


def find_one(source: Source, wanted: str) -> Found | None:
    """Return the record of a decision, the last if there are several."""
    back = source.read_back()
    if back is not None:
        return next(filter(None, (_last(item, wanted) for item in back)), None)
    return _newest(source.read(), wanted)


def _newest(items: Iterable[Item], wanted: str) -> Found | None:
    found = None
    for item in items:
        found = _last(item, wanted) or found
    return found


def _last(item: Item, wanted: str) -> Found | None:
    needle = f'{wanted}"'.encode()
    if not isinstance(item, Chunk) or needle not in item.data:
        return None
    for line in reversed(item.data.split(b"\n")):
        if needle in line:
            entry = read_line(line)
            if (
                not isinstance(entry, str)
                and kind_of(entry) is Kind.DECISION
                and entry.decision_id.endswith(wanted)
            ):
                return Found(line, entry)
    return None
