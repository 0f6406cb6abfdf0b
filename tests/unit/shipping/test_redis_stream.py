from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from authz.model.sink import SinkAddress, parse_sink
from authz.shipping import redis_stream
from authz.shipping.delivery import Batch, Sink, Unavailable
from authz.shipping.errand import Access
from authz.shipping.redis_stream import RedisStreamSink
from tests.support.certificates import Authority
from tests.support.hostile_redis import HostileRedis, Line, Play, hostile_redis
from tests.support.redis import LOOPBACK, RedisServer, redis_server, tls_front

STREAM = "019ab0000000000a"
CANARY = "canary-of-a-server"
NOWHERE = Path("/nonexistent")


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@pytest.fixture(autouse=True)
def _empty(request: pytest.FixtureRequest) -> None:
    if "server" in request.fixturenames:
        request.getfixturevalue("server").ask("FLUSHALL")


@pytest.fixture(scope="module")
def hostile() -> Iterator[HostileRedis]:
    with hostile_redis(NOWHERE) as running:
        yield running


def address(port: int, db: int = 0, scheme: str = "redis") -> SinkAddress:
    return parse_sink(f"{scheme}://{LOOPBACK}:{port}/{db}/records")


def sink(port: int, access: Access = Access(), db: int = 0) -> RedisStreamSink:  # noqa: B008 - a frozen value
    return RedisStreamSink(address(port, db), access, "redis")


def batch(count: int = 3, first: int = 1) -> Batch:
    lines = b"".join(b'{"seq":%d}\n' % seq for seq in range(first, first + count))
    return Batch(STREAM, lines, count, first, first + count - 1, 0)


def refusal(one: Sink, offered: Batch | None = None) -> str:
    """Return what a delivery is refused with, which is fit for a log, whatever a server says."""
    began_s = time.monotonic()
    with pytest.raises(Unavailable) as refused:
        one.deliver(offered or batch())
    assert time.monotonic() - began_s < 15.0  # for a machine that does ten other things
    one.close()
    words = str(refused.value)
    assert words.isprintable()
    assert len(words) < 300
    assert CANARY not in words
    return words


def length(server: RedisServer) -> int:
    return int(server.ask("XLEN", "records"))


# What it writes.


def test_an_entry_has_the_line_without_its_newline_and_the_stream_it_is_of(server: RedisServer) -> None:
    one = sink(server.port, db=3)
    one.deliver(batch(2))
    one.close()
    with server.client() as client:
        client.execute_command("SELECT", 3)  # type: ignore[no-untyped-call]  # so in the library
        entries = client.execute_command("XRANGE", "records", "-", "+")  # type: ignore[no-untyped-call]  # as above
    assert [fields for _, fields in entries] == [
        {b"stream": STREAM.encode(), b"record": b'{"seq":%d}' % seq} for seq in (1, 2)
    ]


def test_it_has_a_name_and_asks_for_batches_that_do_not_keep_redis_long(server: RedisServer) -> None:
    one = RedisStreamSink(address(server.port), Access(), "redis-2")
    assert (one.name, one.batch_bytes) == ("redis-2", 256 * 1024)


def test_the_stream_is_kept_about_as_long_as_it_may_be(server: RedisServer) -> None:
    one = sink(server.port, Access(redis_max_len=100))
    one.deliver(batch(1000))
    assert 100 <= length(server) <= 300  # whole nodes of 100 entries go
    one.close()


def test_without_a_bound_nothing_is_given_up(server: RedisServer) -> None:
    one = sink(server.port, Access(redis_max_len=0))
    one.deliver(batch(1000))
    one.close()
    assert length(server) == 1000


def test_more_lines_than_go_into_one_transaction_go_into_several(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_stream, "LINES_MAX", 4)
    server.ask("CONFIG", "RESETSTAT")
    one = sink(server.port)
    one.deliver(batch(10))
    one.close()
    assert length(server) == 10
    assert _calls(server, "exec") == 3 + 1  # and the one that is tried on a new connection


def _calls(server: RedisServer, command: str) -> int:
    with server.client() as client:
        client.response_callbacks.clear()
        told = client.execute_command("INFO", "commandstats")  # type: ignore[no-untyped-call]  # so in the library
    return int(told.partition(f"cmdstat_{command}:calls=".encode())[2].partition(b",")[0])


# What real servers refuse, and what is said of it.


def test_full_memory_is_said_with_what_mends_it_and_passes(server: RedisServer) -> None:
    one = sink(server.port)
    one.deliver(batch(1))
    server.ask("CONFIG", "SET", "maxmemory", "1")
    try:
        words = refusal(one, batch(2, 2))
    finally:
        server.ask("CONFIG", "SET", "maxmemory", "0")
    assert "answers OOM: its memory is full; raise `maxmemory`" in words
    assert length(server) == 1
    one.deliver(batch(2, 2))
    one.close()
    assert length(server) == 3


