from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from queue import SimpleQueue

import pytest

from authz.limits.redis import mending
from authz.limits.redis.errors import LinkFailed
from authz.limits.redis.link import Link
from authz.limits.redis.mending import PAUSE_FIRST_S, PAUSE_MAX_S, Backoff, Mender, Voice
from authz.model.address import TcpAddress
from tests.support.proxy import eventually
from tests.support.sessions import KeptLog

HERE = TcpAddress("127.0.0.1", 6379)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> KeptLog:
    kept = KeptLog()
    monkeypatch.setattr(mending, "log", kept)
    return kept


def test_pauses_grow_to_their_bound_and_no_two_sidecars_keep_step() -> None:
    longest = Backoff(lambda: 1.0)
    pauses = [longest.next_s() for _ in range(40)]
    assert pauses[:3] == [PAUSE_FIRST_S, PAUSE_FIRST_S * 2, PAUSE_FIRST_S * 4]
    assert pauses == sorted(pauses)
    assert pauses[-1] == PAUSE_MAX_S
    assert Backoff(lambda: 0.0).next_s() == 0.0
    assert len({Backoff().next_s() for _ in range(20)}) > 15
    longest.reset()
    assert longest.next_s() == PAUSE_FIRST_S


def test_a_change_is_said_once_however_often_it_comes_and_goes(log: KeptLog) -> None:
    now_s = 100.0
    voice = Voice(lambda: now_s)
    for _ in range(5):
        voice.down("r", "timeout", "r: does not answer in time")
        voice.up("r", "here")
        now_s += 1.0
    voice.down("r", "down", "r: connection refused")
    voice.complains("r", "err", "ERR one")
    voice.complains("r", "err", "ERR two")
    assert [event for _, event, _ in log.lines] == [
        "redis cannot be used",
        "limits are kept in redis",
        "redis cannot be used",
        "redis refuses a call",
    ]
    voice.up("r", "here")
    assert len(log.lines) == 4
    for _ in range(2):  # whatever was left out, the last word is what lasts
        voice.lasts("r", "here")
    assert log.lines[4:] == [("info", "limits are kept in redis", {"redis": "here"})]
    now_s += 10.0
    voice.up("r", "here")
    assert len(log.lines) == 6


def _resets(world: World, times: int) -> bool:
    return world.backoff.resets == times


def test_a_connection_that_lasts_is_a_good_one(log: KeptLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mending, "LASTED_S", 0.0)
    monkeypatch.setattr(mending, "LOOK_S", 0.001)
    world = World()
    with mended(world) as mender:
        for times in range(1, 4):
            assert up(mender, times)
            assert eventually(partial(_resets, world, times))
            world.ends[-1].close()
    assert log.lines[-1][1] == "limits are kept in redis"


class Steady(Backoff):
    """Never pauses: nothing here waits for time."""

    def __init__(self) -> None:
        super().__init__(lambda: 0.0)
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1


class World:
    """A server that may be there, as a mender sees it: each connection is one end of a pair of sockets."""

    def __init__(self) -> None:
        self.ends: list[socket.socket] = []
        self.tries = 0
        self.refusals: SimpleQueue[Exception] = SimpleQueue()
        self.using = threading.Lock()
        self.changes: list[bool] = []
        self.backoff = Steady()
        self.still: Callable[[Link], bool] | None = None

    def leave(self) -> None:
        for end in self.ends:
            end.close()

    def opened(self) -> Link:
        self.tries += 1
        if not self.refusals.empty():
            raise self.refusals.get()
        ours, theirs = socket.socketpair()
        self.ends.append(theirs)
        return Link(ours, HERE)


@contextmanager
def mended(world: World) -> Iterator[Mender]:
    mender = Mender("r", world.opened, world.using, Voice(), lambda: changed(), world.backoff, world.still)

    def changed() -> None:
        assert world.using.locked()
        world.changes.append(mender.link is not None)

    with ExitStack() as stack:
        stack.callback(world.leave)
        stack.callback(mender.close)
        mender.start()
        yield mender


def up(mender: Mender, times: int = 1) -> bool:
    return eventually(lambda: mender.link is not None and mender.opened == times)


def test_a_connection_is_opened_and_opened_anew_when_its_server_closes_it() -> None:
    world = World()
    with mended(world) as mender:
        assert up(mender)
        world.ends[0].shutdown(socket.SHUT_WR)
        assert up(mender, 2)
        assert mender.facts == ("r", True, 2, "closed")
        assert world.changes == [True, False, True]


def test_data_that_comes_is_no_reason_to_open_another() -> None:
    world = World()
    with mended(world) as mender:
        assert up(mender)
        world.ends[0].sendall(b"*1\r\n:1\r\n")
        world.ends[0].shutdown(socket.SHUT_WR)  # seen after the data
        assert up(mender, 2)
        assert world.tries == 2


def test_a_connection_that_is_dropped_is_out_of_use_at_once_and_then_closed() -> None:
    world = World()
    with mended(world) as mender:
        assert up(mender)
        with world.using:
            link = mender.link
            assert link is not None
            mender.drop(link, "timeout")
            assert mender.link is None
            assert mender.facts[1:] == (False, 1, "timeout")
            mender.drop(link, "closed")  # by its user, who was late
        assert up(mender, 2)
        assert link.fileno() == -1
        assert world.changes == [True, False, True]


def test_a_connection_that_leads_astray_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mending, "LOOK_S", 0.001)
    world = World()
    answers = iter([True, True, False])
    world.still = lambda _: next(answers, True)
    with mended(world) as mender:
        assert up(mender, 2)
        assert mender.facts.why == "moved"
        assert world.ends[0].recv(1) == b""


def test_no_connection_is_closed_under_the_hands_of_its_user() -> None:
    world = World()
    with mended(world) as mender:
        assert up(mender)
        with world.using:
            link = mender.link
            assert link is not None
            world.ends[0].close()
            assert eventually(lambda: not link.is_quiet())
            assert link.fileno() != -1  # whatever its user does meanwhile
        assert up(mender, 2)
        assert link.fileno() == -1


def test_refusals_and_faults_of_ours_are_told_and_tried_again(log: KeptLog) -> None:
    world = World()
    world.refusals.put(LinkFailed("loading", "r: LOADING"))
    world.refusals.put(LinkFailed("loading", "r: LOADING"))
    world.refusals.put(ValueError("a fault"))
    with mended(world) as mender:
        assert up(mender)
    assert world.tries == 4
    assert [(level, event) for level, event, _ in log.lines] == [
        ("warning", "redis cannot be used"),
        ("exception", "a connection to redis could not be opened"),
        ("warning", "redis cannot be used"),
        ("info", "limits are kept in redis"),
    ]
    assert log.lines[2][2]["what"] == "a fault of ours: ValueError"


def test_after_the_end_nothing_is_opened() -> None:
    world = World()
    with mended(world) as mender:
        assert up(mender)
        assert mender.close()
        assert mender.link is None
        assert world.ends[0].recv(1) == b""
        assert mender.close()
    assert world.tries == 1
    assert Mender("r", world.opened, world.using, Voice()).close()


def test_the_end_waits_for_nobody_who_is_still_connecting() -> None:
    world, let_go = World(), threading.Event()
    real = world.opened

    def slow() -> Link:
        let_go.wait(20)
        return real()

    world.opened = slow  # type: ignore[method-assign]  # as a server that takes its time
    with mended(world) as mender:
        assert not mender.close(0.0)
        let_go.set()
        assert mender.close()
        assert world.ends[0].recv(1) == b""
