"""What docs/sinks.md says is what sinks do."""

from __future__ import annotations

import re
from http.client import HTTPMessage
from pathlib import Path

import pytest

from authz.model.sink import SinkKind, parse_sink
from authz.shipping.delivery import Refused, Unavailable
from authz.shipping.post import Reply, judge

PAGE = (Path(__file__).parents[2] / "docs/sinks.md").read_text(encoding="utf-8")


def _table(name: str) -> list[list[str]]:
    """Return the cells of the rows of a table that is marked with this name."""
    text = PAGE.partition(f"<!-- table: {name} -->\n")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines()[2:]]


ADDRESSES = [text for cells in _table("sinks") for text in re.findall(r"`([^`]+)`", cells[0])]


@pytest.mark.parametrize("text", ADDRESSES)
def test_each_address_of_the_page_is_one(text: str) -> None:
    assert parse_sink(text).text == text


def test_the_page_has_an_address_of_each_kind_that_stands_alone() -> None:
    assert {parse_sink(text).kind for text in ADDRESSES} >= set(SinkKind) - {SinkKind.REDIS, SinkKind.KAFKA}


def _judged(status: int) -> str:
    try:
        judge(Reply(status, HTTPMessage(), b""), "here", 0.0)
    except Unavailable:
        return "away"
    except Refused:
        return "refused"
    return "delivered"


def test_each_status_means_what_the_page_says() -> None:
    said: dict[int, str] = {}
    for cells in _table("statuses"):
        for found in re.finditer(r"\b(?:(\d)xx|(\d{3}))\b", cells[0]):
            codes = [int(found[2])] if found[2] else range(100 * int(found[1]), 100 * int(found[1]) + 100)
            said |= {code: re.split(r"\W", cells[1])[0] for code in codes}
    assert len(said) > 300
    other = said[404]
    assert {code: _judged(code) for code in range(100, 600)} == {
        code: said.get(code, other) for code in range(100, 600)
    }
