"""What every front keeps, on every kind of address: the rooms behind must not tell one from another."""

from __future__ import annotations

import stat
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from authz.model.address import TcpAddress, UnixAddress
from authz.model.decision import Answered
from authz.model.errors import ConfigError
from authz.record.entry import FixedFields
from authz.transport.front import Front
from authz.transport.health import HEALTH_CHECK, HEALTH_WATCH, WATCHERS_MAX
from authz.transport.server import CheckServer
from tests.support.checks import check_request
from tests.support.fronts import SNAPSHOT, Bench, FakeKeeper
from tests.support.grpc import read
from tests.support.listeners import KINDS, Listener, taken
from tests.support.proxy import eventually

OPEN = check_request(host="a.example.com", path="/open")
MIB = 1024 * 1024


@pytest.fixture(params=KINDS)
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Listener:
    return Listener.of(request.param, tmp_path)


@contextmanager
def serving(listener: Listener, idle_s: float = 0.02, **parts: object) -> Iterator[CheckServer]:
    """A front with everything behind it: `/open` of a.example.com is for anyone."""
    front = listener.front()
    bench = Bench(lambda: SNAPSHOT, front=front, **parts)
    running = CheckServer(front, bench.shield, lambda: time.monotonic_ns() // 1000, idle_s=idle_s)
    running.start()
    try:
        yield running
    finally:
        running.stop()
        running.join()


@contextmanager
def started(listener: Listener, **how: Any) -> Iterator[Front]:
    """A front alone: the test is its judging thread."""
    front = listener.front(**how)
    front.start()
    try:
        yield front
    finally:
        front.close()


# --- answers


def test_a_check_is_answered(listener: Listener) -> None:
    with serving(listener), listener.client() as ask:
        assert read(ask(OPEN, timeout=5)).status.code == 0
        assert read(ask(check_request(host="a.example.com", path="/closed"), timeout=5)).status.code == 7


def test_the_trace_that_a_call_belongs_to_comes_with_it(listener: Listener) -> None:
    said: dict[str, list[tuple[str, str | bytes]]] = {
        "": [("traceparent-bin", b"\xff\x00"), ("traceparents", "no")],
        "00-a-b-01": [("x-first", "1"), ("traceparent", "00-a-b-01"), ("tracestate", "t")],
        "x" * 10_240: [("traceparent", "x" * 10_240)],
    }
    with started(listener) as front, listener.client() as ask:
        for seen, metadata in said.items():
            asked = ask.future(OPEN, timeout=5, metadata=metadata)  # type: ignore[attr-defined] # the library's
            (call,) = taken(front)
            assert call.traceparent == seen
            front.respond(call.id, b"answer")
            assert asked.result() == b"answer"


def test_any_bytes_get_an_explicit_refusal(listener: Listener) -> None:
    with serving(listener), listener.client() as ask:
        for payload in (b"", b"\0", b"\xff" * 1000, OPEN[:-1], b"\x0a" * 100):
            answer = read(ask(payload, timeout=5))
            assert answer.status.code != 0
            assert answer.denied_response.status.code >= 400


def test_a_message_around_the_limit_is_an_explicit_refusal(listener: Listener) -> None:
    with serving(listener), listener.client() as ask:
        for size in (4 * MIB - 1, 4 * MIB, 4 * MIB + 1):
            answer = read(ask(b"\xff" * size, timeout=30))
            assert answer.denied_response.status.code == (413 if size > 4 * MIB else 400)
        assert read(ask(OPEN, timeout=5)).status.code == 0


def test_a_message_far_above_the_limit_is_never_allowed_and_harms_nobody(listener: Listener) -> None:
    with serving(listener), listener.client() as ask:
        call = ask.future(b"\xff" * (16 * MIB), timeout=30)  # type: ignore[attr-defined] # grpc has no types
        if call.exception() is None:
            assert read(call.result()).status.code != 0
        else:
            assert call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert read(ask(OPEN, timeout=5)).status.code == 0


@pytest.mark.parametrize("size", [1000, 64 * MIB])
def test_a_packed_message_is_never_allowed(listener: Listener, size: int) -> None:
    """64 MiB that travel as 64 KiB; what is unpacked at all is refused for its size."""
    with serving(listener), listener.client() as ask:
        answer = read(ask(b"\0" * size, timeout=60, compression=grpc.Compression.Gzip))
        assert answer.status.code != 0
        assert read(ask(OPEN, timeout=5)).status.code == 0


def test_another_method_is_unknown(listener: Listener) -> None:
    with serving(listener), listener.channel() as channel:
        other = channel.unary_unary("/a.B/C", request_serializer=None, response_deserializer=None)
        with pytest.raises(grpc.RpcError) as caught:
            other(OPEN, timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_many_connections_are_served_at_once(listener: Listener) -> None:
    with serving(listener), ExitStack() as stack:
        asks = [stack.enter_context(listener.client()) for _ in range(40)]
        calls = [ask.future(OPEN, timeout=20) for ask in asks for _ in range(5)]  # type: ignore[attr-defined] # grpc has no types
        assert {read(call.result()).status.code for call in calls} == {0}


def test_a_drain_under_load_loses_no_call(listener: Listener) -> None:
    """Callers send for a while after the stop, as Envoy does; each call gets its answer."""
    lost: list[str] = []
    answers: list[bytes] = []
    stopped = threading.Event()

    def load() -> None:
        with listener.client() as ask:
            ready.wait()
            rounds_after = 0
            while rounds_after < 5:
                rounds_after += stopped.is_set()
                for call in [ask.future(OPEN, timeout=10) for _ in range(20)]:  # type: ignore[attr-defined] # as above
                    try:
                        answers.append(call.result())
                    except grpc.RpcError as error:
                        lost.append(str(error))

    ready = threading.Barrier(3)
    with serving(listener, idle_s=0.3) as running:
        threads = [threading.Thread(target=load) for _ in range(2)]
        for thread in threads:
            thread.start()
        ready.wait()
        assert eventually(lambda: len(answers) >= 200, 30)
        running.stop()
        stopped.set()
        for thread in threads:
            thread.join()
        running.join()
    assert lost == []
    assert all(read(each).status.code == 0 for each in answers)


# --- deadlines, and callers who leave


def test_a_call_past_its_deadline_is_never_allowed(listener: Listener) -> None:
    """The judging thread is busy with the first call while the deadline of the second passes."""
    entered, leave = threading.Event(), threading.Event()
    seen: list[int] = []

    class Slow(FakeKeeper):
        def keep(self, answered: Sequence[Answered], fixed: FixedFields) -> None:
            seen.append(len(answered))
            entered.set()
            leave.wait(10)

    with serving(listener, keeper=Slow()), listener.client() as ask:
        assert read(ask(OPEN, timeout=5)).status.code == 0
        assert entered.wait(5)
        late = ask.future(OPEN, timeout=0.1)  # type: ignore[attr-defined] # grpc has no types
        with pytest.raises(grpc.RpcError) as caught:
            late.result()
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        leave.set()
        assert read(ask(OPEN, timeout=5)).status.code == 0


def test_a_call_is_taken_as_it_was_sent_and_answered_once(listener: Listener) -> None:
    with started(listener) as front, listener.client() as ask:
        call = ask.future(OPEN, timeout=5)  # type: ignore[attr-defined] # grpc has no types
        (arrival,) = taken(front)
        assert arrival.payload == OPEN
        assert 1 < arrival.remaining_s < 6
        assert front.respond(arrival.id, b"first")
        assert not front.respond(arrival.id, b"second")
        front.fail(arrival.id, 13, "third")
        assert call.result() == b"first"


def test_a_call_without_a_deadline_says_so(listener: Listener) -> None:
    with started(listener) as front, listener.client() as ask:
        call = ask.future(OPEN)  # type: ignore[attr-defined] # grpc has no types
        (arrival,) = taken(front)
        assert arrival.remaining_s is None
        front.respond(arrival.id, b"x")
        assert call.result() == b"x"


def test_calls_come_in_batches_no_larger_than_asked(listener: Listener) -> None:
    with started(listener) as front, listener.client() as ask:
        calls = [ask.future(OPEN, timeout=20) for _ in range(12)]  # type: ignore[attr-defined] # grpc has no types
        found: list[Any] = []
        while len(found) < len(calls):
            batch = taken(front, most=5)
            assert 1 <= len(batch) <= 5
            found += batch
        assert len({arrival.id for arrival in found}) == len(calls)
        for arrival in found:
            assert front.respond(arrival.id, b"y")
        assert {call.result() for call in calls} == {b"y"}


def test_a_call_that_was_given_up_is_not_answered_any_more(listener: Listener) -> None:
    with started(listener) as front, listener.client() as ask:
        call = ask.future(OPEN, timeout=30)  # type: ignore[attr-defined] # grpc has no types
        (arrival,) = taken(front)
        call.cancel()
        # The front learns of it a moment later; asking for another call shows that it has.
        other = ask.future(OPEN, timeout=30)  # type: ignore[attr-defined] # as above
        (second,) = taken(front)
        assert not front.respond(arrival.id, b"allowed")
        assert front.respond(second.id, b"z")
        assert other.result() == b"z"
        with pytest.raises(grpc.FutureCancelledError):
            call.result()


def test_a_call_can_be_ended_with_an_error(listener: Listener) -> None:
    with started(listener) as front, listener.client() as ask:
        call = ask.future(OPEN, timeout=5)  # type: ignore[attr-defined] # grpc has no types
        (arrival,) = taken(front)
        front.fail(arrival.id, 4, "the deadline has passed")
        with pytest.raises(grpc.RpcError) as caught:
            call.result()
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert caught.value.details() == "the deadline has passed"


def test_closing_ends_what_is_pending_and_never_with_a_yes(listener: Listener) -> None:
    front = listener.front()
    front.start()
    with listener.client() as ask:
        calls = [ask.future(OPEN, timeout=20) for _ in range(3)]  # type: ignore[attr-defined] # grpc has no types
        arrivals = taken(front)
        front.close()
        assert any(front.take(64, 1) is None for _ in range(4))  # once what came before is taken
        with suppress(RuntimeError):
            assert not front.respond(arrivals[0].id, b"allowed")
        for call in calls:
            with pytest.raises(grpc.RpcError):
                call.result()


def test_a_front_that_is_closed_or_was_never_open_takes_nothing(listener: Listener) -> None:
    front = listener.front()
    assert front.take(1, 1) is None
    assert not front.respond(1, b"x")
    front.fail(1, 4, "late")
    front.close()
    front = listener.front()
    front.start()
    assert front.take(1, 1) == []
    front.close()
    front.close()
    assert front.take(1, 1) is None


# --- addresses


def test_an_address_that_is_served_already_is_busy(listener: Listener) -> None:
    with serving(listener), listener.client() as ask:
        for _ in range(2):
            with pytest.raises(ConfigError, match=r"another process serves there|address already in use"):
                listener.front().start()
        assert read(ask(OPEN, timeout=5)).status.code == 0


def test_an_address_can_be_served_again(listener: Listener) -> None:
    for _ in range(2):
        with serving(listener), listener.client() as ask:
            assert read(ask(OPEN, timeout=5)).status.code == 0


def test_a_socket_is_for_user_and_group_alone(listener: Listener, tmp_path: Path) -> None:
    if not isinstance(listener.address, UnixAddress):
        return
    path = tmp_path / "deep" / "a.sock"
    deep = Listener(listener.kind, UnixAddress(path))
    with serving(deep):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert stat.S_IMODE(path.parent.stat().st_mode) & 0o007 == 0
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("kind", ["native-tcp", "grpcio-tcp"])
@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "2001:db8::1", "example.com"])
def test_without_tls_only_loopback_is_served(kind: str, host: str) -> None:
    with pytest.raises(ConfigError, match="serves loopback only"):
        Listener(kind, TcpAddress(host, 0)).front().start()


