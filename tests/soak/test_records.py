"""The account of the records soak, by hand; and the soak itself, for some seconds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.soak.records import Turmoil, record_soak
from tests.soak.records_account import Account, Answer, faults

STREAM = "01900000000a0001"


@pytest.mark.e2e
def test_whatever_happens_every_answer_arrives_or_is_counted_by_a_gap(tmp_path: Path) -> None:
    plan = Turmoil(seconds=5, calm_s=(0.1, 0.4), trouble_s=(0.2, 0.8), kafka=False)
    seen = record_soak(plan, tmp_path)
    assert seen.faults(plan) == [], "\n".join(seen.lines())
    assert len({one.what for one in seen.happened}) >= 5


def line(seq: int, stream: str = STREAM, status: int = 200, **more: object) -> bytes:
    said = {
        "v": 1,
        "decision_id": f"d-{stream[-1]}-{seq}",
        "request_id": f"r-{stream[-1]}-{seq}",
        "stream": stream,
        "seq": seq,
        "status": status,
    }
    return json.dumps({**said, **more}).encode()


def gap(first: int, last: int, count: int, why: str = "spool_full", allows: int = -1) -> bytes:
    said = {"kind": "gap", "stream": STREAM, "first_seq": first, "last_seq": last, "count": count, "why": why}
    return json.dumps({**said, "allows": allows}).encode()


def allowed(seq: int) -> Answer:
    return Answer(f"r-1-{seq}", "", 200)


def refused(seq: int) -> Answer:
    return Answer(f"r-1-{seq}", f"d-1-{seq}", 403)


def account(*lines: bytes, name: str = "file") -> Account:
    made = Account(name)
    made.take(lines)
    return made


def test_what_is_there_or_counted_is_no_fault() -> None:
    answers = [*map(allowed, range(1, 5)), refused(5)]
    whole = account(*map(line, range(1, 5)), line(5, status=403), name="http")
    assert faults([whole], answers) == []
    # Allows of a block that was thinned; and a copy, byte for byte, after a kill.
    thinned = account(gap(1, 5, 4, allows=4), line(5, status=403), line(5, status=403))
    assert faults([whole, thinned], answers) == []
    assert (thinned.repeats, thinned.whys()) == (1, {"spool_full": 4})
    # Who was killed may have promised more than it answered.
    killed = account(*map(line, range(1, 5)), gap(5, 9, 5, "killed"))
    assert faults([killed], answers) == []
    # One event has a number and is no answer.
    noted = account(line(1), json.dumps({"kind": "event", "stream": STREAM, "seq": 2}).encode())
    assert faults([noted], [allowed(1)]) == []


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([line(1), line(3)], "covered by no gap: 1, from 2 on"),
        ([line(1), line(2), gap(3, 4, 1), line(5)], "2 are missing from 3 to 4, and 1 are counted"),
        ([line(1), line(2), gap(2, 4, 3), line(5)], "2 are missing from 2 to 4, and 3 are counted"),
        ([line(1), line(3), line(2)], "out of order"),
        ([line(1), line(2), line(2, status=403), line(3)], "not alike"),
        ([line(1), line(2), line(3, decision_id="d-1-1")], "one decision twice"),
        ([line(1), line(2), b'{"half'], "no record"),
        ([line(1), line(2), line(3, status=403)], "answer and record differ"),
        ([line(1), line(2)], "1 answers have no record, gaps count 0"),
        ([gap(1, 3, 3), gap(1, 3, 2)], "not alike"),
    ],
)
def test_each_thing_that_must_not_be_is_a_fault(lines: list[bytes], told: str) -> None:
    assert told in "\n".join(faults([account(*lines)], [*map(allowed, range(1, 4))]))


def test_a_refusal_is_not_given_up_as_an_allow() -> None:
    found = faults([account(line(1), gap(2, 3, 2, allows=2))], [allowed(1), allowed(2), refused(3)])
    assert "1 refusals have no record, gaps count 0 that are no allows" in "\n".join(found)


def test_a_gap_elsewhere_covers_nothing() -> None:
    """As many are missing as are counted; but not those."""
    whole = account(line(1), line(2), line(3, status=403), name="http")
    odd = account(gap(1, 2, 1, allows=1), line(2), gap(4, 4, 1, "refused"))
    found = "\n".join(faults([whole, odd], [allowed(1), allowed(2), refused(3)]))
    assert "file: covered by no gap, and others have it: 1" in found
    assert "http: stream 01900000000a0001 ends at 3, elsewhere at 4" in found


def test_what_had_arrived_before_it_was_damaged_is_disputed_and_hides_nothing_else() -> None:
    """A kill in between: it was shipped, nobody knew, and its segment does not read any more."""
    came = [line(1), line(2), line(3), line(2, prev="b"), gap(3, 4, 2, "damaged"), line(5, prev="c")]
    answers = [*map(allowed, range(1, 6))]
    once = account(*came)
    assert faults([once], answers) == []
    assert once.disputed() == {STREAM: 1}
    lost = account(*came, gap(6, 8, 1), line(9))
    assert "3 are missing from 6 to 8, and 1 are counted" in "\n".join(faults([lost], answers))
    whole = account(*came, gap(6, 8, 3), line(9), line(12))
    assert "covered by no gap: 2, from 10 on" in "\n".join(faults([whole], answers))


def test_a_stream_of_which_nobody_knows_the_end_has_any() -> None:
    lost = account(line(1), gap(2, -1, -1, "killed"))
    assert faults([lost], [allowed(1), allowed(2), allowed(3)]) == []
