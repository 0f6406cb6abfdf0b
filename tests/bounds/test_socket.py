"""Whoever reaches the socket of checks asks for too much: each bound, pushed over, on a real sidecar.

What must hold every time: nobody is allowed who should not be, callers that were there go on, memory stays
bounded, and when it is over all is as before.
"""

from __future__ import annotations

import gzip
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from authz.bench.connection import PREFACE, frame
from authz.bench.openloop import Run
from authz.bench.usage import resident_mib
from authz.proxy.process import Child, Plan, free_port, http_get, program
from authz.proxy.stage import short_directory
from authz.transport.front import METHOD
from tests.soak.garbage import Garbage
from tests.support.checks import check_request
from tests.support.grpc import Ask, client, read

# How many the process may have open: fewer than what the front itself would take.
FILES = {"native": 256, "grpcio": 1024}
CONNECTIONS = {"native": 256, "grpcio": 512}  # the second is the front's own bound
MIB = 1024 * 1024
POLICY = """apiVersion: policy.authz/v1alpha1
kind: Policy
metadata: {name: p}
spec:
  hosts: [a.example.com]
  rules: [{name: r, effect: allow, paths: [/open], identity: [anyone]}]
"""
OPEN = check_request(host="a.example.com", path="/open")
CLOSED = check_request(host="a.example.com", path="/closed")


@dataclass(frozen=True)
class Sidecar:
    """A running `authz serve` with few files to open."""

    child: Child
    path: Path
    ops_port: int
    transport: str

    def memory_mib(self) -> float:
        return resident_mib(self.child.pid)

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(2.0)
        connection.connect(str(self.path))
        return connection


@pytest.fixture(scope="module", params=["native", "grpcio"])
def sidecar(request: pytest.FixtureRequest) -> Iterator[Sidecar]:
    directory = short_directory()
    (directory / "policies").mkdir()
    (directory / "policies" / "p.yaml").write_text(POLICY)
    path, port = directory / "a.sock", free_port()
    words = [program("authz"), "serve", "--policies", str(directory / "policies"), "--debug", "off"]
    words += ["--state", "off"]
    words += ["--listen", f"unix:{path}", "--ops", f"127.0.0.1:{port}"]
    command = ["/bin/sh", "-c", f'ulimit -n {FILES[request.param]}; exec "$@"', "sh", *words]
    env = {"AUTHZ_RECORD_SINK": "off", "AUTHZ_DRAIN_S": "0", "AUTHZ_TRANSPORT": request.param}
    with Child(Plan("the sidecar", command, directory / "log", Path("/dev/null"), env)) as child:
        child.wait_until(lambda: (http_get(port, "/ready") or (0,))[0] == 200)
        yield Sidecar(child, path, port, request.param)


@pytest.fixture
def ask(sidecar: Sidecar) -> Iterator[Ask]:
    """A caller that is there before anything happens, and after: it must never notice."""
    with client(f"unix:{sidecar.path}") as asking:
        assert allowed(asking)
        yield asking
        assert allowed(asking)
    assert (http_get(sidecar.ops_port, "/health", 10) or (0,))[0] == 200


def allowed(ask: Ask) -> bool:
    """Whether a caller gets both of its answers, the no and the yes."""
    assert read(ask(CLOSED, timeout=20)).status.code == 7
    return bool(read(ask(OPEN, timeout=20)).status.code == 0)


@pytest.mark.parametrize("size", [4 * MIB, 4 * MIB + 1, 16 * MIB])
def test_a_message_that_is_too_large_is_refused_in_so_many_words(
    sidecar: Sidecar, ask: Ask, size: int
) -> None:
    padding = size - len(OPEN) - 5
    whole = OPEN + b"\xfa\x07" + _varint(padding) + b"x" * padding  # a field that nobody knows
    if sidecar.transport == "grpcio" and size > 5 * MIB:
        with pytest.raises(grpc.RpcError, match="RESOURCE_EXHAUSTED"):
            ask(whole, timeout=60)
        return
    reply = read(ask(whole[: size + 1], timeout=60))
    assert (reply.status.code == 0) == (len(whole) <= 4 * MIB)
    if len(whole) > 4 * MIB:
        assert reply.denied_response.status.code == 413
    assert sidecar.memory_mib() < 400


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes((number & 127 | 128,))
        number >>= 7
    return out + bytes((number,))


