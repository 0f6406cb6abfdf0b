"""What was answered is numbered, queued and counted; what cannot be kept is accounted for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from authz.model.decision import Answered
from authz.model.trace import Steps
from authz.record import keeper as keeper_module
from authz.record.entry import FixedFields, encode
from authz.record.keeper import Diary, Keeper
from authz.record.numbers import Numbers
from authz.record.queue import Direct, RecordQueue
from authz.record.tally import Tally
from tests.support.answers import DECISION_ID, allowed, refused

FIXED = FixedFields("items-1", "0123456789ab", stream="00000000000abcde")


class Taken:
    """A sink that takes everything."""

    name = "taken"

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: memoryview) -> int:
        self.data += bytes(data)
        return len(data)

    def reopen(self) -> None:
        pass


class Kept:
    """A keeper with its queue, which is read by closing it."""

    def __init__(self, sample_allows: int = 100, capacity: int = 10_000) -> None:
        self.sink, self.numbers, self.tally = Taken(), Numbers("00000000000abcde", "items-1"), Tally()
        self.queue = RecordQueue(Direct(self.sink), capacity, numbers=self.numbers)
        self.keeper = Keeper(self.queue, self.tally, self.numbers, sample_allows)

    def records(self) -> list[dict[str, Any]]:
        self.queue.start()
        self.queue.close(5)
        return [json.loads(line) for line in self.sink.data.splitlines()]


def numbered(at: int, answered: Answered) -> Answered:
    return answered._replace(decision_id=f"01890000-0000-7000-8000-{at * 0x9E3779B1 & 0xFFFFFFFFFFFF:012x}")


def test_what_was_answered_is_counted_numbered_and_findable() -> None:
    queue, tally = RecordQueue(None, 10), Tally()
    keeper = Keeper(queue, tally, Numbers())
    keeper.keep([refused(), allowed()], FIXED)
    line = queue.find(DECISION_ID)
    assert line is not None
    entry = json.loads(line)
    assert (entry["seq"], entry["sidecar"], entry["outcome"]) == (2, "items-1", "allow")
    assert entry["stream"] == "00000000000abcde"
    assert sum(tally.reasons.values()) == 2


def test_of_sampled_allows_so_many_percent_are_kept_and_every_refusal() -> None:
    kept = Kept(sample_allows=25)
    for at in range(400):
        kept.keeper.keep([numbered(at, allowed()), numbered(at, refused())], FIXED)
    records = kept.records()
    allows = sum(record["outcome"] == "allow" for record in records)
    assert sum(record["outcome"] == "deny" for record in records) == 400
    assert 60 < allows < 140
    assert kept.tally.sampled_out == 400 - allows
    assert [record["seq"] for record in records] == list(range(1, 401 + allows))  # nothing is missing
    assert sum(kept.tally.reasons.values()) == 800  # what is not recorded is counted still


def test_no_allow_is_kept_where_none_is_wanted() -> None:
    kept = Kept(sample_allows=0)
    kept.keeper.keep([allowed(), refused()], FIXED)
    assert [record["outcome"] for record in kept.records()] == ["deny"]


def test_what_is_traced_is_recorded_whatever_is_sampled() -> None:
    kept = Kept(sample_allows=0)
    steps = Steps("1" * 32, "2" * 16, "3" * 16, 0, lambda: 0)
    kept.keeper.keep([allowed(), allowed()._replace(trace=steps)], FIXED)
    assert [record["span_id"] for record in kept.records()] == ["2" * 16]


def test_a_record_that_cannot_be_made_is_declared_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept()

    def broken(answered: Answered, fixed: FixedFields, seq: int) -> bytes:
        if seq == 2:
            raise ValueError
        return encode(answered, fixed, seq)

    monkeypatch.setattr(keeper_module, "encode", broken)
    with pytest.raises(ValueError):  # noqa: PT011 - the shield tells it
        kept.keeper.keep([refused(), refused(), refused()], FIXED)
    kept.keeper.keep([allowed()], FIXED)
    one, gap, four = kept.records()
    assert (one["seq"], four["seq"]) == (1, 4)
    assert (gap["kind"], gap["first_seq"], gap["last_seq"], gap["count"]) == ("gap", 2, 3, 2)


def test_what_is_being_answered_is_promised_until_it_is_numbered() -> None:
    kept = Kept()
    other = Keeper(kept.queue, kept.tally, kept.numbers)
    kept.keeper.promise(2)
    other.promise(1)
    assert list(kept.numbers.head[:3]) == [0, 2, 1]
    kept.keeper.keep([refused(), allowed()], FIXED)
    assert list(kept.numbers.head[:3]) == [2, 0, 1]


def test_an_event_has_a_number_of_its_own() -> None:
    kept = Kept()
    kept.keeper.keep([refused()], FIXED)
    Diary(kept.queue, kept.numbers).note("started", 1_000_000, "0123456789ab", {"version": "1"})
    _, event = kept.records()
    assert event == {
        "v": 1,
        "kind": "event",
        "time": "1970-01-01T00:00:01.000000Z",
        "event": "started",
        "sidecar": "items-1",
        "stream": "00000000000abcde",
        "seq": 2,
        "revision": "0123456789ab",
        "about": {"version": "1"},
    }
