"""A Redis in trouble, and one that does not let us in. What becomes of checks: tests/support/limited.py."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import pytest
import redis

from authz.proxy.process import http_get, program
from authz.proxy.stage import short_directory
from tests.support.canary import leaks, word
from tests.support.certificates import Authority
from tests.support.limited import ALONE, EITHER, KEPT, Site, judge, judge_outputs, limited
from tests.support.redis import RedisServer, redis_server, wait_for


class Stage(NamedTuple):
    """A sidecar and its Redis."""

    server: RedisServer
    site: Site


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    home = short_directory()
    with ExitStack() as stack:
        server = stack.enter_context(redis_server("--user", "us", "on", ">secret", "~*", "&*", "+@all"))
        server.ask("CONFIG", "SET", "lua-time-limit", "50")
        url = f"redis://us:secret@127.0.0.1:{server.port}/0"
        site = stack.enter_context(limited(home, REDIS_URL=url))
        site.wait_until_well()
        yield Stage(server, site)
    shutil.rmtree(home)


# --- keys that are not ours in our keyspace


def _bucket(server: RedisServer, limit: str) -> bytes:
    """The key of the only bucket of a limit."""
    (key,) = server.ask("KEYS", f"authz:default:*:{limit}:*")
    return bytes(key)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("list", ("RPUSH", "x")),
        ("set", ("SADD", "x")),
        ("hash", ("HSET", "x", "y")),
        ("empty", ("SET", "")),
        ("short", ("SET", "x" * 15)),
        ("long", ("SET", "x" * 17)),
        ("nan", ("SET", struct.pack("<dd", float("nan"), 1.0))),
        ("when-nan", ("SET", struct.pack("<dd", 1.0, float("nan")))),
        ("endless", ("SET", struct.pack("<dd", float("inf"), 1.0))),
        ("when-endless", ("SET", struct.pack("<dd", 1.0, float("inf")))),
        ("negative", ("SET", struct.pack("<dd", -1.0, 1.0))),
        ("beyond-reason", ("SET", struct.pack("<dd", 1e300, 1.0))),
    ],
)
def test_a_key_that_is_no_bucket_is_an_error_of_that_bucket_alone(
    stage: Stage, name: str, command: tuple[str | bytes, ...]
) -> None:
    """Never a full bucket: whoever may write there would otherwise lift the limit."""
    server, site = stage
    server.ask("FLUSHALL")
    keys = []
    for limit in ("local", "allow", "deny"):
        site.told(f"/{limit}/{name}")
        keys.append(_bucket(server, limit))
        server.ask("DEL", keys[-1])
        server.ask(command[0], keys[-1], *command[1:])
    told = site.asked(name)
    assert told["local"] == [200] * 2 + [429] * 10  # the first was seen in Redis
    assert told["allow"] == [200] * 12
    assert told["deny"] == [503] * 12
    assert site.told(f"/deny/other-than-{name}") == 200  # its neighbours are well
    assert server.ask("EXISTS", *keys) == 3
    assert server.ask("TYPE", keys[0]) == server.ask("TYPE", keys[2])  # and no key was overwritten


def test_one_bucket_that_cannot_be_read_leaves_the_other_of_a_check_unspent(stage: Stage) -> None:
    """All or nothing: what the first gave would be lost if it were charged."""
    server, site = stage
    server.ask("FLUSHALL")
    assert site.told("/both/whole") == 200
    other = _bucket(server, "deny")
    server.ask("SET", other, "x")
    before = server.ask("GET", _bucket(server, "allow"))
    assert [site.told("/both/whole") for _ in range(4)] == [503] * 4
    assert server.ask("GET", _bucket(server, "allow")) == before


# --- a server in trouble


@contextmanager
def _endless_script(server: RedisServer) -> Iterator[None]:
    def run() -> None:
        with suppress(redis.RedisError):
            server.ask("EVAL", "while true do end", 0)

    thread = Thread(target=run, daemon=True)
    thread.start()
    wait_for(lambda: _is_busy(server))
    try:
        yield
    finally:
        while thread.is_alive():
            with suppress(redis.RedisError):
                server.ask("SCRIPT", "KILL")
            thread.join(0.02)


def _is_busy(server: RedisServer) -> bool:
    try:
        server.ask("PING")
    except redis.ResponseError as error:
        return "BUSY" in str(error)
    return False


@contextmanager
def _full(server: RedisServer) -> Iterator[None]:
    server.ask("CONFIG", "SET", "maxmemory", "1")
    yield
    server.ask("CONFIG", "SET", "maxmemory", "0")


@contextmanager
def _replica(server: RedisServer) -> Iterator[None]:
    server.ask("REPLICAOF", "127.0.0.1", "1")
    yield
    server.ask("REPLICAOF", "NO", "ONE")


@contextmanager
def _paused(server: RedisServer) -> Iterator[None]:
    server.pause()
    yield
    server.resume()


@contextmanager
def _killed(server: RedisServer) -> Iterator[None]:
    server.kill()
    yield
    server.start()


@contextmanager
def _without_evalsha(server: RedisServer) -> Iterator[None]:
    server.ask("ACL", "SETUSER", "us", "-evalsha")
    yield
    server.ask("ACL", "SETUSER", "us", "+evalsha")


@contextmanager
def _without_our_keys(server: RedisServer) -> Iterator[None]:
    server.ask("ACL", "SETUSER", "us", "resetkeys", "~others:*")
    yield
    server.ask("ACL", "SETUSER", "us", "resetkeys", "~*")


@contextmanager
def _without_us(server: RedisServer) -> Iterator[None]:
    server.ask("ACL", "SETUSER", "us", "off")
    server.ask("CLIENT", "KILL", "USER", "us")
    yield
    server.ask("ACL", "SETUSER", "us", "on")


@contextmanager
def _script_forgotten(server: RedisServer) -> Iterator[None]:
    server.ask("SCRIPT", "FLUSH")
    yield


@contextmanager
def _connections_killed(server: RedisServer) -> Iterator[None]:
    server.ask("CLIENT", "KILL", "USER", "us")
    yield


@pytest.mark.parametrize(
    ("trouble", "outcome"),
    [
        (_endless_script, ALONE),
        (_full, ALONE),
        (_replica, ALONE),
        (_paused, ALONE),
        (_without_evalsha, ALONE),
        (_without_our_keys, ALONE),
        (_without_us, ALONE),
        (_script_forgotten, KEPT),
        (_connections_killed, EITHER),
        (_killed, ALONE),
    ],
)
def test_a_server_in_trouble_decides_nothing_and_is_found_again(
    stage: Stage, trouble: Callable[[RedisServer], Iterator[None]], outcome: str
) -> None:
    server, site = stage
    site.wait_until_well()
    case = trouble.__name__.strip("_").replace("_", "-")
    site.log()
    with trouble(server):  # type: ignore[attr-defined] # a context manager, by its decorator
        told = site.asked(case)
    site.wait_until_well()
    judge(outcome, told)
    judge_outputs(site, outcome, case)


def test_a_server_that_forgets_all_has_full_buckets_and_nothing_else_is_felt(stage: Stage) -> None:
    """What FLUSHALL does cannot be told from an empty Redis on the same connection: see docs/exactness.md."""
    server, site = stage
    site.wait_until_well()
    assert [site.told("/deny/flushed") for _ in range(2)] == [200] * 2
    server.ask("FLUSHALL")
    assert [site.told("/deny/flushed") for _ in range(4)] == [200] * 3 + [429]


# --- a server that does not let us in


class Door(NamedTuple):
    """A way to be turned away.

    Args:
        url: how REDIS_URL is written; PORT, TLS and SECRET are filled in.
        why: the word that the log and the metrics have for it.
        what: stands in the line.
    """

    name: str
    url: str
    why: str
    what: str


DOORS = (
    Door("a wrong password", "redis://us:SECRET@127.0.0.1:PORT", "wrongpass", "user and password"),
    Door("a password for nobody", "redis://:SECRET@127.0.0.1:PORT", "wrongpass", "user and password"),
    Door("nobody's user", "redis://nobody:SECRET@127.0.0.1:PORT", "wrongpass", "user and password"),
    Door("no password", "redis://127.0.0.1:PORT", "noauth", "does not load our script"),
    Door("no such database", "redis://us:right@127.0.0.1:PORT/99", "err", "database 99"),
    Door(
        "a user who may not call", "redis://mute:SECRET@127.0.0.1:PORT", "noperm", "does not run our script"
    ),
    Door("a user who may not load", "redis://guest:SECRET@127.0.0.1:PORT", "noperm", "does not load our"),
    Door("TLS where there is none", "rediss://us:SECRET@127.0.0.1:PORT", "timeout", "TLS in time"),
    Door("none where there is TLS", "redis://us:SECRET@127.0.0.1:TLS", "closed", "closed the connection"),
    Door("a CA that we do not trust", "rediss://us:SECRET@localhost:TLS", "tls", "certificate"),
    Door("nobody there", "redis://us:SECRET@127.0.0.1:1", "down", "connection refused"),
    Door("no such host", "redis://us:SECRET@nowhere.invalid:6379", "down", "nowhere.invalid"),
    Door("no such socket", "unix://us:SECRET@/nonexistent/redis.sock", "down", "no such file"),
)


@contextmanager
def _doors(secret: str) -> Iterator[tuple[int, int]]:
    """Start a server with users, and one that speaks TLS; yields their ports."""
    users = (
        "--user us on >right ~* &* +@all",
        f"--user mute on >{secret} ~* &* +@all -evalsha",
        f"--user guest on >{secret} ~* &* -@all +ping",
        "--requirepass other",
    )
    with redis_server(*" ".join(users).split()) as plain, _tls_server() as tls:
        yield plain.port, tls


@contextmanager
def _tls_server() -> Iterator[int]:
    """Listen as a server does that speaks TLS alone: whoever does not is hung up on."""
    home = short_directory()
    cert, key = Authority().server().written(home, "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=_greet, args=(listener, context), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    shutil.rmtree(home)


def _greet(listener: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        with peer, suppress(OSError):
            context.wrap_socket(peer, server_side=True).close()


def _get(path: Path, target: str) -> bytes:
    connection = HTTPConnection("localhost", timeout=5)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(path))
    connection.request("GET", target)
    with connection.getresponse() as reply:
        return reply.read()


def _turned_away(door: Door, ports: tuple[int, int], secret: str) -> None:
    """Start a sidecar at a door, and judge everything that comes out of it."""
    home = short_directory()
    url = door.url.replace("PORT", str(ports[0])).replace("TLS", str(ports[1])).replace("SECRET", secret)
    environ = {"REDIS_URL": url, "LOG_LEVEL": "debug"}
    with limited(home, debug=f"unix:{home}/d.sock", **environ) as site:
        told = site.asked("away")
        judge(ALONE, told)
        records = site.records("away", 36)
        assert {limit["store"] for record in records for limit in record["limits"]} == {"outage"}
        wait_for(lambda: bool(site.sidecar.told("redis cannot be used")))
        wait_for(lambda: "store" in site.sidecar.ready()[1])
        code, ready = site.sidecar.ready()
        _, metrics = http_get(site.sidecar.ops, "/metrics") or (0, b"")
        debugged = [_get(home / "d.sock", f"/logs/{record['decision_id']}") for record in records[:3]]
        debugged.append(_get(home / "d.sock", "/limits"))
    # What only other settings mend must stop a rollout; a server that is away must not.
    assert code == (503 if door.why in ("wrongpass", "noauth", "noperm", "err", "tls") else 200)
    said = [(line["why"], line["what"]) for line in site.sidecar.told("redis cannot be used")]
    assert said
    assert all(why == door.why and door.what.lower() in what.lower() for why, what in said), said
    assert len(site.log()) <= 20
    assert b'authz_store_up{store="redis"} 0.0' in metrics
    outputs = {"ready": json.dumps(ready).encode(), "metrics": metrics, "debug": b"".join(debugged)}
    outputs |= {name: (home / name).read_bytes() for name in ("log", "out", "records")}
    assert not leaks({"password": secret}, outputs)
    assert b"Traceback" not in outputs["log"]
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def away() -> Iterator[dict[str, Exception | None]]:
    """What was wrong at each door; they are tried a few at a time."""
    secret = word("canary")

    def wrong(door: Door) -> Exception | None:
        try:
            _turned_away(door, ports, secret)
        except (Exception, AssertionError) as error:  # noqa: BLE001 - the test of that door raises it
            return error
        return None

    with _doors(secret) as ports, ThreadPoolExecutor(4) as pool:
        yield dict(zip((door.name for door in DOORS), pool.map(wrong, DOORS), strict=True))


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_whoever_is_not_let_in_decides_alone_says_why_and_gives_no_password_away(
    away: dict[str, Exception | None], door: Door
) -> None:
    """An unreachable Redis is no reason not to serve: checks are answered whatever `/ready` says."""
    error = away[door.name]
    if error is not None:
        raise error


@pytest.mark.parametrize(
    "url",
    [
        "",
        "SECRET",
        "redis://SECRET@127.0.0.1",
        "redis://us:SECRET@127.0.0.1:port",
        "redis://us:SECRET/x@127.0.0.1",
        "redis://us:SECRET@127.0.0.1/0?timeout=1",
        "redis://us:%zzSECRET@127.0.0.1",
        "redis+sentinel://us:SECRET@127.0.0.1",
    ],
)
def test_an_address_that_cannot_be_read_ends_the_start_with_one_line_without_it(
    tmp_path: Path, url: str
) -> None:
    secret = word("canary")
    command = [program("authz"), "serve", "--policies", str(tmp_path), "--listen", f"unix:{tmp_path}/a.sock"]
    environ = {**os.environ, "REDIS_URL": url.replace("SECRET", secret)}
    done = subprocess.run(command, capture_output=True, env=environ, timeout=60, check=False)
    assert done.returncode in (2, 3)
    assert done.stdout == b""
    assert done.stderr.count(b"\n") == 1
    assert b"REDIS_URL" in done.stderr
    assert not leaks({"password": secret}, {"said": done.stderr})
