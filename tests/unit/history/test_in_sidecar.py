"""The records that a sidecar keeps, asked page by page."""

from __future__ import annotations

from urllib.parse import parse_qs

from authz.history.in_sidecar import SidecarSource
from authz.history.line import Chunk
from authz.history.source import Item, Note
from authz.record import recent
from authz.record.recent import Page, page_from, recent_of, wanted_of
from tests.support.lines import decision

MANY = [decision(number) for number in range(30)]


class Sidecar:
    """One that keeps twenty records."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []
        self.silent: list[int] = []
        self.waited: list[float] = []
        self.source = SidecarSource("unix:/d", self.ask, self.waited.append)

    def decide(self, *lines: bytes) -> None:
        self.kept = [*self.kept, *lines][-20:]

    def ask(self, query: str) -> Page:
        assert parse_qs(query)["count"] == ["1000"]
        wanted = wanted_of(query.replace("1000", "8"))
        told = recent_of(self.kept, wanted, full=len(self.kept) == 20)
        return page_from(recent.page({0: told}, wanted, self.silent))


def whole(items: list[Item]) -> bytes:
    return b"".join(item.data for item in items if isinstance(item, Chunk))


def notes(items: list[Item]) -> list[str]:
    return [item.what for item in items if isinstance(item, Note)]


def test_everything_that_is_kept_is_read() -> None:
    sidecar = Sidecar()
    sidecar.decide(*MANY[:18])
    items = list(sidecar.source.read())
    assert (whole(items), notes(items), sidecar.source.done) == (b"".join(MANY[:18]), [], 18)
    assert sidecar.source.read_back() is None
    assert (sidecar.source.cannot_follow(), sidecar.source.total, sidecar.source.name) == ("", 0, "unix:/d")


def test_it_says_that_there_were_more() -> None:
    sidecar = Sidecar()
    sidecar.decide(*MANY)
    items = list(sidecar.source.read())
    assert whole(items) == b"".join(MANY[10:])
    assert notes(items) == ["unix:/d keeps the latest records alone: there were earlier ones"]


def test_what_comes_is_followed_without_repeats() -> None:
    sidecar = Sidecar()
    sidecar.decide(*MANY[:3])
    list(sidecar.source.read())
    assert sidecar.source.poll(0.25) == []
    assert sidecar.waited == [0.25]
    sidecar.decide(*MANY[3:15])
    assert whole(sidecar.source.poll(9)) == b"".join(MANY[3:11])
    assert whole(sidecar.source.poll(9)) == b"".join(MANY[11:15])
    assert max(sidecar.waited) == 0.5


def test_it_says_what_it_could_not_follow() -> None:
    sidecar = Sidecar()
    sidecar.decide(MANY[0])
    list(sidecar.source.read())
    sidecar.decide(*MANY[1:])
    items = sidecar.source.poll(0.1)
    assert notes(items) == ["unix:/d decided more than it keeps: some records are not shown here"]
    assert whole(items) == b"".join(MANY[10:18])


def test_silent_workers_are_named_once() -> None:
    sidecar = Sidecar()
    sidecar.silent = [1, 3]
    assert len(notes(list(sidecar.source.read()))) == 1
    assert sidecar.source.poll(0.1) == []
    sidecar.silent = []
    sidecar.source.poll(0.1)
    sidecar.silent = [1]
    assert "not shown: 1" in notes(sidecar.source.poll(0.1))[0]
    sidecar.source.close()