def test_of_a_batch_that_is_refused_in_the_middle_nothing_is_taken(server: RedisServer) -> None:
    def answer(line: Line, command: list[bytes]) -> None:
        third = command[-1] == b'{"seq":3}'
        line.send(
            line.real([b"XADD"] if third else command)
        )  # with too few words: an error when it is queued

    with hostile_redis(server.socket) as between, between.playing(Play(answer)):
        words = refusal(sink(between.port), batch(5))
    assert "answers ERR" in words
    assert length(server) == 0


def test_a_replica_and_a_key_of_another_type_are_named(server: RedisServer) -> None:
    server.ask("REPLICAOF", LOOPBACK, "1")
    try:
        assert "answers READONLY: it is a replica; name the master" in refusal(sink(server.port))
    finally:
        server.ask("REPLICAOF", "NO", "ONE")
    server.ask("SET", "records", "x")
    assert "answers WRONGTYPE: `records` is there and no stream" in refusal(sink(server.port))


def test_a_wrong_password_and_none_are_refused_and_never_told(server: RedisServer) -> None:
    server.ask("CONFIG", "SET", "requirepass", "secret")
    try:
        wrong = refusal(sink(server.port, Access(redis_password=CANARY)))
        assert "does not take our user and password (WRONGPASS)" in wrong
        assert "asks for a password; set `record_redis_password`" in refusal(sink(server.port))
        one = sink(server.port, Access(redis_password="secret"))
        one.deliver(batch())
        one.close()
    finally:
        server.ask("CONFIG", "SET", "requirepass", "", password="secret")


@pytest.mark.parametrize(
    ("rights", "taken"),
    [
        (("~records", "+xadd", "+multi", "+exec"), True),
        (("~other", "+xadd", "+multi", "+exec"), False),
        (("~records", "+multi", "+exec"), False),
        (("~records", "+xadd"), False),
        (("~records", "+xadd", "+multi"), False),
    ],
)
def test_a_user_needs_the_rights_that_are_documented_and_no_more(
    server: RedisServer, rights: tuple[str, ...], taken: bool
) -> None:
    server.ask("ACL", "SETUSER", "writer", "reset", "on", ">pass", *rights)
    one = sink(server.port, Access(redis_user="writer", redis_password="pass"))
    if taken:
        one.deliver(batch())
    else:
        assert "give it `+xadd +multi +exec` and the key `~records`" in refusal(one)
    one.close()
    # INVARIANT: what is refused was not done all the same, or it would be done again for ever.
    assert length(server) == (3 if taken else 0)


def test_an_idle_connection_that_the_server_closed_is_no_failure(server: RedisServer) -> None:
    one = sink(server.port)
    for first in (1, 2, 3):
        one.deliver(batch(1, first))
        server.ask("CLIENT", "KILL", "TYPE", "normal")
    one.close()
    assert length(server) == 3


# Over TLS.


def test_over_tls_both_sides_prove_who_they_are(server: RedisServer, tmp_path: Path) -> None:
    authority = Authority()
    ca = authority.written(tmp_path)
    cert, key = authority.vouch("spiffe://prod/shipper").written(tmp_path, "ours")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.server().written(tmp_path, "theirs"))
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    with tls_front(server, context) as port:

        def over_tls(access: Access) -> RedisStreamSink:
            return RedisStreamSink(address(port, scheme="rediss"), access, "redis")

        one = over_tls(Access(5.0, ca, cert, key))
        one.deliver(batch())
        one.close()
        assert "its certificate: " in refusal(over_tls(Access(5.0, None, cert, key)))
        other = Authority().written(tmp_path, "other")
        assert "its certificate: " in refusal(over_tls(Access(5.0, other, cert, key)))
        assert "closed the connection" in refusal(over_tls(Access(5.0, ca)))
        assert "`record_ca`" in refusal(over_tls(Access(5.0, tmp_path / "absent")))
    assert length(server) == 3


# What is no Redis, or a mean one.


def plays(answers: dict[bytes, bytes]) -> Play:
    """Answer by the first word of a command."""

    def answer(line: Line, command: list[bytes]) -> None:
        line.send(answers[command[0]])

    return Play(answer)


def transaction(*replies: bytes) -> Play:
    """Be well when tried, then answer these to MULTI, three XADDs and EXEC."""

    def answer(line: Line, command: list[bytes]) -> None:
        if line not in seen:
            line.send({b"MULTI": b"+OK\r\n"}.get(command[0], b"*0\r\n"))
            if command[0] == b"EXEC":
                seen[line] = iter(replies)
            return
        line.send(next(seen[line]))

    seen: dict[Line, Iterator[bytes]] = {}
    return Play(answer)


IDS = b"*3\r\n$3\r\n1-0\r\n$3\r\n1-1\r\n$3\r\n1-2\r\n"
QUEUED = b"+QUEUED\r\n"


