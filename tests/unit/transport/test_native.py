"""The native front with the reference client: sockets, ports, deadlines, and a drain that loses nothing."""

from __future__ import annotations

import socket
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
import pytest

from authz.model.address import Address, TcpAddress, UnixAddress
from authz.model.decision import Answered
from authz.model.errors import ConfigError
from authz.proxy.process import free_port
from authz.transport.native import NativeFront
from authz.transport.server import CheckServer
from tests.support.checks import check_request
from tests.support.fronts import SNAPSHOT, Bench
from tests.support.grpc import client, read

OPEN = check_request(host="a.example.com", path="/open")


@pytest.fixture(params=["unix", "tcp"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Address:
    return (
        UnixAddress(tmp_path / "a.sock") if request.param == "unix" else TcpAddress("127.0.0.1", free_port())
    )


@contextmanager
def serving(address: Address, **parts: object) -> Iterator[CheckServer]:
    front = NativeFront(address)
    bench = Bench(lambda: SNAPSHOT, front=front, **parts)
    running = CheckServer(front, bench.shield, lambda: time.monotonic_ns() // 1000, idle_s=0.3)
    running.start()
    try:
        yield running
    finally:
        running.stop()
        running.join()


def test_a_check_is_answered(address: Address) -> None:
    with serving(address), client(str(address)) as ask:
        assert read(ask(OPEN, timeout=5)).status.code == 0
        assert read(ask(check_request(host="a.example.com", path="/closed"), timeout=5)).status.code == 7
        assert read(ask(b"", timeout=5)).status.code != 0
        assert read(ask(b"\xff" * 1000, timeout=5)).status.code == 3


def test_a_message_of_four_mib_is_an_explicit_refusal(address: Address) -> None:
    with serving(address), client(str(address)) as ask:
        assert read(ask(b"\xff" * (4 * 1024 * 1024 - 64), timeout=20)).denied_response.status.code in (
            400,
            413,
        )
        assert read(ask(OPEN, timeout=5)).status.code == 0


def test_a_drain_under_load_loses_no_call(address: Address) -> None:
    """Callers send for a while after the stop, as Envoy does; each call gets its answer."""
    lost: list[str] = []
    answers: list[bytes] = []
    stopped = threading.Event()

    def load() -> None:
        with client(str(address)) as ask:
            ready.wait()
            rounds_after = 0
            while rounds_after < 5:
                rounds_after += stopped.is_set()
                for call in [ask.future(OPEN, timeout=10) for _ in range(20)]:  # type: ignore[attr-defined] # grpc has no types
                    try:
                        answers.append(call.result())
                    except grpc.RpcError as error:
                        lost.append(str(error))

    ready = threading.Barrier(3)
    with serving(address) as running:
        threads = [threading.Thread(target=load) for _ in range(2)]
        for thread in threads:
            thread.start()
        ready.wait()
        while len(answers) < 200:
            time.sleep(0.005)
        running.stop()
        stopped.set()
        for thread in threads:
            thread.join()
        running.join()
    assert lost == []
    assert all(read(each).status.code == 0 for each in answers)


def test_a_call_past_its_deadline_is_never_allowed(address: Address) -> None:
    """The judging thread is busy with the first call while the deadline of the second passes."""
    entered, leave = threading.Event(), threading.Event()
    seen: list[Answered] = []

    class Slow:
        def keep(self, answered: Sequence[Answered], fixed: object) -> None:
            seen.extend(answered)
            entered.set()
            leave.wait(10)

    with serving(address, keeper=Slow()), client(str(address)) as ask:
        assert read(ask(OPEN, timeout=5)).status.code == 0
        assert entered.wait(5)
        late = ask.future(OPEN, timeout=0.1)  # type: ignore[attr-defined] # grpc has no types
        with pytest.raises(grpc.RpcError) as caught:
            late.result()
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        leave.set()
        assert read(ask(OPEN, timeout=5)).status.code == 0
    assert [each.status for each in seen] == [200, 503, 200]


def test_another_method_is_unknown(address: Address) -> None:
    with serving(address), grpc.insecure_channel(str(address)) as channel:
        other = channel.unary_unary("/a.B/C", request_serializer=None, response_deserializer=None)
        with pytest.raises(grpc.RpcError) as caught:
            other(OPEN, timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


# --- addresses


def test_an_address_that_is_served_already_is_busy(address: Address) -> None:
    with serving(address), client(str(address)) as ask:
        for _ in range(2):
            with pytest.raises(ConfigError, match=r"another process serves there|address already in use"):
                NativeFront(address).start()
        assert read(ask(OPEN, timeout=5)).status.code == 0


def test_an_address_can_be_served_again(address: Address) -> None:
    for _ in range(2):
        with serving(address), client(str(address)) as ask:
            assert read(ask(OPEN, timeout=5)).status.code == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "2001:db8::1", "example.com"])
def test_only_loopback_is_served(host: str) -> None:
    with pytest.raises(ConfigError, match="serves loopback only"):
        NativeFront(TcpAddress(host, 0)).start()


def test_a_socket_is_for_user_and_group_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.sock"
    with serving(UnixAddress(path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert stat.S_IMODE(path.parent.stat().st_mode) & 0o007 == 0
    assert list(path.parent.iterdir()) == []


def test_a_dead_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with serving(UnixAddress(path)), client(f"unix:{path}") as ask:
        assert read(ask(OPEN, timeout=5)).status.code == 0


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="something that is no socket"):
        NativeFront(UnixAddress(path)).start()
    assert path.read_text() == "mine"


def test_a_path_that_the_kernel_refuses_is_told(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 120)
    with pytest.raises(ConfigError, match="choose another"):
        NativeFront(UnixAddress(path)).start()
    assert list(tmp_path.iterdir()) == []


def test_a_front_that_is_closed_or_was_never_open_takes_nothing(address: Address) -> None:
    front = NativeFront(address)
    assert front.take(1, 1) is None
    assert not front.respond(1, b"x")
    front.fail(1, 4, "late")
    front.close()
    front.start()
    assert front.take(1, 1) == []
    front.close()
    front.close()
    assert front.take(1, 1) is None
    with suppress(RuntimeError):
        assert not front.respond(1, b"x")


def test_a_call_is_answered_once(address: Address) -> None:
    front = NativeFront(address)
    front.start()
    with client(str(address)) as ask:
        call = ask.future(OPEN, timeout=5)  # type: ignore[attr-defined] # grpc has no types
        taken: list[object] = []
        while not taken:
            taken = [*(front.take(1, 100) or [])]
        (arrival,) = taken
        call_id = arrival.id  # type: ignore[attr-defined] # an Arrival
        assert arrival.payload == OPEN  # type: ignore[attr-defined] # as above
        assert 3 < arrival.remaining_s < 6  # type: ignore[attr-defined] # as above
        assert front.respond(call_id, b"first")
        assert not front.respond(call_id, b"second")
        assert call.result() == b"first"
    front.close()