@pytest.mark.parametrize("kind", ["native-unix", "grpcio-unix"])
def test_a_path_that_the_kernel_refuses_is_told(kind: str, tmp_path: Path) -> None:
    path = tmp_path / ("a" * 120)
    with pytest.raises(ConfigError, match="choose another"):
        Listener(kind, UnixAddress(path)).front().start()
    assert list(tmp_path.iterdir()) == []


# --- health


SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Switch:
    """Whether a front serves, and a judging thread that takes what comes."""

    def __init__(self, listener: Listener) -> None:
        self.on = True
        self.front = listener.front(lambda: self.on)
        self._thread = threading.Thread(target=self._judge)

    def __enter__(self) -> Switch:
        self.front.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.front.close()
        self._thread.join()

    def _judge(self) -> None:
        while self.front.take(64, 20) is not None:
            pass


def _question(service: str) -> bytes:
    return bytes(health_pb2.HealthCheckRequest(service=service).SerializeToString())


def _health(channel: grpc.Channel, service: str = "", payload: bytes | None = None) -> Any:
    ask = channel.unary_unary(HEALTH_CHECK, response_deserializer=health_pb2.HealthCheckResponse.FromString)
    return ask(_question(service) if payload is None else payload, timeout=10).status


def _watch(channel: grpc.Channel, service: str = "") -> Any:
    watch = channel.unary_stream(
        HEALTH_WATCH, response_deserializer=health_pb2.HealthCheckResponse.FromString
    )
    return watch(_question(service), timeout=30)


