"""What holds of sinks that are streams, each against the real thing: Redis, and Kafka."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast
from uuid import uuid4

import pytest

from authz.model.sink import parse_sink
from authz.proxy.process import http_get
from authz.shipping.delivery import Batch, Sink, Unavailable
from authz.shipping.errand import Access
from authz.shipping.kafka import KafkaSink
from authz.shipping.redis_stream import RedisStreamSink
from tests.contract.test_records_shipped import Scene, accounted, until, wanted
from tests.support.kafka import PASSWORD, USER, KafkaServer
from tests.support.redis import RedisServer, redis_server, wait_for

STREAMS = ("019ab0000000000a", "019ab0000000000b")
CANARY = "canary-in-a-path"


class Place(Protocol):
    """Where a sink delivers to."""

    def sink(self, timeout_s: float = 10.0) -> Sink: ...

    def lines(self, stream: str) -> list[bytes]: ...

    def kill(self) -> None: ...

    def start(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


@dataclass
class RedisPlace:
    server: RedisServer

    def sink(self, timeout_s: float = 10.0) -> Sink:
        self.server.ask("DEL", "records")
        address = parse_sink(f"redis://127.0.0.1:{self.server.port}/0/records")
        return RedisStreamSink(address, Access(timeout_s), "redis")

    def lines(self, stream: str) -> list[bytes]:
        with self.server.client() as client:
            entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", client.xrange("records"))
        assert all([*entry] == [b"stream", b"record"] for _, entry in entries)
        return [entry[b"record"] for _, entry in entries if entry[b"stream"] == stream.encode()]

    def kill(self) -> None:
        self.server.kill()

    def start(self) -> None:
        self.server.start()

    def pause(self) -> None:
        self.server.pause()

    def resume(self) -> None:
        self.server.resume()


@dataclass
class KafkaPlace:
    server: KafkaServer
    topic: str = ""

    def sink(self, timeout_s: float = 10.0) -> Sink:
        self.topic = self.server.create_topic(partitions=3)
        address = parse_sink(f"kafka://{self.server.bootstrap}/{self.topic}")
        return KafkaSink(address, Access(timeout_s), "kafka")

    def lines(self, stream: str) -> list[bytes]:
        mine = [one for one in self.server.read_all(self.topic) if one.key == stream.encode()]
        assert len({one.partition for one in mine}) <= 1
        return [line for one in mine for line in one.value.split(b"\n")]

    def kill(self) -> None:
        self.server.kill()

    def start(self) -> None:
        self.server.start()

    def pause(self) -> None:
        self.server.pause()

    def resume(self) -> None:
        self.server.resume()


@pytest.fixture(scope="module")
def redis_place() -> Iterator[RedisPlace]:
    # What was answered is in a file, and so outlives a kill.
    with redis_server("--appendonly", "yes", "--appendfsync", "no") as server:
        yield RedisPlace(server)


@pytest.fixture(params=["redis", "kafka"])
def place(request: pytest.FixtureRequest) -> Place:
    if request.param == "redis":
        found: RedisPlace = request.getfixturevalue("redis_place")
        return found
    return KafkaPlace(request.getfixturevalue("kafka_server"))


def line(stream: str, seq: int) -> bytes:
    """Return a line as long as most, with what a hostile client may have put into it."""
    path = f"/{CANARY}\\u000d\\u2028{'x' * 600}"
    return (
        json.dumps({"v": 1, "stream": stream, "seq": seq, "outcome": "allow", "path": path}).encode() + b"\n"
    )


def batch(stream: str, first: int, count: int) -> Batch:
    lines = b"".join(line(stream, seq) for seq in range(first, first + count))
    return Batch(stream, lines, count, first, first + count - 1, 0)


def expected(stream: str, last: int) -> list[bytes]:
    return [line(stream, seq).rstrip(b"\n") for seq in range(1, last + 1)]


def deduped(lines: list[bytes]) -> list[bytes]:
    """Keep the first of what came twice, as a consumer does."""
    return list(dict.fromkeys(lines))


def test_lines_arrive_byte_for_byte_in_order_and_as_often_as_they_are_offered(place: Place) -> None:
    sink = place.sink()
    for first in range(1, 400, 50):
        for stream in STREAMS:
            sink.deliver(batch(stream, first, 50))
    sink.deliver(batch(STREAMS[0], 401, 1))
    sink.deliver(batch(STREAMS[1], 1, 400))
    large = sink.batch_bytes * 3 // 2 // len(line(STREAMS[0], 1))  # beyond what it asks for
    sink.deliver(batch(STREAMS[0], 402, large))
    sink.close()
    assert place.lines(STREAMS[0]) == expected(STREAMS[0], 401 + large)
    assert place.lines(STREAMS[1]) == expected(STREAMS[1], 400) * 2


def test_reopened_it_delivers_again_and_closed_it_leaves_no_thread_and_no_file(place: Place) -> None:
    sink = place.sink()
    wait_for(lambda: _is_settled(_held))  # whoever made the topic ends its threads by itself
    before = _held()
    sink.deliver(batch(STREAMS[0], 1, 1))
    assert _held() > before
    sink.reopen()
    sink.deliver(batch(STREAMS[0], 2, 1))
    sink.close()
    sink.close()
    wait_for(lambda: _held() <= before)
    assert place.lines(STREAMS[0]) == expected(STREAMS[0], 2)


def _held() -> tuple[int, ...]:
    """Return how many threads and files this process has."""
    return tuple(len([*Path("/proc/self", kind).iterdir()]) for kind in ("task", "fd"))


def _is_settled(held: Callable[[], tuple[int, ...]]) -> bool:
    before = held()
    time.sleep(0.2)
    return held() == before


@dataclass
class Shipping:
    """Delivers both streams as fast as it can until told to end; tries again, as the shipper does."""

    sink: Sink
    failures: list[str] = field(default_factory=list)
    delivered: int = 0  # of each stream, batches of ten
    _end: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Shipping:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self.sink.close()

    def _run(self) -> None:
        while not self._end.is_set():
            for stream in STREAMS:
                self._deliver(batch(stream, self.delivered * 10 + 1, 10))
            self.delivered += 1

    def _deliver(self, one: Batch) -> None:
        while True:
            try:
                return self.sink.deliver(one)
            except Unavailable as error:
                self.failures.append(str(error))
                time.sleep(0.02)

    def wait(self, more: int) -> None:
        """Wait until so many more are delivered."""
        goal = self.delivered + more
        wait_for(lambda: self.delivered >= goal, 60.0)


def test_paused_and_killed_in_the_middle_of_deliveries_it_loses_nothing_and_keeps_order(place: Place) -> None:
    with Shipping(place.sink(timeout_s=1.0)) as shipping:
        shipping.wait(10)
        place.pause()
        try:
            wait_for(lambda: len(shipping.failures) >= 1)
        finally:
            place.resume()
        shipping.wait(10)
        felt = len(shipping.failures)
        place.kill()
        wait_for(lambda: len(shipping.failures) >= felt + 6)
        # Each try but the first says that nobody is there, and does not wait until its time has run out.
        assert sum("refused" in words for words in shipping.failures[felt:]) >= 4
        place.start()
        shipping.wait(10)
    _has_everything(place, shipping)


def _has_everything(place: Place, shipping: Shipping) -> None:
    for stream in STREAMS:
        assert deduped(place.lines(stream)) == expected(stream, shipping.delivered * 10)
    for words in shipping.failures:
        assert len(words) < 500
        assert words.isprintable()
        assert CANARY not in words


def test_a_sidecar_ships_to_both_at_once_and_what_one_refuses_for_now_comes_later(
    kafka_server: KafkaServer, tmp_path: Path
) -> None:
    topic = f"made-later-{uuid4().hex}"
    secrets = {
        "AUTHZ_RECORD_REDIS_PASSWORD": "canary-redis-password",
        "AUTHZ_RECORD_KAFKA_USER": USER,
        "AUTHZ_RECORD_KAFKA_PASSWORD": PASSWORD,
        "AUTHZ_RECORD_CA": str(kafka_server.ca),
    }
    with redis_server("--requirepass", "canary-redis-password", "--maxmemory", "1") as server:
        sinks = f"{server.url}/records,kafka+tls://{kafka_server.bootstrap_scram}/{topic}"
        scene = Scene(tmp_path, sinks, **secrets)
        with scene.started():
            scene.ask(0, 50)
            for words in ("answers OOM", f"create the topic `{topic}`"):
                until(lambda words=words: words.encode() in _ready(scene), words)
            scene.ask(50, 50)
            server.ask("CONFIG", "SET", "maxmemory", "0", password="canary-redis-password")
            kafka_server.create_topic(topic, partitions=3)
            for name in ("redis", "kafka"):
                written = f'authz_records_total{{result="written",sink="{name}"}}'
                until(lambda written=written: scene.metric(written) == 100, "it has them")
        with server.client(password="canary-redis-password") as client:
            entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", client.xrange("records"))
    theirs = [entry[b"record"] for _, entry in entries], kafka_server.lines(topic)
    assert [accounted([json.loads(one) for one in lines]) for lines in theirs] == [wanted(100)] * 2
    assert sorted(theirs[0]) == sorted(theirs[1])
    assert "canary" not in (tmp_path / "log").read_text()


def _ready(scene: Scene) -> bytes:
    return (http_get(scene._ops, "/ready") or (0, b""))[1]
