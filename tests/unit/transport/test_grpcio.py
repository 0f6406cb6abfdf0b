"""What only the grpcio front does: no room, slow senders, strangers. The rest is in `tests/contract/`."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import grpc
import pytest
from structlog.testing import capture_logs

from authz.model.errors import ConfigError
from authz.transport.front import METHOD
from authz.transport.grpcio import LOOK_S, READ_CROWDED_LOOKS, READ_MAX_LOOKS, GrpcioFront
from authz.transport.health import HEALTH_CHECK, HEALTH_WATCH
from authz.transport.shield import LAST_RESORT
from tests.support.certificates import ENVOY
from tests.support.grpc import read
from tests.support.listeners import Listener, authority, taken
from tests.support.proxy import eventually
from tests.support.sets import events

MIB = 1024 * 1024


@pytest.fixture
def listener(tmp_path: Path) -> Listener:
    return Listener.of("grpcio-unix", tmp_path)


def started(listener: Listener, **sizes: int) -> GrpcioFront:
    front = listener.front(lambda: True, **sizes)
    assert isinstance(front, GrpcioFront)
    front.start()
    return front


def test_what_does_not_fit_is_refused_at_once_and_the_rest_answered(listener: Listener) -> None:
    """One thread, room for one: of five calls three are too many; nobody judges until they are refused."""
    front = started(listener, threads=1, waiting_max=1)
    with listener.client() as ask:
        first = ask.future(b"1", timeout=30)  # type: ignore[attr-defined] # grpc has no types
        assert eventually(lambda: len(front._desk._open) == 1)
        others = [ask.future(bytes([n]), timeout=30) for n in range(2, 6)]  # type: ignore[attr-defined] # as above
        assert eventually(lambda: sum(call.done() for call in others) == 3)
        refused = [call.result() for call in others if call.done()]
        assert refused == [LAST_RESORT] * 3
        assert {read(each).denied_response.status.code for each in refused} == {503}
        answered = 0
        told = 0
        while answered < 2:
            for arrival in taken(front):
                alive = front.respond(arrival.id, b"judged")
                answered += alive
                told += not alive and arrival.remaining_s == 0.001
        assert told == 3  # so that each is recorded and counted as overloaded
        assert first.result() == b"judged"
        assert sorted(call.result() for call in others) == sorted([b"judged", *[LAST_RESORT] * 3])
    front.close()


def test_where_there_is_no_room_health_is_an_error_and_waits_for_nobody(listener: Listener) -> None:
    front = started(listener, threads=1, waiting_max=0)
    with listener.channel() as channel:
        check = channel.unary_unary(HEALTH_CHECK)
        watch = channel.unary_stream(HEALTH_WATCH)
        for call in (check.future(b"", timeout=10), watch(b"", timeout=10)):
            assert call.exception().code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    front.close()


def test_a_message_that_does_not_come_is_given_up(listener: Listener) -> None:
    front = started(listener, threads=1)
    never, asked = Event(), Event()

    def messages() -> Iterator[bytes]:
        asked.set()
        never.wait(20)
        yield b"late"

    with listener.channel() as channel, listener.client() as ask:
        slow = channel.stream_unary(METHOD).future(messages(), timeout=30)
        calls = front._calls
        assert calls is not None
        assert eventually(lambda: bool(calls._reading))
        now_s = time.monotonic()
        calls.hurry(now_s + 3600)  # a machine that paused for an hour looks once
        for look in range(READ_CROWDED_LOOKS + 1):
            calls.hurry(now_s + 3600 + look * LOOK_S * 1.01)
        assert READ_MAX_LOOKS > READ_CROWDED_LOOKS + 2
        assert not slow.done()
        waiting = ask.future(b"x", timeout=30)  # type: ignore[attr-defined] # grpc has no types
        assert eventually(lambda: calls._pool.crowded)
        calls.hurry(now_s + 7200)
        assert slow.exception().code() is grpc.StatusCode.CANCELLED
        (arrival,) = taken(front)
        assert front.respond(arrival.id, b"y")
        assert waiting.result() == b"y"
        never.set()
    front.close()


def test_a_packed_message_is_never_unpacked(listener: Listener) -> None:
    """SECURITY: 64 MiB that travel as 64 KiB take 64 KiB here."""
    front = started(listener)
    with listener.client() as ask:
        call = ask.future(b"\0" * 64 * MIB, timeout=60, compression=grpc.Compression.Gzip)  # type: ignore[attr-defined] # grpc has no types
        (arrival,) = taken(front, timeout_s=60)
        assert len(arrival.payload) < MIB
        front.respond(arrival.id, b"x")
        assert call.result() == b"x"
    front.close()


def test_a_call_that_was_given_up_before_it_was_taken_is_not_judged(listener: Listener) -> None:
    front = started(listener)
    with listener.client() as ask:
        call = ask.future(b"1", timeout=30)  # type: ignore[attr-defined] # grpc has no types
        assert eventually(lambda: len(front._desk._open) == 1)
        (held,) = front._desk._open.values()
        call.cancel()
        assert eventually(lambda: not held.context.is_active())
        assert front.take(64, 0) == []
        assert front._desk._open == {}
    front.close()


# --- callers


@pytest.fixture
def secured(tmp_path: Path) -> Listener:
    return Listener.of("grpcio-mtls", tmp_path)


def test_a_stranger_is_turned_away_counted_and_logged_now_and_then(secured: Listener) -> None:
    front = started(secured)
    stranger = authority().vouch("spiffe://prod/ns/web/sa/a/b")
    with capture_logs() as logs, secured.channel(stranger) as channel:
        for method in (METHOD, METHOD, HEALTH_CHECK):
            caught = channel.unary_unary(method).future(b"x", timeout=10).exception()
            assert caught.code() is grpc.StatusCode.PERMISSION_DENIED
        watched = channel.unary_stream(HEALTH_WATCH)(b"", timeout=10).exception()
        assert watched.code() is grpc.StatusCode.PERMISSION_DENIED
    assert front.take(64, 0) == []
    assert front.tls_facts().strangers == 4
    (line,) = events(logs, "a caller was turned away")
    assert line["caller"] == "spiffe://prod/ns/web/sa/a/b"
    front.close()


@pytest.mark.parametrize(
    ("uris", "dns"),
    [
        ((), ("authz.test",)),
        ((), (ENVOY,)),
        ((ENVOY, "spiffe://prod/other"), ()),
        (("https://prod/x",), ()),
        ((f"{ENVOY}\0.evil",), ()),
    ],
    ids=["a host name", "our id as a host name", "two ids", "another kind of URI", "our id, then a NUL"],
)
def test_what_is_no_single_spiffe_id_is_a_stranger(
    secured: Listener, uris: tuple[str, ...], dns: tuple[str, ...]
) -> None:
    front = started(secured)
    with secured.channel(authority().vouch(*uris, dns=dns)) as channel:
        caught = channel.unary_unary(METHOD).future(b"x", timeout=10).exception()
        assert caught.code() is grpc.StatusCode.PERMISSION_DENIED
    front.close()


# --- the start


def test_a_certificate_that_the_library_refuses_is_told_in_one_line(
    secured: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "authz.transport.tls._configuration",
        lambda _: grpc.ssl_server_certificate_configuration([(b"no key", b"no certificate")]),
    )
    front = secured.front()
    with pytest.raises(ConfigError, match="--listen 127"):
        front.start()
    with pytest.raises(ConfigError, match="--listen 127"):  # nothing is left that holds the port
        front.start()


def test_who_serves_native_alone_loads_neither_grpcio_nor_cryptography() -> None:
    code = (
        "import sys, authz.wiring.sidecar, authz.cli.serve; print({'grpc', 'cryptography'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
