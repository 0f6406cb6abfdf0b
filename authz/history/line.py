"""One line of records, read: a decision, a gap, an event, or whatever else stands there.

A file of records may be anybody's: a line is parsed into a few fields of known types, or it is unreadable.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec
from msgspec import Struct

VERSION = 1
LINE_MAX_BYTES = 1024 * 1024  # a record is about 1 KiB; a hostile one 8


class Kind(StrEnum):
    """What a line is."""

    DECISION = "decision"
    GAP = "gap"
    EVENT = "event"
    OTHER = "other"  # of a chain, or of a later version's: nothing to search in


_KINDS = {"": Kind.DECISION, "gap": Kind.GAP, "event": Kind.EVENT}


class Who(Struct, gc=False):
    """The caller, as far as lists show it."""

    kind: str = ""
    subject: str = ""
    key_id: str = ""
    customer: str = ""


class Asked(Struct, gc=False):
    """The request, as far as lists show it."""

    method: str = ""
    host: str = ""
    path: str = ""
    client_address: str = ""


class Entry(Struct, gc=False):
    """What of a line is searched in and listed, of whatever kind. See `record/fields.py` and `notice.py`."""

    v: int = 0
    kind: str = ""
    time: str = ""
    decision_id: str = ""
    request_id: str = ""
    trace_id: str = ""
    sidecar: str = ""
    stream: str = ""
    seq: int = -1
    outcome: str = ""
    status: int = 0
    reason: str = ""
    detail: str = ""
    policy: str = ""
    rule: str = ""
    identity: Who | None = None
    request: Asked | None = None
    duration_us: int = -1
    count: int = -1
    first_seq: int = -1
    last_seq: int = -1
    why: str = ""
    event: str = ""
    about: dict[str, str] = {}


class Place(NamedTuple):
    """Where a line stands: of a file its number, or the byte where it begins if it was read from the end."""

    source: str
    line: int = 0
    byte: int = -1

    def __str__(self) -> str:
        if self.line:
            return f"{self.source}, line {self.line}"
        return f"{self.source}, byte {self.byte}" if self.byte >= 0 else self.source


class Chunk(NamedTuple):
    """Whole lines, each with its newline.

    Args:
        first: where the first of them stands.
    """

    data: bytes
    first: Place


class Flaw(NamedTuple):
    """What of a source cannot be read."""

    place: Place
    what: str
    lines: int = 1  # unreadable ones; 0: nobody knows how many


class Found(NamedTuple):
    """A line as it stands, without its newline, and what is in it."""

    line: bytes
    entry: Entry


_decoder = msgspec.json.Decoder(Entry)
_FAULTS = (msgspec.MsgspecError, ValueError, RecursionError)  # ValueError: bytes that are no UTF-8


def kind_of(entry: Entry) -> Kind:
    """Return what a line is."""
    return _KINDS.get(entry.kind, Kind.OTHER)


def read_line(line: bytes) -> Entry | str:
    """Return what a line says, or why it cannot be read."""
    if len(line) > LINE_MAX_BYTES:
        return "it is longer than 1 MiB"
    try:
        entry = _decoder.decode(line)
    except msgspec.ValidationError:
        return "it is JSON, and no record"
    except _FAULTS:
        return "it is no JSON"
    return fault_of(entry) or entry


def fault_of(entry: Entry) -> str:
    """Return why this is no line of records that we know; "" where it is one."""
    if entry.v == VERSION:
        return ""
    return (
        f"it has version {entry.v}, and this authz reads {VERSION}"
        if entry.v
        else "it is JSON, and no record"
    )


def read_lines(data: bytes) -> Sequence[Entry] | None:
    """Return what whole lines say, one entry each, or None where they must be read one by one.

    So it is five times as fast: no step of the interpreter per line.
    """
    try:
        entries: list[Entry] = _decoder.decode_lines(data)
    except _FAULTS:
        return None
    return entries if len(entries) == data.count(b"\n") else None
