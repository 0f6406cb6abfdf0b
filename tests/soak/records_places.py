"""Where records of the soak go: real sinks, each of which can be put into trouble and heal."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from typing import Protocol

from tests.support.collector import (
    ACCEPT,
    Collector,
    Line,
    answering,
    collector,
    dripping,
    hanging_up,
    saying,
    stalling,
)
from tests.support.kafka import KafkaServer, kafka
from tests.support.redis import RedisServer, redis_server
from tests.support.workers import wait_until

STREAM = "records"
_PAGE = 5000  # entries of Redis that are read at once

Trouble = Callable[[], None]


class Place(Protocol):
    """A sink of the soak."""

    name: str

    def address(self, sidecar: str) -> str:
        """Return what `record_sink` says of it."""
        ...

    def troubles(self) -> dict[str, Trouble]:
        """Return what may befall it, until `heal`."""
        ...

    def heal(self) -> None:
        """Make it well."""
        ...

    def lines(self, sidecar: str) -> list[bytes]:
        """Return what it has: of this sidecar alone, where it can tell, else of all."""
        ...


class Files:
    """A file for each sidecar, moved away now and then, or a directory in its place."""

    name = "file"

    def __init__(self, directory: Path, dice: random.Random) -> None:
        self._directory, self._dice = directory, dice
        self._moved: dict[str, int] = {}
        self._blocked: list[Path] = []
        self._lock = Lock()

    def address(self, sidecar: str) -> str:
        self._moved.setdefault(sidecar, 0)
        return f"file:{self._path(sidecar)}"

    def troubles(self) -> dict[str, Trouble]:
        return {"moved, and a directory in its place": self._block}

    def rotate(self, sidecar: str) -> None:
        """Move it aside; SIGHUP follows, and makes another."""
        path = self._path(sidecar)
        with self._lock:
            if path.is_file():
                self._moved[sidecar] += 1
                path.rename(self._aside(sidecar, self._moved[sidecar]))

    def heal(self) -> None:
        while self._blocked:
            self._blocked.pop().rmdir()

    def lines(self, sidecar: str) -> list[bytes]:
        paths = [self._aside(sidecar, number + 1) for number in range(self._moved[sidecar])]
        paths += [self._path(sidecar)]
        return [line for path in paths if path.is_file() for line in path.read_bytes().splitlines()]

    def _block(self) -> None:
        sidecar = self._dice.choice(sorted(self._moved))
        self.rotate(sidecar)
        path = self._path(sidecar)
        try:
            path.mkdir()
        except FileExistsError:
            return  # it was made anew before us
        self._blocked.append(path)

    def _path(self, sidecar: str) -> Path:
        return self._directory / f"{sidecar}.jsonl"

    def _aside(self, sidecar: str, number: int) -> Path:
        return self._directory / f"{sidecar}.jsonl.{number}"


class Collected:
    """The collector over HTTP."""

    name = "http"

    def __init__(self, server: Collector) -> None:
        self._server = server

    def address(self, sidecar: str) -> str:
        return f"{self._server.url}/{sidecar}"

    def troubles(self) -> dict[str, Trouble]:
        plays = {
            "503": answering(503),
            "429 with retry-after": answering(429, "retry-after: 1"),
            "400": answering(400),
            "413": answering(413),
            "no answer": stalling,
            "hangs up": hanging_up,
            "takes it, and hangs up": _taking,
            "garbage": saying(b"\x00\xff garbage without end\r\n\r\n", hangs_up=True),
            "slow": _slow,
            "drips": dripping(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"x" * 1000),
            "takes only what is short": _short,
        }
        return {name: lambda play=play: self._server.play(play) for name, play in plays.items()}  # type: ignore[misc] # bound now

    def heal(self) -> None:
        self._server.play(ACCEPT)

    def lines(self, sidecar: str) -> list[bytes]:
        return [
            line
            for posted in self._server.taken()
            if posted.path.endswith(f"/{sidecar}")
            for line in posted.lines.splitlines()
        ]


def _taking(line: Line) -> None:
    line.owner.accept(line.take())
    raise OSError


def _slow(line: Line) -> None:
    time.sleep(0.3)
    ACCEPT(line)


def _short(line: Line) -> None:
    posted = line.take()
    if len(posted.lines) > 20_000:
        line.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
    else:
        line.owner.accept(posted)
        line.send(b"HTTP/1.1 204 No Content\r\n\r\n")


class Redis:
    """A stream of Redis, which keeps what it took over a kill."""

    name = "redis"

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def address(self, sidecar: str) -> str:
        return f"{self._server.url}/{STREAM}-{sidecar}"

    def troubles(self) -> dict[str, Trouble]:
        return {
            "paused": self._server.pause,
            "killed": self._server.kill,
            "out of memory": lambda: self._limit("1"),
            "hung up on": self._hang_up,
        }

    def heal(self) -> None:
        self._server.resume()
        if not self._server.child.running:
            self._server.start()
        wait_until(lambda: self._server.ask("INFO", "persistence")["loading"] == 0, "loading")
        self._limit("0")

    def lines(self, sidecar: str) -> list[bytes]:
        found: list[bytes] = []
        after = b"-"
        while page := self._server.ask("XRANGE", f"{STREAM}-{sidecar}", after, "+", "COUNT", _PAGE):
            found += [_record(fields) for _, fields in page]
            after = b"(" + page[-1][0]
        return found

    def _limit(self, size: str) -> None:
        self._server.ask("CONFIG", "SET", "maxmemory", size)

    def _hang_up(self) -> None:
        self._server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def _record(fields: object) -> bytes:
    if isinstance(fields, dict):
        return bytes(fields[b"record"])
    assert isinstance(fields, list)
    return bytes(fields[fields.index(b"record") + 1])


class Kafka:
    """A topic of Kafka."""

    name = "kafka"

    def __init__(self, server: KafkaServer) -> None:
        self._server = server
        self._topics: dict[str, str] = {}

    def address(self, sidecar: str) -> str:
        if sidecar not in self._topics:
            self._topics[sidecar] = self._server.create_topic(partitions=2)
        return f"kafka://{self._server.bootstrap}/{self._topics[sidecar]}"

    def troubles(self) -> dict[str, Trouble]:
        return {"paused": self._server.pause, "killed": self._server.kill}

    def heal(self) -> None:
        self._server.resume()
        if not self._server.child.running:
            self._server.start()

    def lines(self, sidecar: str) -> list[bytes]:
        return self._server.lines(self._topics[sidecar])


def places(directory: Path, dice: random.Random, stack: ExitStack, *, with_kafka: bool) -> Iterator[Place]:
    """Start them."""
    yield Files(directory, dice)
    yield Collected(stack.enter_context(collector()))
    # What it acknowledged stands in its file: a kill loses none of it.
    options = ("--appendonly", "yes", "--appendfsync", "no", "--auto-aof-rewrite-percentage", "0")
    yield Redis(stack.enter_context(redis_server(*options)))
    if with_kafka:
        yield Kafka(stack.enter_context(kafka()))
