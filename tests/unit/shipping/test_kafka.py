from __future__ import annotations

import importlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from authz.model.sink import parse_sink
from authz.shipping.delivery import Batch, Refused, Sink, Unavailable
from authz.shipping.errand import Access
from authz.shipping.kafka import FORMAT, KafkaSink
from tests.support.certificates import Authority
from tests.support.kafka import PASSWORD, USER, KafkaServer
from tests.support.redis import LOOPBACK

STREAM = "019ab0000000000a"
CANARY = "canary-of-a-password"
USUAL = Access()
QUICK = Access(timeout_s=0.3)


def sink(bootstrap: str, topic: str = "records", access: Access = USUAL, scheme: str = "kafka") -> KafkaSink:
    return KafkaSink(parse_sink(f"{scheme}://{bootstrap}/{topic}"), access, "kafka")


def batch(count: int = 3, filler: bytes = b"") -> Batch:
    lines = b"".join(b'{"seq":%d,"x":"%b"}\n' % (seq, filler) for seq in range(1, count + 1))
    return Batch(STREAM, lines, count, 1, count + 2, 0)


def refusal(one: Sink, offered: Batch | None = None) -> str:
    """Return what a delivery is refused with, which is fit for a log, whatever a broker says."""
    began_s = time.monotonic()
    with pytest.raises(Unavailable) as refused:
        one.deliver(offered or batch())
    assert time.monotonic() - began_s < 15.0  # for a machine that does ten other things
    one.close()
    words = str(refused.value)
    assert words.isprintable()
    assert len(words) < 400
    assert CANARY not in words
    return words


# What it writes.


def test_a_message_is_a_batch_says_what_it_covers_and_is_compressed(kafka_server: KafkaServer) -> None:
    topic = kafka_server.create_topic()
    one = sink(kafka_server.bootstrap, topic)
    one.deliver(batch(2))
    one.deliver(batch(200, b"x" * 900))
    one.close()
    first, second = kafka_server.read_all(topic)
    assert first.key == STREAM.encode()
    assert first.value == b'{"seq":1,"x":""}\n{"seq":2,"x":""}'
    assert first.headers == {"format": FORMAT, "first_seq": b"1", "last_seq": b"4"}
    assert len(second.value) > 180_000
    (segment,) = (kafka_server.directory / "data" / f"{topic}-0").glob("*.log")
    data = segment.read_bytes()
    # Source: Kafka's protocol guide, record batch: attributes at 21 (4 is zstd), producer id at 43.
    assert int.from_bytes(data[21:23]) & 7 == 4
    assert int.from_bytes(data[43:51], signed=True) >= 0
    assert len(data) < 10_000


def test_it_has_a_name_and_asks_for_batches_that_brokers_take() -> None:
    one = KafkaSink(parse_sink("kafka://a:1/t"), Access(), "kafka-2")
    assert one.name == "kafka-2"
    assert one.batch_bytes == 256 * 1024
    one.close()


# What real brokers refuse.


def test_what_is_larger_than_the_topic_takes_is_refused_and_smaller_follows(
    kafka_server: KafkaServer,
) -> None:
    topic = kafka_server.create_topic(max_message_bytes="3000")
    one = sink(kafka_server.bootstrap, topic)
    for count in (40, 20):
        with pytest.raises(Refused, match="larger than the topic takes"):
            one.deliver(_noise(count))
    one.deliver(_noise(2))
    with pytest.raises(Refused, match="larger than the topic takes"):
        one.deliver(_noise(2000))  # the library itself refuses it: nothing is sent
    one.deliver(_noise(1))
    one.close()
    assert len(kafka_server.lines(topic)) == 3


def _noise(count: int) -> Batch:
    lines = b"".join(b'{"x":"%b"}\n' % os.urandom(500).hex().encode() for _ in range(count))
    return Batch(STREAM, lines, count, 1, count, 0)


def test_a_user_and_a_password_are_proven_over_tls(kafka_server: KafkaServer, tmp_path: Path) -> None:
    topic = kafka_server.create_topic()

    def with_password(password: str, ca: Path | None) -> KafkaSink:
        access = Access(5.0, ca, kafka_user=USER, kafka_password=password)
        return sink(kafka_server.bootstrap_scram, topic, access, "kafka+tls")

    one = with_password(PASSWORD, kafka_server.ca)
    one.deliver(batch())
    one.close()
    wrong = refusal(with_password(CANARY, kafka_server.ca))
    assert wrong.endswith("; see `record_kafka_user` and `record_kafka_password`")
    for ca in (None, Authority().written(tmp_path)):
        assert refusal(with_password(PASSWORD, ca)).endswith(
            "; see `record_ca`, `record_cert` and `record_key`"
        )
    assert "`record_ca`" in refusal(with_password(PASSWORD, tmp_path / "absent"))
    assert len(kafka_server.lines(topic)) == 3