def test_a_server_that_answers_well_is_believed(hostile: HostileRedis) -> None:
    with hostile.playing(transaction(b"+OK\r\n", QUEUED, QUEUED, QUEUED, IDS)):
        one = sink(hostile.port)
        one.deliver(batch())
        one.close()


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        ("LOADING", "it loads its data; this passes"),
        ("MOVED", "a node of a Cluster, and the stream belongs to another; name that one"),
        ("ASK", "on its way to another"),
        ("CLUSTERDOWN", "its Cluster is down"),
        ("MISCONF", "cannot save its data"),
        ("MASTERDOWN", "a replica without its master"),
        ("NOREPLICAS", "fewer replicas"),
        ("BUSY", "a script keeps it"),
        ("ERR", "Redis 5 or newer is needed"),
        ("NONSENSE", "answers OTHER"),
    ],
)
def test_an_error_in_the_middle_is_said_by_its_first_word_alone(
    hostile: HostileRedis, error: str, hint: str
) -> None:
    said = f"-{error} {CANARY} \x1b[31m {'x' * 5000}\r\n".encode()
    aborted = b"-EXECABORT Transaction discarded because of previous errors.\r\n"
    with hostile.playing(transaction(b"+OK\r\n", QUEUED, said, QUEUED, aborted)):
        assert hint in refusal(sink(hostile.port))


@pytest.mark.parametrize(
    "end",
    [
        b"*-1\r\n",
        b"$-1\r\n",
        b"*2\r\n$3\r\n1-0\r\n$3\r\n1-1\r\n",
        b"*3\r\n$3\r\n1-0\r\n$-1\r\n$3\r\n1-2\r\n",
        b"*3\r\n$3\r\n1-0\r\n$3\r\nabc\r\n$3\r\n1-2\r\n",
        b"*3\r\n:1\r\n:2\r\n:3\r\n",
        b"+OK\r\n",
        IDS + b"+MORE\r\n",
        b"*1000000000\r\n",
        b"!",
    ],
)
def test_an_answer_that_no_redis_gives_is_not_taken_for_a_yes(hostile: HostileRedis, end: bytes) -> None:
    with hostile.playing(transaction(b"+OK\r\n", QUEUED, QUEUED, QUEUED, end)):
        assert "answers what no Redis would" in refusal(sink(hostile.port, Access(1.0)))


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00\x00\x00\x2a",
        b"-ERR canary-of-a-server\r\n",
        b"+QUEUED\r\n",
    ],
)
def test_something_else_on_the_port_gets_no_record(hostile: HostileRedis, reply: bytes) -> None:
    asked: list[bytes] = []

    def answer(line: Line, command: list[bytes]) -> None:
        asked.append(command[0])
        line.send(reply)

    with hostile.playing(Play(answer)):
        refusal(sink(hostile.port, Access(1.0)))
    assert asked == [b"MULTI"]


def drips(line: Line, _: list[bytes]) -> None:
    """Send a byte now and then, an answer that never ends: each read is in time."""
    line.send(b"+")
    while not line.ended.wait(0.05):
        line.send(b"x")


def floods(line: Line, _: list[bytes]) -> None:
    """Send an answer that never ends as fast as it is read."""
    line.send(b"+")
    while not line.ended.is_set():
        line.send(b"x" * 65_536)


def hangs_up(line: Line, _: list[bytes]) -> None:
    raise OSError


@pytest.mark.parametrize(
    ("answer", "timeout_s", "word"),
    [
        (drips, 0.2, "does not answer in time"),
        (lambda line, _: line.hold(), 0.2, "does not answer in time"),
        (floods, 5.0, "answers what no Redis would"),
        (hangs_up, 5.0, "closed the connection"),
    ],
)
def test_a_server_that_never_comes_to_an_end_holds_nobody(
    hostile: HostileRedis, answer: Callable[[Line, list[bytes]], None], timeout_s: float, word: str
) -> None:
    with hostile.playing(Play(answer)):
        assert word in refusal(sink(hostile.port, Access(timeout_s)))


def test_a_server_that_drips_in_the_middle_of_a_batch_holds_nobody(hostile: HostileRedis) -> None:
    def answer(line: Line, command: list[bytes]) -> None:
        if command[0] == b"XADD":
            drips(line, command)
        line.send({b"MULTI": b"+OK\r\n"}.get(command[0], b"*0\r\n"))

    with hostile.playing(Play(answer)):
        assert "does not answer in time" in refusal(sink(hostile.port, Access(0.2)))


def test_nobody_there_is_said_at_once() -> None:
    assert "refused" in refusal(sink(1))


def test_after_any_failure_the_connection_is_another(hostile: HostileRedis) -> None:
    one = sink(hostile.port, Access(1.0))
    before = hostile.connections
    for _ in range(2):
        with hostile.playing(transaction(b"+OK\r\n", QUEUED, QUEUED, QUEUED, b"*-1\r\n")):
            refusal(one)
    assert hostile.connections == before + 2


def test_the_page_explains_every_word_that_is_answered() -> None:
    page = (Path(__file__).parents[3] / "docs/sinks.md").read_text(encoding="utf-8")
    rows = page.partition("<!-- table: redis -->\n")[2].partition("\n\n")[0].splitlines()[2:]
    explained = {word.lower() for row in rows for word in row.strip("| ").split(" | ")[0].split(", ")}
    assert explained == set(redis_stream.HINTS)
