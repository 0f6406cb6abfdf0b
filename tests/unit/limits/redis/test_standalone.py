"""One connection to one server: a real one, and one that answers whatever it is told to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from authz.limits.redis.errors import DOWN
from authz.limits.redis.session import Script, ScriptCall, Unanswered
from authz.limits.redis.standalone import SingleSession
from tests.support.fake_redis import CLOSE, PLAIN, Answer, FakeRedis, array, in_turn
from tests.support.proxy import eventually
from tests.support.redis import RedisServer, redis_server
from tests.support.sessions import key, session, spend, spent, stands

GONE = Unanswered("closed")


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@pytest.fixture(autouse=True)
def _emptied(server: RedisServer) -> None:
    server.ask("FLUSHALL")
    server.ask("SCRIPT", "FLUSH")


@pytest.mark.parametrize("unix", [False, True])
def test_calls_are_answered_in_their_order(server: RedisServer, unix: bool) -> None:
    with session(server.unix_url if unix else server.url) as made:
        assert made.slot(key()) == 0
        assert spent(spend(made, key(1), key(2), key(1), key(1))) == [1, 1, 2, 3]
        assert made.run([]) == []
        assert made.generation == 1


def test_only_the_numbered_database_is_written_to(server: RedisServer) -> None:
    with session(server.url[:-1] + "3") as made:
        assert spent(spend(made, key())) == [1]
    assert list(server.ask("INFO", "keyspace")) == ["db3"]


def test_a_batch_of_many_calls_is_sent_before_any_is_read(server: RedisServer) -> None:
    with session(server.url) as made:
        names = [key(number) for number in range(2000)]
        assert spent(spend(made, *names)) == [1] * 2000


def test_a_script_that_the_server_forgot_is_loaded_and_the_calls_are_sent_once_more(
    server: RedisServer,
) -> None:
    with session(server.url) as made:
        server.ask("SCRIPT", "FLUSH")
        assert spent(spend(made, key(), key(), key(1))) == [1, 2, 1]
        assert made.generation == 1


def test_a_script_that_no_connection_has_loaded_is_loaded_when_it_is_first_called(
    server: RedisServer,
) -> None:
    other = Script.of(b"return {tonumber(ARGV[1]), #KEYS}")
    with session(server.url) as made:
        calls = [ScriptCall(0, (key(),), b"7", other), ScriptCall(0, (key(), key(1)), b"8", other)]
        assert [*made.run(calls)] == [[7, 1], [8, 2]]
        assert made.generation == 1


def test_a_server_that_comes_back_is_found_again(server: RedisServer) -> None:
    with session(server.url) as made:
        server.kill()
        assert eventually(lambda: not made.answers())
        assert spend(made, key()) == [DOWN]
        server.start()
        assert stands(made)
        assert made.generation == 2
        assert made.facts[0].opened == 2
        assert spent(spend(made, key())) == [1]


def test_a_server_that_hangs_costs_one_timeout_and_then_nothing(server: RedisServer) -> None:
    with session(server.url, call_s=0.05) as made:
        server.pause()
        try:
            assert spend(made, key(), key(1)) == [Unanswered("timeout")] * 2
            assert not made.answers()
            assert spend(made, key()) == [DOWN]
        finally:
            server.resume()
        assert stands(made)
        assert made.generation == 2


def test_a_connection_that_the_server_closes_while_nobody_calls_is_mended_before_the_next_call(
    server: RedisServer,
) -> None:
    with session(server.url) as made:
        server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert eventually(lambda: made.generation == 2)
        assert stands(made)
        assert spent(spend(made, key())) == [1]


def test_a_value_of_another_type_concerns_the_one_call(server: RedisServer) -> None:
    server.ask("LPUSH", key(1), "x")
    with session(server.url) as made:
        replies = spend(made, key(), key(1), key(2))
        assert replies[1] == [-1, -1]
        assert spent([replies[0], replies[2]]) == [1, 1]
        assert made.generation == 1


def test_a_replica_is_never_spent_from(server: RedisServer) -> None:
    with session(server.url) as made:
        server.ask("REPLICAOF", "127.0.0.1", server.port)  # of itself: it takes no writes from now on
        try:
            assert spend(made, key()) == [Unanswered("readonly")]
            assert eventually(lambda: not made.answers() and made.facts[0].why in ("readonly", "masterdown"))
        finally:
            server.ask("REPLICAOF", "NO", "ONE")
        assert stands(made)


def test_a_server_that_is_full_is_left_alone_until_it_has_room(server: RedisServer) -> None:
    with session(server.url) as made:
        server.ask("CONFIG", "SET", "maxmemory", "1")
        try:
            assert spend(made, key()) == [Unanswered("oom")]
            assert not made.answers()
        finally:
            server.ask("CONFIG", "SET", "maxmemory", "0")
        assert stands(made)
        assert spent(spend(made, key())) == [1]


def test_a_user_with_few_rights_is_enough_and_one_with_fewer_is_told() -> None:
    rights = "+evalsha +script|load +time +get +set"
    with redis_server() as server:
        server.ask("ACL", "SETUSER", "authz", "on", ">pw", "resetkeys", "~authz:test:*", *rights.split())
        server.ask("ACL", "SETUSER", "less", "on", ">pw", "resetkeys", "~other:*", *rights.split())
        with session(server.url.replace("//", "//authz:pw@")) as made:
            assert spent(spend(made, key())) == [1]
            (refused,) = spend(made, b"elsewhere")
            assert refused == Unanswered("noperm")
            assert made.answers(), "the connection is well, and others of its calls are allowed"
        with session(server.url.replace("//", "//less:pw@"), links=0) as made:
            assert eventually(lambda: made.facts[0].why == "noperm")
            assert not made.answers()


# A server that answers what it is told to.


def test_a_call_that_was_sent_is_never_sent_again() -> None:
    evalsha = in_turn(array(1, 7), CLOSE, array(1, 7), array(1, 8))
    with FakeRedis({b"EVALSHA": evalsha}) as fake, session(fake.url) as made:
        assert spend(made, key()) == [GONE]
        assert eventually(lambda: made.generation == 2)
        assert fake.count(b"EVALSHA") == 3  # proof, the call, proof
        assert spend(made, key()) == [[1, 8]]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "broken"),
        (b"*2\r\n:1\r\n$1\r\nx\r\n", "broken"),
        (b"+OK\r\n", "broken"),
        (b"$-1\r\n", "broken"),
        (b"*-1\r\n", "broken"),
        (b"*2\r\n:1\r\n", "timeout"),
        (b"", "timeout"),
        (CLOSE, "closed"),
        (b"*2\r\n:1\r\n:7\r\n*2\r\n:1\r\n:7\r\n", "broken"),
        (b"-READONLY You can't write against a read only replica.\r\n", "readonly"),
        (b"-LOADING Redis is loading the dataset in memory\r\n", "loading"),
        (b"-MASTERDOWN Link with MASTER is down\r\n", "masterdown"),
        (b"-CLUSTERDOWN The cluster is down\r\n", "clusterdown"),
        (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", "oom"),
        (b"-MISCONF Redis is configured to save RDB snapshots\r\n", "misconf"),
        (b"-BUSY Redis is busy running a script\r\n", "busy"),
        (b"-NOAUTH Authentication required.\r\n", "noauth"),
        (b"-INVENTED by nobody we know\r\n", "other"),
    ],
)
def test_after_whatever_went_wrong_the_connection_is_never_used_again(answer: Answer, why: str) -> None:
    evalsha = in_turn(array(1, 7), answer, array(1, 7))  # type: ignore[arg-type]  # never a function here
    with FakeRedis({b"EVALSHA": evalsha}) as fake, session(fake.url, call_s=0.2) as made:
        assert spend(made, key()) == [Unanswered(why)]
        assert made.facts[0].why == why
        assert eventually(lambda: made.answers() and made.generation == 2)
        assert fake.connections == 2


@pytest.mark.parametrize(
    "word", [b"ERR", b"WRONGTYPE", b"NOPERM", b"TRYAGAIN", b"CROSSSLOT", b"MOVED", b"ASK"]
)
def test_an_error_that_concerns_a_call_costs_nobody_else_the_connection(word: bytes) -> None:
    evalsha = in_turn(array(1, 7), b"-%s 1 127.0.0.1:1\r\n" % word, array(1, 8))
    with FakeRedis({b"EVALSHA": evalsha}) as fake, session(fake.url) as made:
        assert spend(made, key(), key()) == [Unanswered(word.decode().lower()), [1, 8]]
        assert made.generation == 1
        assert made.answers()


def test_a_server_that_forgets_the_script_over_and_over_is_asked_twice_and_no_more() -> None:
    noscript = b"-NOSCRIPT No matching script. Please use EVAL.\r\n"
    evalsha = in_turn(array(1, 7), noscript)
    with FakeRedis({b"EVALSHA": evalsha}) as fake, session(fake.url) as made:
        assert spend(made, key(), key()) == [Unanswered("noscript")] * 2
        assert fake.count(b"EVALSHA") == 1 + 4
        assert fake.count(b"SCRIPT") == 1 + 1, "once for both"


def test_what_comes_unasked_answers_nothing() -> None:
    with FakeRedis() as fake, session(fake.url) as made:
        fake.push(array(1, 1))
        assert isinstance(made, SingleSession)
        link = made._mender.link
        assert link is not None
        assert eventually(lambda: not link.is_quiet())
        assert spend(made, key()) == [DOWN]
        assert fake.count(b"EVALSHA") == 1, "nothing was sent"
        assert eventually(lambda: made.answers() and made.generation == 2)


def test_a_server_that_is_not_believed_any_more_is_left_and_tried_anew() -> None:
    with FakeRedis() as fake, session(fake.url) as made:
        made.distrust(0)
        assert eventually(lambda: made.answers() and made.generation == 2)
        assert made.facts[0].why == "broken"
        fake.refuse()
        fake.hang_up()
        assert eventually(lambda: not made.answers())
        made.distrust(0)  # of nobody


def test_whose_user_may_not_do_the_work_is_told_what_that_needs() -> None:
    denied: dict[bytes, Answer] = {b"EVALSHA": b"-NOPERM this user has no permissions\r\n"}
    with capture_logs() as logs, FakeRedis(denied) as fake, session(fake.url, links=0):
        assert eventually(lambda: any("AUTHZ_KEYSPACE" in line.get("what", "") for line in logs))


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ({b"SCRIPT": b"-NOPERM this user has no permissions\r\n"}, "noperm"),
        ({b"SCRIPT": b"$40\r\n" + b"0" * 40 + b"\r\n"}, "broken"),
        ({b"EVALSHA": b"-READONLY You can't write\r\n"}, "readonly"),
        ({b"EVALSHA": b"-LOADING\r\n"}, "loading"),
        ({b"EVALSHA": b"-OOM\r\n"}, "oom"),
        ({b"EVALSHA": b"-MOVED 1 127.0.0.1:1\r\n"}, "moved"),
        ({b"EVALSHA": b"+OK\r\n"}, "broken"),
        ({b"SCRIPT": b"SSH-2.0-OpenSSH\r\n"}, "broken"),
        ({b"SCRIPT": CLOSE}, "closed"),
        ({b"SCRIPT": b""}, "timeout"),
    ],
)
def test_a_server_that_cannot_do_the_work_is_never_asked_for_it(
    answers: dict[bytes, Answer], why: str
) -> None:
    with FakeRedis(answers) as fake, session(fake.url, connect_s=0.2, links=0) as made:
        assert eventually(lambda: made.facts[0].why == why)
        assert not made.answers()
        assert spend(made, key()) == [DOWN]
        fake.answers.update(PLAIN)
        assert stands(made), "and asked again once it can"
