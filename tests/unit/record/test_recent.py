"""Recent records, asked for bit by bit."""

from __future__ import annotations

import json

import pytest

from authz.record import recent
from authz.record.recent import OLDEST, Recent, Wanted, page, page_from, recent_of, wanted_of
from tests.support.lines import decision

MANY = [decision(number) for number in range(20)]


def texts(*numbers: int) -> list[str]:
    return [MANY[number].decode().rstrip() for number in numbers]


def test_without_a_cursor_the_newest_are_told() -> None:
    told = recent_of(MANY, Wanted(3), full=True)
    assert told.lines == texts(17, 18, 19)
    assert (told.more, told.missed) == (False, False)


def test_with_one_those_after_it_in_their_order() -> None:
    first = recent_of(MANY[:5], Wanted(2), full=False)
    told = recent_of(MANY, Wanted(3, (first.last,)), full=False)
    assert (told.lines, told.more, told.missed) == (texts(5, 6, 7), True, False)
    told = recent_of(MANY, Wanted(100, (told.last,)), full=True)
    assert (told.lines, told.more, told.missed) == (texts(*range(8, 20)), False, False)
    assert recent_of(MANY, Wanted(100, (told.last,)), full=True).lines == []


def test_a_line_that_is_not_kept_any_more_is_missed() -> None:
    last = recent_of(MANY[:5], Wanted(1), full=False).last
    assert recent_of(MANY[5:], Wanted(1, (last,)), full=True).missed
    assert not recent_of(
        MANY[5:], Wanted(1, (last,)), full=False
    ).missed  # another life of it: nothing is gone


def test_from_the_oldest() -> None:
    assert recent_of(MANY, Wanted(2, (OLDEST,)), full=False).lines == texts(0, 1)
    assert recent_of([], Wanted(2, (OLDEST,)), full=False) == Recent()


def test_pages_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "PAGE_MAX_BYTES", len(MANY[0]) * 2 + 5)
    assert recent_of(MANY, Wanted(10), full=False).lines == texts(18, 19)
    assert recent_of(MANY, Wanted(10, (OLDEST,)), full=False).lines == texts(0, 1)
    monkeypatch.setattr(recent, "PAGE_MAX_BYTES", 5)
    assert recent_of(MANY, Wanted(10, (OLDEST,)), full=False).lines == texts(0)


def test_workers_are_one_page_in_the_order_of_time() -> None:
    odd, even = MANY[1::2], MANY[::2]
    wanted = Wanted(4)
    told = {0: recent_of(even, wanted, full=False), 1: recent_of(odd, wanted, full=False)}
    said = page_from(page(told, wanted))
    assert [bytes(record).decode() for record in said.records] == texts(16, 17, 18, 19)
    again = Wanted(4, tuple(said.cursor.split("-")))
    fresh = decision(20)
    told = {0: recent_of([*even, fresh], again, full=False), 1: recent_of(odd, again, full=False)}
    said = page_from(page(told, again))
    assert [bytes(record) for record in said.records] == [fresh.rstrip()]


def test_of_a_silent_worker_the_mark_is_kept() -> None:
    odd, even = MANY[1::2], MANY[::2]
    first = page_from(
        page({0: recent_of(even, Wanted(9), full=False), 1: recent_of(odd, Wanted(9), full=False)}, Wanted(9))
    )
    wanted = Wanted(9, tuple(first.cursor.split("-")))
    second = page_from(page({0: recent_of([*even, decision(20)], wanted, full=False)}, wanted, [1]))
    assert second.silent == [1]
    wanted = Wanted(9, tuple(second.cursor.split("-")))
    third = page(
        {
            0: recent_of([*even, decision(20)], wanted, full=False),
            1: recent_of([*odd, decision(21)], wanted, full=False),
        },
        wanted,
    )
    assert [bytes(record) for record in page_from(third).records] == [decision(21).rstrip()]


def test_cursors_stay_short_however_long_a_worker_is_silent() -> None:
    cursor = OLDEST
    for number in range(300):
        wanted = wanted_of(f"after={cursor}")
        cursor = page_from(page({0: recent_of([decision(number)], wanted, full=False)}, wanted, [1])).cursor
    assert len(cursor.split("-")) <= 129


def test_nobody_has_anything() -> None:
    said = json.loads(page({}, Wanted(), [0, 1]))
    assert said == {"records": [], "cursor": OLDEST, "more": False, "missed": False, "silent": [0, 1]}


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", Wanted()),
        ("count=7", Wanted(7)),
        ("count=1000&after=oldest", Wanted(1000, ("oldest",))),
        ("after=ab12-cd34", Wanted(100, ("ab12", "cd34"))),
        ("after=", Wanted()),
    ],
)
def test_queries(query: str, wanted: Wanted) -> None:
    assert wanted_of(query) == wanted


@pytest.mark.parametrize(
    "query",
    [
        "count=0",
        "count=1001",
        "count=x",
        "count=",
        "count=-1",
        "count=٣",
        "before=3",
        "after=a/b",
        "after=a--b",
        "after=" + "a-" * 300 + "a",
        "&".join(f"a{n}=1" for n in range(20)),
    ],
)
def test_what_cannot_be_meant_is_a_value_error(query: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        wanted_of(query)
