"""Looking at buckets in Redis: real servers, and one that answers nonsense."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from struct import pack

import pytest

from authz.limits.redis import inspect
from authz.limits.redis.inspect import Inspector, Named, Value, inspector
from authz.limits.redis.keys import Keys
from authz.limits.redis.slots import slot_of
from authz.model.errors import ConfigError, StoreUnavailable
from authz.model.limit import Rate, Spend
from authz.model.redis_address import NOBODY, Login, RedisTls, parse_redis_url
from tests.support.certificates import Authority
from tests.support.fake_redis import CLOSE, Answer, FakeRedis, array
from tests.support.redis import RedisServer, redis_cluster, redis_server, sentinel_set

KEYS = Keys("here")


def key(number: int, limit: str = "per-key", keys: Keys = KEYS) -> bytes:
    bucket = (limit, "example", str(number))
    return keys.name(Spend(limit, bucket, Rate(1.0, 1.0), 1.0, ("customer", "example", str(number))))


def owed(debt: float, ago_s: float = 0.0) -> bytes:
    return pack("<dd", debt, (time.time() - ago_s) * 1e6)


@contextmanager
def looking(url: str, visits_max: int = 10**6, sentinel: Login = NOBODY) -> Iterator[Inspector]:
    with closing(inspector(parse_redis_url(url), RedisTls(), sentinel, KEYS.prefix, visits_max)) as made:
        yield made


def searched(made: Inspector, tag: str = "*", limit: str = "*", digest: str = "*") -> dict[bytes, Value]:
    found: dict[bytes, Value] = {}
    for some in made.search(tag, limit, digest):
        found |= some
    return found


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def server(redis: RedisServer) -> RedisServer:
    redis.ask("FLUSHALL")
    return redis


def put(server: RedisServer, name: bytes, value: bytes) -> None:
    server.ask("SET", name, value)


def test_a_key_says_what_it_is_of(server: RedisServer) -> None:
    with looking(server.url) as made:
        spend = Spend("a-b", ("shadow/a-b", "", "x"), Rate(1.0, 1.0), 1.0)
        named = Named(KEYS.tag(spend.bucket), "shadow/a-b", KEYS.digest(spend.bucket))
        assert made.parts(KEYS.name(spend)) == named
        for other in (b"authz:here:fleet", b"authz:here:proof{1}", b"authz:there:{a}:b:c", b"\xff"):
            assert made.parts(other) is None


def test_what_is_owed_is_read_with_the_servers_clock_and_a_full_bucket_is_not_there(
    server: RedisServer,
) -> None:
    put(server, key(1), owed(2.5, ago_s=60.0))
    with looking(server.url) as made:
        found = made.read([key(1), key(2)])
    assert list(found) == [key(1)]
    assert found[key(1)].debt == 2.5
    assert 59e6 < found[key(1)].elapsed_us < 90e6


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"17 bytes in total",
        pack("<dd", -1, 1),
        pack("<dd", 2.0**43, 1),
        pack("<dd", float("nan"), 1),
        pack("<dd", 1, float("inf")),
    ],
)
def test_what_is_no_bucket_is_told_as_such(server: RedisServer, value: bytes) -> None:
    put(server, key(1), value)
    server.ask("LPUSH", key(2), "a list")
    with looking(server.url) as made:
        assert made.read([key(1), key(2)]) == {key(1): Value(None, 0), key(2): Value(None, 0)}


def test_a_search_finds_every_bucket_of_its_keyspace_and_nothing_else(server: RedisServer) -> None:
    for number in range(1200):
        put(server, key(number), owed(1.0))
        put(server, key(number, keys=Keys("there")), owed(1.0))
    server.ask("ZADD", "authz:here:fleet", 1, "x")
    told: list[tuple[int, int]] = []
    with looking(server.url) as made:
        found: dict[bytes, Value] = {}
        for some in made.search(progress=lambda *how: told.append(how)):
            found |= some
        assert not made.stopped
    assert set(found) == {key(number) for number in range(1200)}
    assert told[-1][0] >= 2401
    assert {total for _, total in told} == {2401}


def test_a_search_may_be_for_a_tag_a_limit_or_a_digest(server: RedisServer) -> None:
    for limit in ("per-key", "other"):
        for number in range(3):
            put(server, key(number, limit), owed(1.0))
    with looking(server.url) as made:
        assert set(searched(made, limit="other")) == {key(number, "other") for number in range(3)}
        tag = KEYS.tag(("customer", "example", "1"))
        assert set(searched(made, tag=tag)) == {key(1), key(1, "other")}
        assert set(searched(made, digest=KEYS.digest(("other", "example", "2")))) == {key(2, "other")}


def test_a_search_ends_at_its_bound_and_says_so(server: RedisServer) -> None:
    for number in range(1200):
        put(server, key(number), owed(1.0))
    with looking(server.url, visits_max=inspect.SCAN_COUNT) as made:
        found = searched(made)
        assert made.stopped
    assert 0 < len(found) < 1200


def test_what_is_removed_is_counted(server: RedisServer) -> None:
    for number in range(600):
        put(server, key(number), owed(1.0))
    with looking(server.url) as made:
        assert made.remove([key(number) for number in range(700)]) == 600
        assert searched(made) == {}


def test_no_command_looks_at_everything_at_once(server: RedisServer) -> None:
    server.ask("CONFIG", "RESETSTAT")
    with looking(server.url) as made:
        searched(made)
        made.remove([*made.read([key(1)]), key(1)])
    with server.client() as client:
        used = {name.partition("_")[2] for name in client.info("commandstats")}
    ours = used - {"config|resetstat", "config", "info", "client"}  # those are the test's own
    assert ours == {"scan", "get", "time", "del", "dbsize"}


def test_a_user_of_redis_needs_no_more_than_these_commands(server: RedisServer) -> None:
    put(server, key(1), owed(1.0))
    rights = ("~authz:here:*", "+scan", "+get", "+time", "+del", "+dbsize", "+zcard")
    server.ask("ACL", "SETUSER", "night", "on", ">pass", *rights)
    with looking(f"redis://night:pass@127.0.0.1:{server.port}") as made:
        assert set(searched(made)) == {key(1)}
        assert made.remove([key(1)]) == 1


def test_a_wrong_password_is_a_line_that_does_not_repeat_it(server: RedisServer) -> None:
    with pytest.raises(StoreUnavailable) as raised, looking(f"redis://a:hush-hush@127.0.0.1:{server.port}"):
        pass
    assert "hush" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        (b"SCAN", b"-NOPERM this user has no permissions\r\n"),
        (b"SCAN", array(1, 2)),
        (b"SCAN", b"+OK\r\n"),
        (b"SCAN", CLOSE),
        (b"GET", b"-LOADING Redis is loading\r\n"),
        (b"TIME", b"+OK\r\n"),
        (b"DEL", b"-READONLY You can't write against a read only replica.\r\n"),
    ],
)
def test_a_server_that_answers_otherwise_is_a_line_that_names_it(word: bytes, answer: Answer) -> None:
    answers: dict[bytes, Answer] = {
        b"SCAN": array(b"0", [key(1)]),
        b"GET": array(),
        b"TIME": array(b"1", b"2"),
        b"DEL": b":1\r\n",
        b"DBSIZE": b"-NOPERM no\r\n",
        word: answer,
    }

    def everything(made: Inspector) -> None:
        searched(made)
        made.remove([key(1)])

    with FakeRedis(answers) as fake, looking(fake.url) as made:
        where = str(fake.address)
        with pytest.raises(StoreUnavailable, match=where) as raised:
            everything(made)
    assert "\n" not in str(raised.value)


def test_certificates_are_those_of_the_settings(tmp_path: Path) -> None:
    ca, stranger = Authority(), Authority()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*ca.vouch(addresses=["127.0.0.1"]).written(tmp_path, "server"))
    answers: dict[bytes, Answer] = {b"SCAN": array(b"0", []), b"DBSIZE": b":0\r\n"}
    with FakeRedis(answers, tls=context) as fake:
        address = parse_redis_url(f"rediss://{fake.address}")
        ours = RedisTls(ca.written(tmp_path))
        with closing(inspector(address, ours, NOBODY, KEYS.prefix, 1)) as made:
            assert searched(made) == {}
        (tmp_path / "other").mkdir()
        theirs = RedisTls(stranger.written(tmp_path / "other"))
        with pytest.raises(StoreUnavailable, match="its certificate"):
            inspector(address, theirs, NOBODY, KEYS.prefix, 1)
    with pytest.raises(ConfigError, match="redis_ca"):
        inspector(address, RedisTls(tmp_path / "none"), NOBODY, KEYS.prefix, 1)


def test_one_that_says_nothing_is_not_waited_for_for_ever(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect, "PATIENCE_S", 0.2)
    with looking(server.url) as made:
        server.pause()
        try:
            with pytest.raises(StoreUnavailable, match="does not answer in time"):
                made.read([key(1)])
        finally:
            server.resume()


def test_the_masters_of_a_cluster_are_all_looked_at() -> None:
    with redis_cluster() as cluster:
        fleet = b"authz:here:fleet"
        cluster.owner(slot_of(fleet)).ask("ZADD", fleet, 1, "a", 2, "b")
        for number in range(50):
            put(cluster.owner(slot_of(key(number))), key(number), owed(1.0))
        with looking(cluster.url) as made:
            wanted = {key(number) for number in range(50)}
            assert set(searched(made)) == wanted
            assert set(made.read([*wanted, key(99)])) == wanted
            assert made.fleet() == 2
            assert made.remove(wanted) == 50
            assert searched(made) == {}


def test_the_master_that_sentinels_point_at_is_looked_at() -> None:
    with sentinel_set() as watched:
        put(watched.servers[0], key(1), owed(1.0))
        with looking(watched.url) as made:
            assert set(searched(made)) == {key(1)}
            assert made.remove([key(1)]) == 1


def test_what_is_no_cluster_is_said(server: RedisServer) -> None:
    with (
        pytest.raises(StoreUnavailable, match="is it one"),
        looking(f"redis+cluster://127.0.0.1:{server.port}"),
    ):
        pass
    with pytest.raises(StoreUnavailable, match="refused"), looking("redis+cluster://127.0.0.1:1"):
        pass
