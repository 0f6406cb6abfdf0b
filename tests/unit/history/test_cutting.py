"""Blocks cut into lines, from either end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.history import cutting
from authz.history.cutting import Cutter, cut_back
from authz.history.line import LINE_MAX_BYTES, Chunk, Flaw

LINE = b'{"v":1,"seq":1}\n'


def cut(*blocks: bytes) -> list[Chunk | Flaw]:
    cutter = Cutter("f")
    return [item for block in blocks for item in cutter.take(block)] + list(cutter.end())


def back(data: bytes) -> list[Chunk | Flaw]:
    return list(cut_back("f", lambda start, end: data[start:end], len(data)))


def whole(items: list[Chunk | Flaw]) -> bytes:
    return b"".join(item.data for item in items if isinstance(item, Chunk))


@given(st.lists(st.binary(max_size=20)))
def test_whatever_the_blocks_the_lines_are_the_same(blocks: list[bytes]) -> None:
    data = b"".join(blocks)
    items = cut(*blocks)
    assert whole(items) == data[: data.rfind(b"\n") + 1]
    for item in items:
        if isinstance(item, Chunk):
            before = data[: data.find(item.data)] if item.data.count(b"\n") == data.count(b"\n") else None
            assert before is None or item.first.line == before.count(b"\n") + 1


def test_numbers_of_lines_go_on() -> None:
    items = cut(LINE * 2 + LINE[:5], LINE[5:] + LINE)
    assert [item.first.line for item in items if isinstance(item, Chunk)] == [1, 3]


def test_a_last_line_without_newline_counts_if_it_is_whole() -> None:
    assert whole(cut(LINE, LINE.rstrip())) == LINE * 2
    torn = cut(LINE, LINE[:7])[-1]
    assert isinstance(torn, Flaw)
    assert (torn.place.line, "torn off" in torn.what) == (2, True)


@pytest.mark.parametrize("size", [LINE_MAX_BYTES + 1, 3 * LINE_MAX_BYTES])
@pytest.mark.parametrize("block", [65_536, cutting.BLOCK_BYTES, 8 * LINE_MAX_BYTES])
def test_a_line_that_is_too_long_is_passed_over_in_bounded_memory(size: int, block: int) -> None:
    data = LINE + b"x" * size + b"\n" + LINE
    cutter, items = Cutter("f"), []
    for at in range(0, len(data), block):
        items += list(cutter.take(data[at : at + block]))
        assert len(cutter._rest) <= LINE_MAX_BYTES
    flaws = [item for item in items if isinstance(item, Flaw)]
    if block < size:  # a block that is larger than a line hands it on: whoever parses it refuses it
        assert [(flaw.place.line, "longer" in flaw.what) for flaw in flaws] == [(2, True)]
        assert whole(items) == LINE * 2
    last = items[-1]
    assert isinstance(last, Chunk)
    assert last.data.endswith(LINE)


def test_a_long_line_without_an_end_is_passed_over() -> None:
    items = cut(LINE, *[b"x" * cutting.BLOCK_BYTES] * 6)
    assert whole(items) == LINE
    assert len(items) == 2


@given(st.binary(max_size=300).map(lambda raw: raw.replace(b"a", b"\n")), st.integers(1, 40))
def test_from_the_end_the_lines_are_the_same(data: bytes, block: int) -> None:
    data = data[: data.rfind(b"\n") + 1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "BLOCK_BYTES", block)
        items = back(data)
    assert whole(items[::-1]) == data
    for item in items:
        assert isinstance(item, Chunk)
        assert data[item.first.byte :].startswith(item.data)


def test_from_the_end_a_torn_line_comes_first() -> None:
    torn, rest = back(LINE * 2 + LINE[:5])
    assert isinstance(torn, Flaw)
    assert torn.place.byte == 2 * len(LINE)
    assert isinstance(rest, Chunk)
    assert rest.data == LINE * 2


def test_from_the_end_a_long_line_is_passed_over() -> None:
    data = LINE + b"x" * (3 * LINE_MAX_BYTES) + b"\n" + LINE * 2
    items = back(data)
    assert whole(items[::-1]) == LINE * 3
    assert [item.what for item in items if isinstance(item, Flaw)] == ["it is longer than 1 MiB"]


def test_of_nothing_comes_nothing() -> None:
    assert back(b"") == []
    assert cut() == []
