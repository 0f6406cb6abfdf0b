"""Records to an HTTP server: what it is sent, and what its answers mean."""

from __future__ import annotations

import select
import zlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from authz.model.sink import parse_sink
from authz.shipping.delivery import Refused, Unavailable
from authz.shipping.errand import Access
from authz.shipping.http import HttpSink
from tests.support.batches import STREAM, batch_of, record_line, records
from tests.support.collector import (
    Collector,
    Line,
    accepting_up_to,
    answering,
    collector,
    hanging_up,
    stalling,
)

TOKEN = "token-of-this-sidecar"


@pytest.fixture(scope="module")
def server() -> Iterator[Collector]:
    with collector() as it:
        yield it


@pytest.fixture
def it(server: Collector) -> Collector:
    server.clear()
    return server


@pytest.fixture
def sink(it: Collector) -> Iterator[HttpSink]:
    sink = _sink(it)
    yield sink
    sink.close()


def _sink(it: Collector, token: str = TOKEN, target: str = "") -> HttpSink:
    url = f"http://127.0.0.1:{it.port}{target}" if target else it.url
    return HttpSink(parse_sink(url), Access(timeout_s=10, http_token=token), "http")


# --- what it is sent


def test_lines_arrive_as_they_stand(it: Collector, sink: HttpSink) -> None:
    sink.deliver(records(1, 50))
    sink.deliver(records(51, 60))
    assert b"\n".join(it.lines()) + b"\n" == records(1, 60).lines


def test_a_batch_says_what_it_is(it: Collector, sink: HttpSink) -> None:
    batch = records(7, 9)
    sink.deliver(batch)
    (posted,) = it.posted
    assert posted.path == "/records"
    assert posted.headers == {
        "host": f"127.0.0.1:{it.port}",
        "user-agent": "authz",
        "accept-encoding": "identity",
        "content-type": "application/x-ndjson",
        "content-encoding": "gzip",
        "content-length": posted.headers["content-length"],
        "idempotency-key": f'"{STREAM}-7-9-{zlib.crc32(batch.lines):08x}"',
        "x-authz-stream": STREAM,
        "x-authz-seq": "7-9",
        "x-authz-records": "3",
        "authorization": f"Bearer {TOKEN}",
    }
    assert int(posted.headers["content-length"]) < len(batch.lines)


def test_the_same_batch_has_the_same_key_and_another_one_another(it: Collector, sink: HttpSink) -> None:
    whole, thinned = records(1, 2), batch_of(record_line(2), first_seq=1)._replace(last_seq=2)
    for batch in (whole, whole, thinned):
        sink.deliver(batch)
    first, second, third = (posted.headers["idempotency-key"] for posted in it.posted)
    assert first == second != third


def test_without_a_token_none_is_shown(it: Collector) -> None:
    sink = _sink(it, token="")
    sink.deliver(records(1, 1))
    sink.close()
    assert "authorization" not in it.posted[0].headers


def test_the_end_of_a_line_after_a_token_is_not_part_of_it(it: Collector) -> None:
    sink = _sink(it, token=f"{TOKEN}\n")
    sink.deliver(records(1, 1))
    sink.close()
    assert it.posted[0].headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("token", ["a\r\nx-evil: 1", "a b", "\xe4", "a\0"])
def test_a_token_that_is_none_is_not_sent_and_not_shown(it: Collector, token: str) -> None:
    sink = _sink(it, token=token)
    with pytest.raises(Unavailable) as told:
        sink.deliver(records(1, 1))
    assert str(told.value) == "`record_http_token` holds what no header may; write printable ASCII"
    assert it.posted == []


def test_without_a_path_it_is_the_root(it: Collector) -> None:
    sink = HttpSink(parse_sink(f"http://127.0.0.1:{it.port}"), Access(), "http")
    sink.deliver(records(1, 1))
    sink.close()
    assert it.posted[0].path == "/"


def test_a_query_is_kept(it: Collector) -> None:
    sink = _sink(it, target="/in?_stream_fields=sidecar&x=%20")
    sink.deliver(records(1, 1))
    sink.close()
    assert it.posted[0].path == "/in?_stream_fields=sidecar&x=%20"


