"""What does not fit is accounted for, seq by seq."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from authz.record.waiting import OnFull, Take, Waiting, is_allow

ALLOW = b'{"outcome":"allow","n":%d}\n'
DENY = b'{"outcome":"deny","n":%d}\n'


def gap_line(first_seq: int, last_seq: int, count: int, allows: int) -> bytes:
    return b"gap %d %d %d %d\n" % (first_seq, last_seq, count, allows)


def waiting(capacity: int, on_full: OnFull = "drop_allows") -> Waiting:
    return Waiting(capacity, on_full, gap_line)


def lines_of(take: Take | None) -> list[bytes]:
    return take.data.splitlines() if take is not None else []


def test_nothing_waits_at_first() -> None:
    assert not waiting(10)
    assert waiting(10).take() is None


def test_an_allow_is_told_by_its_outcome_and_by_nothing_that_a_client_wrote() -> None:
    assert is_allow(ALLOW % 1)
    assert not is_allow(DENY % 1)
    assert not is_allow(b'{"outcome":"deny","path":"\\"outcome\\":\\"allow\\""}\n')


def test_the_last_tenth_is_kept_for_refusals() -> None:
    held = waiting(10)
    assert held.put([ALLOW % at for at in range(1, 10)]) == 0
    assert held.put([ALLOW % 10, DENY % 11, ALLOW % 12, DENY % 13]) == 3
    take = held.take()
    assert take is not None
    assert (take.records, take.gaps, take.first_seq, take.last_seq) == (10, 2, 1, 13)
    assert lines_of(take)[9:] == [b"gap 10 10 1 1", (DENY % 11).strip(), b"gap 12 13 2 1"]


def test_whoever_drops_whatever_comes_keeps_nothing_back() -> None:
    held = waiting(10, "drop")
    assert held.put([ALLOW % at for at in range(1, 11)]) == 0
    assert held.put([DENY % 11]) == 1


def test_a_take_is_bounded_in_bytes_and_takes_one_line_at_least() -> None:
    held = waiting(10)
    held.put([b"12345\n", b"123\n", b"1\n"])
    assert lines_of(held.take(most_bytes=1)) == [b"12345"]
    assert lines_of(held.take(most_bytes=6)) == [b"123", b"1"]


def test_a_gap_alone_is_told_as_well() -> None:
    held = waiting(0)
    assert held.put([DENY % 1]) == 1
    held.miss(allow=True)
    assert held
    take = held.take()
    assert take == Take(b"gap 1 2 2 1\n", 0, 1, 2, 1)
    assert not held


_step = st.one_of(
    st.lists(st.booleans(), min_size=1, max_size=6),  # a batch: which are allows
    st.integers(1, 5),  # a take of so many lines
    st.none(),  # everything taken is done
)


@given(st.integers(0, 12), st.sampled_from(["drop_allows", "drop", "deny"]), st.lists(_step, max_size=60))
def test_every_seq_is_a_line_or_counted_by_one_gap(
    capacity: int, on_full: OnFull, steps: list[list[bool] | int | None]
) -> None:
    held, seq, dropped, done = waiting(capacity, on_full), 0, 0, 0
    takes: list[Take] = []

    def take(most: int) -> bool:
        taken = held.take(most)
        if taken is not None:
            takes.append(taken)
        return taken is not None

    for step in steps:
        if isinstance(step, list):
            dropped += held.put([(ALLOW if one else DENY) % (seq + at) for at, one in enumerate(step, 1)])
            seq += len(step)
        elif step is None:
            held.done(sum(one.records for one in takes[done:]), 0)
            done = len(takes)
        else:
            take(step)
    while take(3):
        pass
    expected = 1
    for one in takes:
        assert one.first_seq == expected
        expected = one.last_seq + 1
        known: set[int] = set()
        for line in one.data.splitlines():
            gap = re.fullmatch(rb"gap (\d+) (\d+) (\d+) (\d+)", line)
            if gap:
                first_seq, last_seq, count, allows = map(int, gap.groups())
                assert count == last_seq - first_seq + 1  # nothing that was kept stands between
                assert allows <= count
                known |= set(range(first_seq, last_seq + 1))
            else:
                known.add(int(re.findall(rb"\d+", line)[0]))
        assert known == set(range(one.first_seq, one.last_seq + 1))
    assert expected == seq + 1
    assert sum(one.records for one in takes) == seq - dropped
