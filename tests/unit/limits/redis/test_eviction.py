from __future__ import annotations

import socket

import pytest

from authz.limits.redis.errors import LinkFailed
from authz.limits.redis.eviction import EvictionCheck
from authz.limits.redis.link import Link
from authz.model.address import TcpAddress
from tests.support.fake_redis import CLOSE, Answer, FakeRedis, array, bulk
from tests.support.redis import redis_server

NO = b"-NOPERM this user has no permissions\r\n"


class Heard:
    """What a check tells."""

    def __init__(self) -> None:
        self.warned: list[str] = []
        self.informed: list[str] = []
        self.known: list[bool] = []
        self.check = EvictionCheck(
            lambda _, what: self.warned.append(what),
            lambda _, what: self.informed.append(what),
            self.known.append,
        )

    def look(self, address: TcpAddress) -> None:
        link = Link(socket.create_connection((address.host, address.port)), address)
        try:
            self.check.look(link)
        finally:
            link.close()


def info(maxmemory: bytes, policy: bytes) -> bytes:
    return bulk(b"# Memory\r\nmaxmemory:%s\r\nmaxmemory_policy:%s\r\n" % (maxmemory, policy))


def config(maxmemory: bytes, policy: bytes) -> Answer:
    values = {b"maxmemory": maxmemory, b"maxmemory-policy": policy}
    return lambda words: array(words[-1], values[words[-1]])


@pytest.mark.parametrize(
    ("maxmemory", "policy", "warns"),
    [
        (b"0", b"allkeys-lru", False),
        (b"1000000", b"noeviction", False),
        (b"1000000", b"volatile-ttl", False),
        (b"1000000", b"allkeys-lru", True),
        (b"1000000", b"volatile-lru", True),
        (b"1000000", b"volatile-random", True),
    ],
)
@pytest.mark.parametrize("by", ["info", "config"])
def test_who_may_throw_buckets_away_is_warned_of_once(
    maxmemory: bytes, policy: bytes, warns: bool, by: str
) -> None:
    answers: dict[bytes, Answer] = {b"INFO": info(maxmemory, policy)}
    if by == "config":
        answers = {b"INFO": NO, b"CONFIG": config(maxmemory, policy)}
    heard = Heard()
    with FakeRedis(answers) as server:
        for _ in range(3):
            heard.look(server.address)
    assert len(heard.warned) == warns
    assert heard.informed == []
    assert heard.known == [warns]


def test_where_a_server_does_not_tell_that_is_said_quietly() -> None:
    heard = Heard()
    with FakeRedis({b"INFO": NO, b"CONFIG": NO}) as server:
        for _ in range(3):
            heard.look(server.address)
        assert len(heard.informed) == 1
        assert "ACL allows neither INFO nor CONFIG GET" in heard.informed[0]
        assert heard.warned == []
        assert heard.known == []
    with FakeRedis({b"INFO": bulk(b"maxmemory:0\r\n"), b"CONFIG": array()}) as server:
        heard.look(server.address)
        assert len(heard.informed) == 2


def test_a_server_that_does_not_answer_is_asked_again() -> None:
    heard = Heard()
    with FakeRedis({b"INFO": CLOSE}) as server:
        with pytest.raises(LinkFailed):
            heard.look(server.address)
        server.answers[b"INFO"] = info(b"1", b"allkeys-lru")
        heard.look(server.address)
    assert len(heard.warned) == 1


def test_a_real_server_tells() -> None:
    heard = Heard()
    with redis_server("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as server:
        heard.look(TcpAddress("127.0.0.1", server.port))
    assert heard.warned == [
        "its maxmemory-policy is allkeys-lru: when it is full it evicts buckets, which are then full again;"
        " set noeviction or volatile-ttl"
    ]
