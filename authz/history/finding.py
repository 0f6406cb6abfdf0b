"""What a look at records as evidence finds: nouns only.

Report
  streams    one `StreamReport` for each life of each process
  findings   what cannot have come about by itself, each with its place
  notes      what whoever reads the report should know, and what proves nothing by itself
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """What was done to a record."""

    ALTERED = "altered"  # its bytes are not those that were shipped
    REMOVED = "removed"  # it was chained and is not here
    REORDERED = "reordered"  # it is here, and not where it was
    INSERTED = "inserted"  # it stands beside the chain, where another line follows in its place
    CUT = "cut"  # a part of its line is missing
    UNREADABLE = "unreadable"  # no record at all
    UNCHAINED = "unchained"  # a line without a link within a chain
    SIGNATURE = "signature"  # a checkpoint that the key did not sign
    HOLE = "hole"  # a number that no line has, and no gap declares


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault.

    Args:
        place: `FILE:LINE`, or the id of an entry: of the record itself, or of the first one after it.
        stream: "" where the line does not say.
        seq: the first number that it concerns; -1: nobody knows.
        text: what is wrong, in one line; only numbers, ids and our own words.
    """

    fault: Fault
    place: str
    sidecar: str
    stream: str
    seq: int
    text: str


@dataclass(frozen=True, slots=True)
class StreamReport:
    """What there is of one stream.

    Args:
        lines: records and events that were read, repeats left out.
        chained: whether its lines are linked.
        checkpoints: those whose signature is good.
        signed_seq: the last number that a good checkpoint vouches for; -1: none.
        unsigned: lines after the last good checkpoint: nothing vouches for them, or for how many there were.
        begun, ended: whether its first and its last line, as signed, are here.
        after: the stream of this sidecar that it says came before; "": none, or nobody knew.
        after_seen: whether that one is here, whole to its end.
    """

    sidecar: str
    stream: str
    first_seq: int
    last_seq: int
    lines: int
    chained: bool
    checkpoints: int
    signed_seq: int
    unsigned: int
    begun: bool
    ended: bool
    after: str
    after_seen: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in all that was read.

    Args:
        lines: non-empty lines, of whatever kind.
        records, events, gaps, checkpoints: lines of each kind, repeats left out; `checkpoints` are good ones.
        repeats: lines that came again byte for byte: delivery is at least once.
        torn: beginnings of lines that stand whole elsewhere: a writer was killed.
        foreign: lines without stream and number, which cannot be checked.
        declared: why -> records that gaps declare missing.
        undeclared: numbers that are missing without a word.
        findings: the first ones; `faults` says how many there are.
    """

    lines: int
    records: int
    events: int
    gaps: int
    checkpoints: int
    repeats: int
    torn: int
    foreign: int
    declared: Mapping[str, int]
    undeclared: int
    streams: tuple[StreamReport, ...]
    faults: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong with what is here. What it cannot say: docs/evidence.md."""
        return self.faults == 0

    @property
    def chained(self) -> bool:
        """Whether every stream is linked and signed."""
        return bool(self.streams) and all(stream.chained for stream in self.streams)
