"""What the log says of outages: a line when one begins, a line when it ends."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from authz.wiring.outages import PATIENCE_US, Outages

Logs = list[MutableMapping[str, Any]]

BEGINS = "the store of limits does not answer: meanwhile each limit does what its `onStoreError` says"
ENDS = "the store of limits answers again"


class Store:
    """A store that answers or not, and a process that asks it."""

    def __init__(self) -> None:
        self.up = True
        self.alone = 0
        self.members = 3
        self.now_us = 1_000_000
        self.outages = Outages(
            "redis://h:6379", lambda: self.up, lambda: self.alone, lambda: self.members, lambda: self.now_us
        )

    def later(self, us: int = PATIENCE_US + 1, *, up: bool = True, decided: int = 0) -> None:
        self.now_us += us
        self.up = up
        self.alone += decided
        self.outages.look()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def logs() -> Iterator[Logs]:
    with capture_logs() as caught:
        yield caught


def test_a_store_that_answers_is_worth_no_line(store: Store, logs: Logs) -> None:
    for _ in range(5):
        store.later()
    assert (logs, store.outages.lasts, store.outages.count) == ([], False, 0)


def test_the_first_check_that_is_decided_alone_begins_an_outage(store: Store, logs: Logs) -> None:
    store.later(1, decided=1)
    (line,) = logs
    assert (line["event"], line["store"], line["fleet"]) == (BEGINS, "redis://h:6379", 3)
    assert (line["log_level"], "mend" in line) == ("warning", False)
    assert store.outages.lasts


def test_an_unknown_fleet_is_said_to_be_unknown(store: Store, logs: Logs) -> None:
    store.members = 0
    store.later(1, decided=1)
    assert logs[0]["fleet"] == "unknown"
    assert "AUTHZ_FLEET_SIZE" in logs[0]["mend"]


def test_a_start_takes_a_moment_and_is_no_outage(store: Store, logs: Logs) -> None:
    store.later(10_000, up=False)
    store.later(10_000)
    store.later()
    assert logs == []


def test_a_store_that_nobody_reaches_is_an_outage_after_a_second_though_nobody_asks(
    store: Store, logs: Logs
) -> None:
    store.later(PATIENCE_US, up=False)
    assert logs == []
    store.later(1, up=False)
    assert [line["event"] for line in logs] == [BEGINS]


def test_the_end_tells_how_long_it_took_and_what_was_decided_meanwhile(store: Store, logs: Logs) -> None:
    store.later(decided=7)
    store.later(4_000_000, up=False, decided=100)
    store.later(100_000)
    store.later()
    assert [line["event"] for line in logs] == [BEGINS, ENDS]
    assert (logs[1]["seconds"], logs[1]["decided_alone"]) == (5.1, 107)
    assert not store.outages.lasts


def test_a_store_that_comes_and_goes_is_one_outage(store: Store, logs: Logs) -> None:
    for _ in range(20):
        store.later(PATIENCE_US // 2, up=False, decided=1)
        store.later(PATIENCE_US // 2)
    assert [line["event"] for line in logs] == [BEGINS]
    store.later()
    assert [line["event"] for line in logs] == [BEGINS, ENDS]
    assert logs[1]["decided_alone"] == 20


def test_each_outage_counts_from_its_own_beginning(store: Store, logs: Logs) -> None:
    for decided in (5, 8):
        store.later(decided=decided)
        store.later()
    assert [line["decided_alone"] for line in logs if line["event"] == ENDS] == [5, 8]
    assert store.outages.count == 2
