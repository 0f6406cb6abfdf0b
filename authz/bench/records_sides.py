"""The sides of the bench of records: sidecars alike but for where their records go, asked in turn."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from authz.bench import kafka_server, openloop, redis_server, subjects, usage
from authz.bench.documents import PolicySet
from authz.bench.kafka_server import KafkaServer, accepts
from authz.bench.openloop import Outcome
from authz.bench.redis_server import RedisServer, free_port, until
from authz.bench.subjects import Server
from authz.model.errors import NotStarted
from authz.proxy.process import Child, Plan, http_get

OFF, STDOUT, FILE, SPOOLED = "off", "standard output", "a file", "spool + file"
HTTP, OTLP, REDIS, KAFKA = "HTTP", "OTLP (gRPC)", "Redis Streams", "Kafka"

STREAM = "records"

_WRITTEN = re.compile(r"^authz_records_total\{([^}]*)\} (\S+)", re.MULTILINE)
_DRAIN_S = 60.0  # that records may take to arrive after a turn
_SPOOL_BYTES = 512 * 1024 * 1024  # nothing is given up at full speed

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RecordEffort:
    """How long to measure records, and going where; the first is what the others are compared with."""

    places: tuple[str, ...] = (OFF, STDOUT, FILE, SPOOLED, HTTP, OTLP, REDIS, KAFKA)
    rounds: int = 5
    seconds: float = 0.5  # of each case in each round, at full speed
    open: int = 64  # calls at a time
    per_s: int = 2000
    paced_seconds: float = 1.2
    fed: int = 500_000  # records that are fed to a spool
    away_s: float = 3.0  # of full load while a sink is away
    later_s: float = 30.0  # that it may take to come back

    @property
    def full_speed(self) -> tuple[str, ...]:
        """What the generator is told for a turn at full speed."""
        return ("--closed", str(self.open), "--seconds", str(self.seconds))

    @property
    def paced(self) -> tuple[str, ...]:
        """What it is told for a turn at a steady rate."""
        return ("--rate", str(self.per_s), "--seconds", str(self.paced_seconds))


@dataclass(frozen=True, slots=True)
class Turn:
    """One side once: what the generator saw, and what it cost."""

    outcome: Outcome
    judge_us: float  # CPU per check of the process that judges
    shipper_us: float  # of the one that ships, until all had arrived
    dropped: int


@dataclass(frozen=True, slots=True)
class Side:
    """A sidecar and where its records go.

    Args:
        sink: what its metrics call that; "": nowhere.
        kept_bytes: asks how much stands there.
    """

    name: str
    sink: str
    server: Server
    kept_bytes: Callable[[], int] | None = None

    def ask(self, calls: Path, *how: str) -> Turn:
        """Run the generator once, wait until its records have arrived, and count around it.

        Raises:
            NotStarted: not all were allowed, or not all records arrived.
        """
        judge, shippers = self.server.child.pid, usage.children(self.server.child.pid)
        records, dropped = self.records(), self.records("dropped")
        judge_s, shipper_s = usage.cpu_s(judge), sum(map(usage.cpu_s, shippers))
        found = openloop.ask([self.server.socket], [calls], "--connections", "2", *how)
        if not found.allowed == found.sent > 0:
            raise NotStarted(f"records, {self.name}: not all were allowed", str(found))
        if self.sink:
            self._arrived(records + dropped + found.answered)
        count = max(1, found.answered)
        return Turn(
            found,
            (usage.cpu_s(judge) - judge_s) / count * 1e6,
            (sum(map(usage.cpu_s, shippers)) - shipper_s) / count * 1e6,
            self.records("dropped") - dropped,
        )

    def records(self, result: str = "written") -> int:
        """Return how many records came to this end, so far."""
        page = http_get(self.server.ops_port, "/metrics")
        total = 0
        for labels, count in _WRITTEN.findall(page[1].decode() if page else ""):
            ours = f'sink="{self.sink}"' in labels or result == "dropped"
            if ours and f'result="{result}"' in labels:
                total += int(float(count))
        return total

    def _arrived(self, count: int) -> None:
        until(
            lambda: self.records() + self.records("dropped") >= count,
            f"records, {self.name}: not all arrived, of {count}",
            _DRAIN_S,
        )


def sides(
    directory: Path, policies: PolicySet, effort: RecordEffort, stack: ExitStack, progress: Progress
) -> tuple[list[Side], list[str]]:
    """Start what is compared. Returns the sides, and what is left out and why."""
    starts: dict[str, Callable[[Path], tuple[str, str, Callable[[], int] | None]]] = {
        OFF: lambda _: ("off", "", None),
        STDOUT: lambda _: ("stdout", "stdout", None),
        FILE: _file,
        SPOOLED: _file,
        HTTP: partial(_receiver, "http", stack),
        OTLP: partial(_receiver, "otlp", stack),
        REDIS: partial(_redis, stack),
        KAFKA: partial(_kafka, stack),
    }
    missing = _missing(effort.places)
    found = []
    for number, name in enumerate(name for name in effort.places if name not in missing):
        progress(f"records: starting a sidecar with records to {name}")
        place = directory / f"side-{number}"
        place.mkdir()
        address, sink, kept = starts[name](place)
        spool = {"AUTHZ_RECORD_SPOOL": str(place / "spool")} if name == SPOOLED else {}
        output = _read(place, stack) if name == STDOUT else Path("/dev/null")
        found.append(Side(name, sink, sidecar(place, policies, stack, address, spool, output), kept))
    return found, [f"{name}: {why}" for name, why in missing.items()]


def _missing(places: Sequence[str]) -> dict[str, str]:
    """Return which places cannot be measured here, and why."""
    found = {}
    if REDIS in places and redis_server.server_program() is None:
        found[REDIS] = "redis-server is not here: install Debian's redis-server"
    if KAFKA in places and (lacks := kafka_server.missing()):
        found[KAFKA] = lacks
    return found


def sidecar(
    place: Path,
    policies: PolicySet,
    stack: ExitStack,
    address: str,
    env: Mapping[str, str] | None = None,
    output: Path = Path("/dev/null"),
) -> Server:
    """Start a sidecar with records to this sink, and wait until it is ready."""
    own = {
        "AUTHZ_RECORD_SINK": address,
        "AUTHZ_RECORD_SPOOL_BYTES": str(_SPOOL_BYTES),
        **(env or {}),
    }
    return subjects.start_sidecar(place, policies, stack, own, output=output)


def receive(place: Path, kind: str, port: int, stack: ExitStack, *more: str) -> Child:
    """Start a receiver, and wait until it listens."""
    command = [sys.executable, "-m", "authz.bench.records_receiver", kind, str(port), *more]
    log = place / "receiver.log"
    child = stack.enter_context(Child(Plan(f"the receiver of {kind}", command, log, log)))
    child.wait_until(lambda: accepts(port))
    return child


def _read(place: Path, stack: ExitStack) -> Path:
    """Return a pipe that somebody reads as fast as it goes, as a container's runtime does."""
    pipe = place / "stdout.pipe"
    os.mkfifo(pipe, 0o600)
    program = shutil.which("cat")
    if program is None:
        raise NotStarted("there is no `cat` here")
    stack.enter_context(
        Child(Plan("the reader of a pipe", [program, str(pipe)], place / "cat.log", Path("/dev/null")))
    )
    return pipe


def _file(place: Path) -> tuple[str, str, Callable[[], int]]:
    file = place / "records.jsonl"
    return f"file:{file}", "file", lambda: file.stat().st_size


def _receiver(kind: str, stack: ExitStack, place: Path) -> tuple[str, str, None]:
    port = free_port()
    receive(place, kind, port, stack)
    scheme, path = ("http", "/records") if kind == "http" else ("otlp", "")
    return f"{scheme}://127.0.0.1:{port}{path}", kind, None


def _redis(stack: ExitStack, place: Path) -> tuple[str, str, Callable[[], int]]:
    redis = RedisServer(place, stack)

    def used() -> int:
        found = re.search(r"used_memory:(\d+)", redis.ask("INFO memory"))
        return int(found[1]) if found else 0

    return f"{redis.url}/{STREAM}", "redis", used


def _kafka(stack: ExitStack, place: Path) -> tuple[str, str, Callable[[], int]]:
    kafka = KafkaServer(place, stack)
    return kafka.url, "kafka", kafka.disk_bytes
