"""Lines of a stream that are no decisions: what is missing, and what happened.

They share a decision's first fields, and say by `kind` what they are; a decision has none.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

VERSION = 1
_TIME_MAX_US = 253_402_300_799_000_000  # of the year 9999, and no text has a later one


class Why(StrEnum):
    """Why records are missing."""

    QUEUE_FULL = "queue_full"
    SPOOL_FULL = "spool_full"
    DAMAGED = "damaged"
    KILLED = "killed"
    REFUSED = "refused"


WHY: Mapping[Why, str] = {
    Why.QUEUE_FULL: "more was decided than could be written, or the time to write it was over at the end",
    Why.SPOOL_FULL: "this sink was away for longer than the spool holds",
    Why.DAMAGED: "segments of the spool do not read as they were written",
    Why.KILLED: "their process ended before it had written them; some may never have been answered",
    Why.REFUSED: "this sink refuses them, and takes others",
}

EVENTS: Mapping[str, str] = {
    "started": "checks are answered from now on; `about`: the version",
    "stopping": "the sidecar was told to end, and drains",
    "policy_set_accepted": "another policy set is in force; `about`: the revision before",
    "policy_set_rejected": "what stands in the directories is refused; `about`: why",
    "limits_reset": "somebody filled buckets up; `about`: of which limit, and how many",
}


class Gap(Struct, omit_defaults=True, frozen=True, gc=False):
    """Records that are missing from a stream: each counted by one gap alone."""

    v: Annotated[int, Meta(description="version of this format: 1")] = 0
    kind: Annotated[str, Meta(description="`gap`")] = ""
    time: Annotated[str, Meta(description="when it was noticed")] = ""
    sidecar: Annotated[str, Meta(description="see a decision's")] = ""
    stream: Annotated[str, Meta(description="see a decision's")] = ""
    first_seq: Annotated[int, Meta(description="they lie from here ...")] = -1
    last_seq: Annotated[
        int, Meta(description="... to there; others between may have arrived; absent: nobody knows how far")
    ] = -1
    count: Annotated[
        int,
        Meta(
            description="how many; of `killed` at most so many: some may never have been answered; absent:"
            " nobody knows"
        ),
    ] = -1
    allows: Annotated[int, Meta(description="how many of them allowed, where that is known")] = -1
    why: Annotated[str, Meta(description="see below")] = ""


class Event(Struct, omit_defaults=True, frozen=True, gc=False):
    """Something that an operator did, or that changed what is decided."""

    v: Annotated[int, Meta(description="version of this format: 1")] = 0
    kind: Annotated[str, Meta(description="`event`")] = ""
    time: Annotated[str, Meta(description="when")] = ""
    event: Annotated[str, Meta(description="what happened")] = ""
    sidecar: Annotated[str, Meta(description="see a decision's")] = ""
    stream: Annotated[str, Meta(description="see a decision's")] = ""
    seq: Annotated[int, Meta(description="see a decision's")] = -1
    revision: Annotated[str, Meta(description="the policy set in force then")] = ""
    about: Annotated[dict[str, str], Meta(description="what else is known of it")] = {}


_to_json = msgspec.json.Encoder().encode


@lru_cache(4)  # a batch has one time
def rfc3339(time_us: int) -> str:
    """Return a time as records have it."""
    second, rest_us = divmod(min(max(0, time_us), _TIME_MAX_US), 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{rest_us:06}Z"


def gap_line(
    sidecar: str,
    stream: str,
    first_seq: int,
    last_seq: int,
    count: int,
    why: Why,
    time_us: int,
    allows: int = -1,
) -> bytes:
    """Return the line that stands for missing records."""
    gap = Gap(
        VERSION, "gap", rfc3339(time_us), sidecar, stream, first_seq, last_seq, count, allows, why.value
    )
    return _to_json(gap) + b"\n"


def event_line(
    event: str, sidecar: str, stream: str, seq: int, revision: str, about: Mapping[str, str], time_us: int
) -> bytes:
    """Return the line of an event; `about` holds nothing that a client wrote."""
    said = Event(VERSION, "event", rfc3339(time_us), event, sidecar, stream, seq, revision, dict(about))
    return _to_json(said) + b"\n"