def test_no_proxy_of_the_environment_is_asked(it: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    sink = _sink(it)
    sink.deliver(records(1, 1))
    sink.close()
    assert len(it.lines()) == 1


# --- connections


def test_one_connection_carries_every_batch(it: Collector, sink: HttpSink) -> None:
    before = it.connections
    for seq in range(1, 20):
        sink.deliver(records(seq, seq))
    assert it.connections == before + 1


def test_nothing_connects_before_there_is_something_to_send(it: Collector) -> None:
    before = it.connections
    _sink(it).close()
    assert it.connections == before


@pytest.mark.parametrize("extra", ["connection: close", "x-a: b"])
def test_a_connection_that_its_server_closes_is_made_anew_within_the_batch(
    it: Collector, sink: HttpSink, extra: str
) -> None:
    def once(line: Line) -> None:
        answering(200, extra)(line)
        raise OSError

    it.play(once)
    for seq in range(1, 6):
        sink.deliver(records(seq, seq))
    assert it.lines() == records(1, 5).lines.splitlines()
    assert {posted.connection for posted in it.posted} == set(
        range(it.posted[0].connection, it.posted[0].connection + 5)
    )


def test_a_server_that_closes_a_kept_connection_on_the_next_batch_gets_it_on_a_new_one(
    it: Collector, sink: HttpSink
) -> None:
    """Its good-bye crossed our question: nothing of the answer came."""
    sink.deliver(records(1, 1))
    first = it.posted[-1].connection

    def only_anew(line: Line) -> None:
        (hanging_up if line.number == first else answering(204))(line)

    it.play(only_anew)
    sink.deliver(records(2, 2))
    assert it.lines() == records(1, 2).lines.splitlines()


def test_a_server_that_hangs_up_on_a_new_connection_too_is_asked_once(it: Collector, sink: HttpSink) -> None:
    sink.deliver(records(1, 1))
    it.play(hanging_up)
    with pytest.raises(Unavailable, match=r"^127\.0\.0\.1:\d+: hung up$"):
        sink.deliver(records(2, 2))
    assert len(it.posted) == 3


def test_reopen_makes_a_new_connection(it: Collector, sink: HttpSink) -> None:
    sink.deliver(records(1, 1))
    sink.reopen()
    sink.deliver(records(2, 2))
    first, second = (posted.connection for posted in it.posted)
    assert second == first + 1


def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next(it: Collector, sink: HttpSink) -> None:
    lines: list[Line] = []

    def keeping(line: Line) -> None:
        lines.append(line)
        answering(204)(line)

    it.play(keeping)
    sink.deliver(records(1, 1))
    lines[0].send(b"HTTP/1.1 204 No\r\n\r\n")
    wire = sink._poster._wire
    assert wire is not None
    assert select.select([wire._sock], [], [], 10)[0]  # it is here
    it.play(answering(503))
    with pytest.raises(Unavailable, match="answers 503"):
        sink.deliver(records(2, 2))


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next(it: Collector, sink: HttpSink) -> None:
    sink.deliver(records(1, 1))
    it.play(stalling)
    sink._poster._access = replace(sink._poster._access, timeout_s=0.1)
    with pytest.raises(Unavailable, match="no whole answer in time"):
        sink.deliver(records(2, 2))
    assert sink._poster._wire is None
    sink._poster._access = replace(sink._poster._access, timeout_s=20)
    it.play(answering(503))
    with pytest.raises(Unavailable, match="answers 503"):
        sink.deliver(records(2, 2))
    first, *_, last = (posted.connection for posted in it.posted)
    assert last > first


def test_a_port_where_nobody_listens_is_an_outage() -> None:
    sink = HttpSink(parse_sink("http://127.0.0.1:1/x"), Access(), "http")
    with pytest.raises(Unavailable, match=r"^127\.0\.0\.1:1: connection refused$"):
        sink.deliver(records(1, 1))


def test_a_name_that_nobody_knows_is_an_outage() -> None:
    sink = HttpSink(parse_sink("http://nowhere.invalid/x"), Access(timeout_s=2), "http")
    with pytest.raises(Unavailable, match=r"^nowhere\.invalid:80: "):
        sink.deliver(records(1, 1))


def test_sizes_that_a_server_can_take_get_through_once_the_batch_is_cut(
    it: Collector, sink: HttpSink
) -> None:
    it.play(accepting_up_to(len(records(1, 4).lines)))
    with pytest.raises(Refused):
        sink.deliver(records(1, 8))
    sink.deliver(records(1, 4))
    sink.deliver(records(5, 8))
    assert len(it.lines()) == 8