def test_a_message_that_unpacks_to_too_much_is_refused(sidecar: Sidecar, ask: Ask) -> None:
    """The front unpacks it before we see it: 64 MiB of zeros from 64 KiB, held for a moment."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"unix:{sidecar.path}", options, grpc.Compression.Gzip) as channel:
        packed = channel.unary_unary(METHOD, request_serializer=None, response_deserializer=None)
        reply = read(packed(b"\0" * 64 * MIB, timeout=60))
    assert reply.status.code != 0
    assert reply.denied_response.status.code in (400, 413)
    assert sidecar.memory_mib() < 600


def test_more_connections_than_may_be_wait_or_end_and_cost_nobody_else_anything(
    sidecar: Sidecar, ask: Ask
) -> None:
    """Native: the files of the process are the bound, and those beyond wait; grpcio: they are hung up on."""
    before = sidecar.memory_mib()
    with ExitStack() as stack:
        opened: list[socket.socket] = []
        for _ in range(CONNECTIONS[sidecar.transport] + 200):
            try:
                connection = stack.enter_context(sidecar.connect())
                connection.sendall(PREFACE + frame(4, 0, 0, b""))
                opened.append(connection)
            except OSError:
                break  # the backlog of the socket is full as well
        assert allowed(ask)
        assert len(_served(opened)) <= CONNECTIONS[sidecar.transport]
        assert sidecar.memory_mib() < before + 64
    assert eventually_new(sidecar)


def _served(connections: list[socket.socket]) -> list[socket.socket]:
    """Return those on which the front has said its settings and not hung up."""
    time.sleep(1)
    served = []
    for connection in connections:
        connection.setblocking(False)
        with suppress(OSError):
            if connection.recv(1 << 16):
                served.append(connection)
    return served


def eventually_new(sidecar: Sidecar) -> bool:
    """Whether a new caller is served again soon."""
    end_s = time.monotonic() + 30
    while time.monotonic() < end_s:
        with suppress(grpc.FutureTimeoutError, grpc.RpcError), client(f"unix:{sidecar.path}") as ask:
            return allowed(ask)
    return False


def test_more_streams_than_a_connection_may_have_are_refused_and_others_go_on(
    sidecar: Sidecar, ask: Ask
) -> None:
    """1,024 calls that never send their message; the next ones on that connection are reset."""
    block = Garbage(sidecar.path, 1)._opened(1)[len(PREFACE) + 9 + 9 :]
    with sidecar.connect() as connection:
        connection.sendall(PREFACE + frame(4, 0, 0, b""))
        connection.sendall(b"".join(frame(1, 4, stream, block) for stream in range(1, 2 * 1100, 2)))
        assert _refusing(connection)
        assert allowed(ask)


def _refusing(connection: socket.socket) -> bool:
    """Whether a stream is reset, or the connection given up, before long."""
    data, end_s = b"", time.monotonic() + 30
    while time.monotonic() < end_s and not {3, 7} & _kinds(data):
        with suppress(TimeoutError):
            more = connection.recv(65536)
            if not more:
                break
            data += more
    return bool({3, 7} & _kinds(data))


def _kinds(data: bytes) -> set[int]:
    """Return of what kinds the frames are."""
    kinds = set()
    while len(data) >= 9:
        kinds.add(data[3])
        data = data[9 + int.from_bytes(data[:3], "big") :]
    return kinds


@pytest.mark.parametrize("kind", ["noise", "frames", "truncated", "resets", "long_headers", "slow", "bomb"])
def test_garbage_of_each_kind_costs_nobody_else_anything(sidecar: Sidecar, ask: Ask, kind: str) -> None:
    before = sidecar.memory_mib()
    garbage = Garbage(sidecar.path, 7)
    for _ in range(40):
        with suppress(OSError):
            getattr(garbage, kind)()
    assert allowed(ask)
    assert sidecar.memory_mib() < before + 128
    garbage.close()


def test_well_framed_garbage_is_refused_call_by_call(sidecar: Sidecar, ask: Ask) -> None:
    garbage = Garbage(sidecar.path, 7)
    garbage.calls()
    assert garbage.counts["called"] > 0
    assert (garbage.counts["allowed"], garbage.counts["unanswered"]) == (0, 0)
    assert allowed(ask)


def test_more_calls_than_can_wait_are_refused_with_503_and_never_lost(sidecar: Sidecar, ask: Ask) -> None:
    """8,000 calls at once; whoever cannot be judged in 100 ms is refused, everybody is answered."""
    message = b"\0" + len(OPEN).to_bytes(4, "big") + OPEN
    run = Run([sidecar.path], [message], 20_000, 16)
    found = run.go(80_000.0, 0.1)
    run.close()
    assert found.sent > 1000
    assert (found.errors, found.unanswered, found.refused) == (0, 0, 0)
    assert found.allowed + found.unavailable == found.sent


def test_a_bomb_is_a_bomb() -> None:
    """What the tests above send unpacks to more than a message may have."""
    assert len(gzip.decompress(Garbage(Path("/nowhere"), 1)._bomb)) > 4 * MIB