@pytest.mark.parametrize(("user", "password"), [("", CANARY), ("u", ""), ("u", f"{CANARY}\udcff")])
def test_half_of_who_we_are_is_said_and_not_shown(user: str, password: str) -> None:
    half = sink(f"{LOOPBACK}:1", access=Access(kafka_user=user, kafka_password=password))
    assert refusal(half).endswith("; see `record_kafka_user` and `record_kafka_password`")


def test_a_certificate_is_proven_where_brokers_ask_for_one(kafka_server: KafkaServer, tmp_path: Path) -> None:
    topic = kafka_server.create_topic()
    cert, key = kafka_server.authority.vouch("spiffe://prod/shipper").written(tmp_path, "ours")
    ours = Access(5.0, kafka_server.ca, cert, key)
    one = sink(kafka_server.bootstrap_mtls, topic, ours, "kafka+tls")
    one.deliver(batch())
    one.close()
    none = Access(5.0, kafka_server.ca)
    refused = refusal(sink(kafka_server.bootstrap_mtls, topic, none, "kafka+tls"))
    assert refused.endswith("; see `record_ca`, `record_cert` and `record_key`")
    assert len(kafka_server.lines(topic)) == 3


def test_clear_text_to_a_port_for_tls_and_the_other_way_round(kafka_server: KafkaServer) -> None:
    assert "kafka://" in refusal(sink(kafka_server.bootstrap_mtls, access=QUICK))
    over_tls = Access(1.0, kafka_server.ca)
    # Which of its two last words the library says of it is a matter of time; both name TLS.
    assert "SSL" in refusal(sink(kafka_server.bootstrap, access=over_tls, scheme="kafka+tls"))


# Who is no broker, or a mean one.


def test_nobody_there_is_said_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    one = sink(f"{LOOPBACK}:1,{LOOPBACK}:2")
    with capture_logs() as logs:
        assert "Connection refused" in refusal(one)
        assert "Connection refused" in refusal(one)
        assert "Failed to resolve" in refusal(sink("no-such-host.invalid:1"))
    # The library's own log goes through ours, a line for all tries of one sink.
    assert [one["event"] for one in logs] == ["the library for Kafka says"] * 2
    assert capfd.readouterr() == ("", "")


Play = Callable[[socket.socket], None]


@contextmanager
def playing(play: Play) -> Iterator[str]:
    """Play on each connection to a port; yields its address."""

    def accept() -> None:
        with suppress(OSError):
            while True:
                line, _ = listener.accept()
                lines.append(line)
                threads.append(threading.Thread(target=serve, args=(line,)))
                threads[-1].start()

    def serve(line: socket.socket) -> None:
        with suppress(OSError), line:
            line.recv(4096)
            play(line)

    lines: list[socket.socket] = []
    threads: list[threading.Thread] = []
    with socket.create_server((LOOPBACK, 0)) as listener:
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield f"{LOOPBACK}:{listener.getsockname()[1]}"
        finally:
            for one in (listener, *lines):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            for thread in (accepting, *threads):
                thread.join(5.0)


def says_nothing(line: socket.socket) -> None:
    line.recv(1)


def speaks_http(line: socket.socket) -> None:
    line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    line.recv(1)


def drips(line: socket.socket) -> None:
    line.sendall(b"\x00\x00\x10\x00\x00\x00\x00\x01")
    while True:
        time.sleep(0.05)
        line.sendall(b"\x00")


def promises_much(line: socket.socket) -> None:
    line.sendall(b"\x05\x00\x00\x00\x00\x00\x00\x01" + b"x" * 65_536)
    line.recv(1)


def hangs_up(_: socket.socket) -> None:
    return


@pytest.mark.parametrize("play", [says_nothing, speaks_http, drips, promises_much, hangs_up])
def test_something_else_on_the_port_holds_nobody(play: Play) -> None:
    before = len([*Path("/proc/self/task").iterdir()])
    with playing(play) as bootstrap:
        one = sink(bootstrap, access=QUICK)
        assert bootstrap in refusal(one)
    end = time.monotonic() + 10.0
    while len([*Path("/proc/self/task").iterdir()]) > before:
        assert time.monotonic() < end, "threads of the library are left"
        time.sleep(0.02)


def test_without_the_extra_the_import_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    for name in ("authz.shipping.kafka", "authz.shipping.kafka_client"):
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("authz.shipping.kafka")
