"""The records that a sidecar keeps in memory, asked for bit by bit: what `GET /logs` answers with.

Nothing is counted or marked while checks are answered. A cursor names the last line that somebody has seen by
a digest of it, and whoever is asked looks for that line, from the newest back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from urllib.parse import parse_qsl

import msgspec
from msgspec import Raw, Struct

from authz.model.text import visible

COUNT, COUNT_MAX = 100, 1000
PAGE_MAX_BYTES = 512 * 1024  # of one process; a record is about 1 KiB
OLDEST = "oldest"  # a cursor that nobody has seen: everything is after it
_MARK_BYTES = 8
_CURSOR_MAX_MARKS = 256  # there are at most 64 workers
_KEPT_MAX_MARKS = 128


class Wanted(Struct, frozen=True):
    """What somebody asks for.

    Args:
        after: lines seen last, one for each process; empty: nobody asks what came after, but for the newest.
    """

    count: int = COUNT
    after: tuple[str, ...] = ()


class Recent(Struct, frozen=True, omit_defaults=True):
    """Lines of one process.

    Args:
        last: mark of the last of them; of the last seen, where there are none.
        more: later ones are there.
        missed: whoever asks may have missed some, since they are not kept any more.
    """

    lines: list[str] = []
    last: str = ""
    more: bool = False
    missed: bool = False


class Page(Struct, frozen=True):
    """What is answered over HTTP. Each record is the very line, without its newline.

    Args:
        cursor: `after` of the next question.
        silent: workers that did not answer in time.
    """

    records: list[Raw]
    cursor: str
    more: bool
    missed: bool
    silent: list[int]


class _Time(Struct):
    time: str = ""


_time = msgspec.json.Decoder(_Time).decode
_encode = msgspec.json.Encoder().encode


def wanted_of(query: str) -> Wanted:
    """Return what the query of a URL asks for.

    Raises:
        ValueError: says what is wrong, and what can be written.
    """
    given = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=8) if query else ())
    for name in given:
        if name not in ("count", "after"):
            raise ValueError(f"`{visible(name)[:40]}` is not known; there are `count` and `after`")
    count, after = given.get("count", str(COUNT)), given.get("after", "")
    if not (count.isascii() and count.isdecimal() and len(count) < 6 and 1 <= int(count) <= COUNT_MAX):
        raise ValueError(f"count: a number from 1 to {COUNT_MAX}")
    marks = tuple(after.split("-")) if after else ()
    if len(marks) > _CURSOR_MAX_MARKS or not all(mark.isalnum() and mark.isascii() for mark in marks):
        raise ValueError(f"after: what a `cursor` said, or `{OLDEST}`")
    return Wanted(int(count), marks)


wanted_from = msgspec.json.Decoder(Wanted).decode
recent_from = msgspec.json.Decoder(Recent).decode
page_from = msgspec.json.Decoder(Page).decode


def recent_of(kept: Sequence[bytes], wanted: Wanted, *, full: bool) -> Recent:
    """Return what is asked for of the lines that one process keeps.

    Args:
        kept: the oldest first, each with its newline.
        full: older ones were there and are not kept.
    """
    if not wanted.after:
        chosen = _within(reversed(kept), wanted.count)[::-1]
        return Recent(_texts(chosen), _mark(kept[-1]) if kept else "", more=False, missed=False)
    at = _place(kept, wanted.after)
    fresh = kept[at:]
    chosen = _within(fresh, wanted.count)
    last = _mark(chosen[-1]) if chosen else _mark(kept[-1]) if kept else ""
    return Recent(_texts(chosen), last, len(chosen) < len(fresh), full and not at)


def page(answers: Mapping[int, Recent], wanted: Wanted, silent: Sequence[int] = ()) -> bytes:
    """Return what all processes answered as one page, the newest record last.

    Args:
        answers: worker -> what it keeps.
        silent: workers that did not answer.
    """
    lines = sorted((line for answer in answers.values() for line in answer.lines), key=_time_of)
    if not wanted.after:
        lines = lines[-wanted.count :]
    # Of a worker that is silent the mark is kept, or it would begin anew.
    marks = [answer.last for answer in answers.values() if answer.last]
    kept = [mark for mark in wanted.after if mark not in marks and mark != OLDEST] if silent else []
    said = Page(
        [Raw(line.encode()) for line in lines],
        "-".join([*marks, *kept[:_KEPT_MAX_MARKS]]) or OLDEST,
        any(answer.more for answer in answers.values()),
        any(answer.missed for answer in answers.values()),
        list(silent),
    )
    return _encode(said) + b"\n"


def _place(kept: Sequence[bytes], marks: Iterable[str]) -> int:
    """Return where what comes after the marked line begins; 0 where that is not kept."""
    wanted = {mark for mark in marks if mark != OLDEST}
    if wanted:
        for at in range(len(kept), 0, -1):
            if _mark(kept[at - 1]) in wanted:
                return at
    return 0


def _within(lines: Iterable[bytes], count: int) -> list[bytes]:
    """Return as many as are asked for and fit."""
    chosen: list[bytes] = []
    size = 0
    for line in lines:
        size += len(line)
        if len(chosen) == count or (chosen and size > PAGE_MAX_BYTES):
            break
        chosen.append(line)
    return chosen


def _texts(lines: Iterable[bytes]) -> list[str]:
    return [line.decode("ascii").rstrip("\n") for line in lines]


def _mark(line: bytes) -> str:
    return blake2b(line, digest_size=_MARK_BYTES).hexdigest()


def _time_of(line: str) -> str:
    return _time(line).time