@pytest.mark.parametrize("service", ["", "envoy.service.auth.v3.Authorization"])
def test_health_is_serving_while_checks_are_judged(listener: Listener, service: str) -> None:
    with Switch(listener) as switch, listener.channel() as channel:
        assert _health(channel, service) == SERVING
        switch.on = False
        assert _health(channel, service) == NOT_SERVING


def test_health_of_another_service_is_not_found(listener: Listener) -> None:
    with Switch(listener), listener.channel() as channel:
        for service, payload, code in (
            ("envoy.service.auth.v2.Authorization", None, grpc.StatusCode.NOT_FOUND),
            ("", b"\xff\xff", grpc.StatusCode.INVALID_ARGUMENT),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                _health(channel, service, payload)
            assert caught.value.code() is code


def test_a_watcher_is_told_at_once_and_of_each_change(listener: Listener) -> None:
    with Switch(listener) as switch, listener.channel() as channel:
        told = _watch(channel)
        assert next(told).status == SERVING
        switch.on = False
        assert next(told).status == NOT_SERVING
        switch.on = True
        assert next(told).status == SERVING
        assert next(_watch(channel, "another")).status == UNKNOWN


def test_a_watcher_learns_that_the_front_leaves(listener: Listener) -> None:
    switch = Switch(listener)
    with listener.channel() as channel:
        with switch:
            told = _watch(channel)
            assert next(told).status == SERVING
        with pytest.raises(grpc.RpcError):
            next(told)


def test_watchers_are_bounded_and_make_room_when_they_leave(listener: Listener) -> None:
    with Switch(listener), listener.channel() as channel:
        watchers = [_watch(channel) for _ in range(WATCHERS_MAX)]
        assert {next(each).status for each in watchers} == {SERVING}
        with pytest.raises(grpc.RpcError) as caught:
            next(_watch(channel))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert _health(channel) == SERVING
        watchers[0].cancel()

        def has_room() -> bool:
            try:
                return bool(next(_watch(channel)).status == SERVING)
            except grpc.RpcError:
                return False

        assert eventually(has_room, 10)


def test_checks_are_answered_while_others_watch(listener: Listener) -> None:
    with serving(listener), listener.channel() as channel, listener.client() as ask:
        watchers = [_watch(channel) for _ in range(WATCHERS_MAX)]
        assert len([next(each) for each in watchers]) == WATCHERS_MAX
        assert read(ask(OPEN, timeout=5)).status.code == 0
