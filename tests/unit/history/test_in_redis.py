"""Records in a stream of a real Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from authz.history import in_redis
from authz.history.in_redis import RedisSource, Secrets
from authz.history.line import Chunk, Flaw
from authz.history.source import Item
from authz.model.errors import ConfigError
from authz.model.sink import SinkAddress, parse_sink
from tests.support.lines import decision
from tests.support.redis import RedisServer, redis_server

MANY = [decision(number) for number in range(25)]


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server("--requirepass", "s3cret-pass") as server:
        yield server


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_redis, "_ENTRIES", 10)


class Stream:
    """One stream, of a name of its own."""

    def __init__(self, redis: RedisServer, name: str) -> None:
        self.redis, self.name = redis, name

    def add(self, *lines: bytes, field: str = "record") -> None:
        for line in lines:
            self.ask("XADD", self.name, "*", "stream", "s", field, line.rstrip(b"\n"))

    def ask(self, *words: str | bytes) -> None:
        self.redis.ask(*words, password="s3cret-pass")

    @property
    def address(self) -> SinkAddress:
        return parse_sink(f"redis://127.0.0.1:{self.redis.port}/0/{self.name}")

    def source(self, password: str = "s3cret-pass") -> RedisSource:
        return RedisSource(self.address, Secrets(password=password, timeout_s=5.0))


@pytest.fixture
def stream(redis: RedisServer, request: pytest.FixtureRequest) -> Stream:
    return Stream(redis, request.node.name)


def whole(items: list[Item]) -> bytes:
    return b"".join(item.data for item in items if isinstance(item, Chunk))


def test_it_is_read_page_by_page_from_either_end(stream: Stream) -> None:
    stream.add(*MANY)
    source = stream.source()
    assert (source.total, whole(list(source.read())), source.done) == (25, b"".join(MANY), 25)
    back = source.read_back()
    assert back is not None
    assert whole(list(back)[::-1]) == b"".join(MANY)
    source.close()


def test_entries_of_one_millisecond_are_all_read(stream: Stream) -> None:
    for number, line in enumerate(MANY):
        stream.ask("XADD", stream.name, f"5-{number}", "record", line.rstrip(b"\n"))
    source = stream.source()
    assert whole(list(source.read())) == b"".join(MANY)
    back = source.read_back()
    assert back is not None
    assert whole(list(back)[::-1]) == b"".join(MANY)
    source.close()


def test_what_is_added_is_followed(stream: Stream) -> None:
    stream.add(*MANY[:3])
    source = stream.source()
    back = source.read_back()
    assert back is not None
    assert whole(list(back)) == b"".join(MANY[:3])
    assert source.poll(0.01) == []
    stream.add(*MANY[3:16])
    assert whole(source.poll(0.01)) == b"".join(MANY[3:13])
    assert whole(source.poll(0.01)) == b"".join(MANY[13:16])
    assert source.cannot_follow() == ""
    source.close()


def test_a_stream_that_is_not_there_is_empty_and_may_begin(stream: Stream) -> None:
    source = stream.source()
    assert list(source.read()) == []
    stream.add(MANY[0])
    assert whole(source.poll(0.01)) == MANY[0]
    source.close()


def test_entries_that_are_no_records_have_their_ids_as_places(stream: Stream) -> None:
    stream.add(MANY[0])
    stream.add(b"x", field="other")
    stream.add(b"garbage")
    source = stream.source()
    items = list(source.read())
    assert whole(items) == MANY[0] + b"garbage\n"
    flaw = items[1]
    assert isinstance(flaw, Flaw)
    assert "/test_entries_that_are_no_records_have_their_ids_as_places, entry 1" in str(flaw.place)
    chunk = items[2]
    assert isinstance(chunk, Chunk)
    assert ", entry " in chunk.first.source
    source.close()


def test_what_keeps_us_out_is_said_in_one_line_without_the_password(stream: Stream) -> None:
    for password, why in (("", "AUTHZ_RECORD_REDIS_PASSWORD"), ("wr0ng-pass", "AUTHZ_RECORD_REDIS_PASSWORD")):
        with pytest.raises(ConfigError) as caught:
            stream.source(password)
        assert why in str(caught.value)
        assert "pass\n" not in str(caught.value)
        assert "wr0ng-pass" not in str(caught.value)
    stream.ask("ACL", "SETUSER", "writer", "on", ">pass", "~*", "+xadd")
    with pytest.raises(ConfigError, match=r"give it `\+xlen"):
        RedisSource(stream.address, Secrets("writer", "pass"))
    stream.ask("SET", stream.name, "x")
    with pytest.raises(ConfigError, match="no stream; name another"):
        stream.source()


def test_a_redis_that_is_not_there(stream: Stream) -> None:
    with pytest.raises(ConfigError, match="cannot be reached: connection refused"):
        RedisSource(parse_sink("redis://127.0.0.1:1/0/s"), Secrets())
    with pytest.raises(ConfigError, match=r"cannot be reached|does not answer"):
        RedisSource(parse_sink(f"rediss://127.0.0.1:{stream.redis.port}/0/s"), Secrets(timeout_s=1.0))
    with pytest.raises(ConfigError, match="is that database there"):
        RedisSource(
            parse_sink(f"redis://127.0.0.1:{stream.redis.port}/9999/s"), Secrets(password="s3cret-pass")
        )


def test_secrets_are_not_shown() -> None:
    assert "s3cret" not in repr(Secrets("u", "s3cret"))
