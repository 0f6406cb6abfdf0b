"""Buckets in a real Redis, found by whom they belong to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from struct import pack

import pytest

from authz.limits.redis.inspect import Inspector, inspector
from authz.limits.redis.keys import Keys
from authz.lookout.in_redis import InRedis
from authz.lookout.naming import Directory
from authz.lookout.selection import Selection, Target
from authz.lookout.standing import Match
from authz.model.limit import Rate, Spend
from authz.model.redis_address import NOBODY, RedisTls, parse_redis_url
from tests.support.buckets import FIRST, OTHER, SECOND, census
from tests.support.redis import RedisServer, redis_server

KEYS = Keys("default")
EVERYBODY = census()
DIRECTORY = Directory(EVERYBODY, KEYS)
ACME, GLOBEX = ("customer", "example", "acme"), ("customer", "example", "globex")


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def server(redis: RedisServer) -> RedisServer:
    redis.ask("FLUSHALL")
    return redis


@pytest.fixture
def looking(server: RedisServer) -> Iterator[Inspector]:
    address = parse_redis_url(server.url)
    with closing(inspector(address, RedisTls(), NOBODY, KEYS.prefix, 10**6)) as made:
        yield made


@pytest.fixture
def inside(looking: Inspector) -> InRedis:
    return InRedis(looking, KEYS, "here", lambda *_: None)


def owe(server: RedisServer, debt: float, caller: tuple[str, ...], *bucket: str) -> bytes:
    name = KEYS.name(Spend(bucket[0].rpartition("/")[2], bucket, Rate(1.0, 1.0), 1.0, caller))
    server.ask("SET", name, pack("<dd", debt, time.time() * 1e6))
    return name


def found(matches: list[Match]) -> set[tuple[bytes, str, bool]]:
    return {(match.found.key, match.target.limit.name, match.theirs) for match in matches}


def of_key(limit: str = "", key: str = "first") -> list[Target]:
    return Selection(EVERYBODY, limit).of_key(key)


def test_a_bucket_whose_key_is_known_is_read_without_a_search(
    server: RedisServer, inside: InRedis, looking: Inspector
) -> None:
    mine = owe(server, 1.0, ACME, "per-key", "example", FIRST.id)
    owe(server, 1.0, ACME, "per-key", "example", SECOND.id)
    assert found(inside.find(of_key("per-key"))) == {(mine, "per-key", True)}
    assert looking.visited == 0


def test_what_is_open_is_found_by_the_callers_tag(server: RedisServer, inside: InRedis) -> None:
    names = {owe(server, 1.0, ACME, "per-method", "example", "acme", method) for method in ("GET", "PUT")}
    owe(server, 1.0, GLOBEX, "per-method", "example", "globex", "GET")
    owe(server, 1.0, ACME, "per-customer", "example", "acme")
    assert found(inside.find(of_key("per-method"))) == {(name, "per-method", True) for name in names}


def test_what_may_be_another_keys_of_the_same_customer_is_not_surely_theirs(
    server: RedisServer, inside: InRedis
) -> None:
    names = {owe(server, 1.0, ACME, "per-key-method", "example", key.id, "GET") for key in (FIRST, SECOND)}
    assert found(inside.find(of_key("per-key-method"))) == {(name, "per-key-method", False) for name in names}


def test_of_a_key_that_the_set_has_not_a_bucket_is_found_by_its_digest(
    server: RedisServer, inside: InRedis
) -> None:
    gone = owe(server, 1.0, ("customer", "example", "whoever"), "per-key", "example", "goneGoneGone")
    owe(server, 1.0, GLOBEX, "per-key", "example", OTHER.id)
    targets = Selection(EVERYBODY, "per-key").of_values(["goneGoneGone"], "example")
    assert found(inside.find(targets)) == {(gone, "per-key", True)}


def test_what_no_key_can_be_told_to_be_of_is_said(inside: InRedis) -> None:
    (visit,) = (limit for name, limit in EVERYBODY.limits.items() if name == "per-visit")
    hidden = Target(visit, ("per-visit", "example", None), (), visit.rate, 1.0)
    assert inside.find([hidden]) == []
    assert inside.hidden == [hidden]


def test_the_fullest_come_first_and_no_more_than_are_asked_for(server: RedisServer, inside: InRedis) -> None:
    owe(server, 1.0, ACME, "per-key", "example", FIRST.id)  # of 2
    owe(server, 3.0, ACME, "per-key", "example", SECOND.id)  # of 4
    owe(server, 6.0, GLOBEX, "per-customer", "example", "globex")  # of 6
    owe(server, 6.0, ACME, "per-customer", "example", "acme")  # of 60
    owe(server, 9.0, (), "gone", "", "x")
    rows = inside.fullest("", 3, DIRECTORY)
    assert [row.whose for row in rows] == ["customer globex", "key second", "key first"]
    assert inside.strange == {"gone"}
    assert not inside.cut


def test_the_fullest_of_one_limit_are_those_in_shadow_too_and_of_no_other(
    server: RedisServer, inside: InRedis
) -> None:
    owe(server, 1.0, ACME, "per-method", "example", "acme", "GET")
    owe(server, 1.0, ACME, "shadow/per-method", "example", "acme", "GET")
    owe(server, 1.0, ACME, "per-key-method", "example", FIRST.id, "GET")
    assert {row.bucket[0] for row in inside.fullest("per-method", 10, DIRECTORY)} == {
        "per-method",
        "shadow/per-method",
    }


def test_what_is_no_bucket_comes_before_all(server: RedisServer, inside: InRedis) -> None:
    owe(server, 2.0, ACME, "per-key", "example", FIRST.id)
    name = owe(server, 1.0, ACME, "per-key", "example", SECOND.id)
    server.ask("SET", name, "nonsense")
    assert [row.debt is None for row in inside.fullest("", 10, DIRECTORY)] == [True, False]


def test_a_keyspace_in_which_nobody_spends_is_known_by_its_fleet(
    server: RedisServer, inside: InRedis
) -> None:
    told = [inside.deserted]
    server.ask("ZADD", "authz:default:fleet", 1, "somebody")
    told.append(inside.deserted)
    server.ask("SET", "authz:default:fleet", "nonsense")
    told.append(inside.deserted)  # nobody knows
    assert told == [True, False, False]


def test_what_is_reset_is_gone(server: RedisServer, inside: InRedis) -> None:
    owe(server, 1.0, ACME, "per-key", "example", FIRST.id)
    owe(server, 1.0, ACME, "per-key", "example", SECOND.id)
    assert inside.reset(inside.find(of_key("per-key"))) == 1
    assert inside.find(of_key("per-key")) == []
    assert len(inside.find(of_key("per-key", "second"))) == 1
