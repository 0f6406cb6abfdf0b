"""A connection whose exchanges end by a deadline, whatever is sent, and however slowly."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Thread
from time import monotonic

import pytest

from authz.shipping.wire import ANSWER_MAX_BYTES, AnswerTooLong, Wire, connect

Pair = tuple[Wire, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A connection, and who is at its other end."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    theirs.settimeout(10)
    wire = Wire(ours, monotonic)
    wire.begin(monotonic() + 10)
    yield wire, theirs
    wire.close()
    theirs.close()


def _soon(wire: Wire) -> None:
    wire.begin(monotonic() + 0.05)


def test_what_is_sent_arrives_though_it_fits_no_buffer(pair: Pair) -> None:
    wire, theirs = pair
    heard = bytearray()

    def listen() -> None:
        while len(heard) < 2_000_000:
            heard.extend(theirs.recv(65_536))

    (thread := Thread(target=listen, daemon=True)).start()
    wire.send(b"ab" * 1_000_000)
    thread.join(10)
    assert bytes(heard) == b"ab" * 1_000_000
    assert not wire.cut_short


def test_nobody_who_reads_is_waited_for_until_the_deadline(pair: Pair) -> None:
    wire, _ = pair
    _soon(wire)
    with pytest.raises(TimeoutError):
        wire.send(b"x" * 2_000_000)


def test_whoever_answers_before_it_heard_all_is_heard(pair: Pair) -> None:
    wire, theirs = pair
    theirs.sendall(b"no")
    wire.send(b"x" * 2_000_000)
    assert wire.cut_short
    assert wire.makefile("rb").read(2) == b"no"


def test_whoever_answers_early_and_hangs_up_is_heard(pair: Pair) -> None:
    wire, theirs = pair
    theirs.sendall(b"no")
    theirs.close()
    wire.send(b"x" * 2_000_000)
    assert wire.cut_short
    assert wire.makefile("rb").readline() == b"no"
    assert wire.hung_up


def test_whoever_hangs_up_without_a_word_is_gone(pair: Pair) -> None:
    wire, theirs = pair
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionResetError, match="hung up"):
        wire.send(b"x" * 2_000_000)


def test_no_answer_is_waited_for_until_the_deadline(pair: Pair) -> None:
    wire, _ = pair
    _soon(wire)
    with pytest.raises(TimeoutError):
        wire.makefile("rb").readline()


def test_the_deadline_is_of_all_that_is_read_and_not_of_each_read(pair: Pair) -> None:
    """The clock jumps by a second with each look at it, and there is always something to read."""
    _, theirs = pair
    now_s = iter(range(1000))
    ours, other = socket.socketpair()
    wire = Wire(ours, lambda: float(next(now_s)))
    wire.begin(10.0)
    other.sendall(b"x" * 1000)
    with pytest.raises(TimeoutError):
        _read_bytes(wire, 100)
    assert wire.heard == 10
    for one in (ours, other, theirs):
        one.close()


def _read_bytes(wire: Wire, count: int) -> None:
    for _ in range(count):
        wire.read_into(memoryview(bytearray(1)))


def test_more_than_anybody_reads_is_not_read(pair: Pair) -> None:
    wire, theirs = pair

    def talk() -> None:
        for _ in range(100):
            theirs.sendall(b"x" * 65_536)

    Thread(target=_quietly, args=(talk,), daemon=True).start()
    with pytest.raises(AnswerTooLong):
        wire.makefile("rb").read()
    assert wire.heard <= ANSWER_MAX_BYTES + 65_536


def _quietly(work: object) -> None:
    assert callable(work)
    try:
        work()
    except OSError:
        return


def test_it_is_quiet_until_something_comes_or_the_other_end_goes(pair: Pair) -> None:
    wire, theirs = pair
    assert wire.is_quiet()
    theirs.sendall(b"x")
    assert not wire.is_quiet()


def test_a_good_bye_is_not_quiet(pair: Pair) -> None:
    wire, theirs = pair
    theirs.close()
    assert not wire.is_quiet()


def test_a_connection_that_was_torn_is_not_quiet() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wire = connect("127.0.0.1", listener.getsockname()[1], None, monotonic, monotonic() + 10)
        client, _ = listener.accept()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()  # with a reset
        for _ in range(1000):
            if not wire.is_quiet():
                break
        assert not wire.is_quiet()
        wire.close()


def test_of_several_addresses_the_first_that_lets_us_in_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        found = _found(("127.0.0.1", 1), ("127.0.0.1", port), ("127.0.0.1", 2))
        monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
        connect("a.test", port, None, monotonic, monotonic() + 10).close()


def _found(*addresses: tuple[str, int]) -> list[object]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]


def test_an_address_that_says_nothing_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first swallows whatever comes, as a network without a route does: IPv6 in many places."""
    with socket.create_server(("127.0.0.1", 0)) as listener, _swallowing() as silent:
        addresses = _found(silent, listener.getsockname())
        monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: addresses)
        connect("a.test", 1, None, monotonic, monotonic() + 2).close()


@contextmanager
def _swallowing() -> Iterator[tuple[str, int]]:
    """An address to which nobody connects and of which nobody is refused: its queue is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(16):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0.05)
            try:
                waiting.connect(listener.getsockname())
            except TimeoutError:
                break
        else:
            pytest.fail("its queue is never full")
        yield listener.getsockname()


@pytest.mark.parametrize(
    ("found", "why"), [([], "its name has no address"), (_found(("127.0.0.1", 1)), "Connection refused")]
)
def test_a_name_of_which_no_address_lets_us_in_is_an_outage(
    monkeypatch: pytest.MonkeyPatch, found: list[object], why: str
) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
    with pytest.raises(OSError, match=why):
        connect("a.test", 1, None, monotonic, monotonic() + 10)


def test_a_name_that_took_all_the_time_leaves_none_to_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: _found(("127.0.0.1", 1)))
    with pytest.raises(TimeoutError):
        connect("a.test", 1, None, monotonic, monotonic() - 1)
