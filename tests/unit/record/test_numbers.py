"""What a process leaves behind when it is killed: how many records there were."""

from __future__ import annotations

from authz.record.numbers import Numbers
from authz.record.segment import HEAD, HEAD_SLOTS, decode_head_file


def test_each_judging_thread_has_a_place_and_beyond_that_they_share_the_last() -> None:
    numbers = Numbers()
    assert [numbers.slot() for _ in range(HEAD_SLOTS + 2)] == [*range(1, HEAD_SLOTS + 1), 63, 63]


def test_what_was_numbered_before_memory_was_shared_is_there_as_well() -> None:
    numbers, shared = Numbers(), bytearray(HEAD.size)
    numbers.head[0], numbers.head[1] = 7, 2
    numbers.share(memoryview(shared).cast("Q"))
    numbers.head[2] = 3
    head = decode_head_file(shared)
    assert head is not None
    assert (head.last_seq, head.promised, head.most_seq) == (7, 5, 12)
    numbers.settle()
    assert decode_head_file(shared) == (7, 0)
    assert decode_head_file(shared[:-1]) is None
