"""Records on their way while everything happens: what callers were answered against what arrived.

Two sidecars, one of them with two workers, ship to a file each, to a collector over HTTP, to Redis and, where
there is one, to Kafka. Callers keep what they were answered. Meanwhile sinks are down, slow, refuse or talk
garbage, shippers, workers and sidecars are killed, the spool's disk is full, segments are damaged, and files
are moved away. At the end everything is well again, and all that waits is shipped. Then each sink has every
answer, or says by gaps what it has not: see records_account.py.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock, Thread
from typing import NamedTuple

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from authz.history.line import Chunk
from authz.history.line import Place as Where
from authz.history.verify import Verifier
from authz.model.errors import NotStarted
from authz.proxy.process import Child, Plan, free_port, http_get, program
from authz.proxy.stage import short_directory
from authz.record.chain import ChainKey
from authz.transport.front import METHOD
from tests.soak.gauges import children
from tests.soak.records_account import Account, Answer, faults
from tests.soak.records_places import Files, Place, places
from tests.support.checks import check_request
from tests.support.grpc import read
from tests.support.kafka import kafka_is_missing
from tests.support.policies import documents

HOST = "a.example.com"
_ID = "0" * 32
_SHUT_SHARE = 0.15  # of calls that are refused
_AWAY_S = 30.0  # a sidecar that was killed may take so long to come back
_DRAINED_S = 100.0  # a sink is asked again after 30 s at the latest, and by then all is well
_ALIVE = ", with its process alive"
_SAMPLE = re.compile(r"^(authz_[a-z_]+)(?:\{[^}]*\})? (\S+)", re.MULTILINE)
_POLICY = f"""
kind: Policy
metadata: {{name: p}}
spec:
  hosts: [{HOST}]
  rules:
    - {{name: open, effect: allow, paths: ["/open/**"], identity: [anyone]}}
    - {{name: shut, effect: deny, paths: ["/shut/**"]}}
"""


@dataclass(frozen=True, slots=True)
class Turmoil:
    """What goes on."""

    seconds: float = 60.0
    seed: int = 1
    callers: int = 4
    pause_s: float = 0.002  # of each caller, between two calls; now and then none
    calm_s: tuple[float, float] = (0.2, 1.5)  # between two faults
    trouble_s: tuple[float, float] = (0.3, 6.0)  # how long one lasts
    spool_bytes: int = 4 * 1024 * 1024
    queue: int = 2000
    kafka: bool = True
    chained: bool = True
    on_full: str = "drop_allows"
    deadline_s: float = 5.0  # of a check: nothing that befalls records may delay one


class Happened(NamedTuple):
    """Something that was done."""

    what: str
    begin_s: float
    end_s: float


@dataclass
class Seen:
    """What the soak saw."""

    answers: list[Answer] = field(default_factory=list)
    unanswered: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    happened: list[Happened] = field(default_factory=list)
    accounts: dict[str, list[Account]] = field(default_factory=dict)  # by sidecar
    broken: list[str] = field(default_factory=list)  # what went wrong besides
    left_out: list[str] = field(default_factory=list)
    took_s: float = 0.0

    def faults(self, plan: Turmoil) -> list[str]:
        """Return what must not be; nothing where the soak has passed."""
        found = [*self.broken]
        found += [f"unanswered: {code}: {count}" for code, count in self.unanswered.items() if _ALIVE in code]
        for sidecar, accounts in self.accounts.items():
            found += [f"{sidecar}: {fault}" for fault in faults(accounts, self._of(sidecar))]
            given_up = sum(one.given_up() for one in accounts)
            if plan.on_full == "deny" and given_up:
                found.append(f"{sidecar}: {given_up} given up, where checks were to be refused instead")
        if len({one.what for one in self.happened}) < 2 or len(self.answers) < 100:
            found.append("hardly anything was done")
        return found

    def _of(self, sidecar: str) -> list[Answer]:
        return [answer for answer in self.answers if answer.request_id.startswith(sidecar)]

    def lines(self) -> Iterable[str]:
        """Say it to people."""
        refused = sum(bool(answer.decision_id) for answer in self.answers)
        yield (
            f"records: {len(self.answers)} answers, {refused} of them refusals, the slowest took"
            f" {self.slowest_s * 1000:.0f} ms; unanswered: {dict(self.unanswered)}"
        )
        yield f"faults: {dict(Counter(one.what for one in self.happened))}"
        for line in self.left_out:
            yield f"left out: {line}"
        for sidecar, accounts in self.accounts.items():
            own = self._of(sidecar)
            for one in accounts:
                missing = sum(one.seat(answer) is None for answer in own)
                yield (
                    f"{sidecar} {one.name:6}: {len(one.decisions):7} records, {one.events:4} events,"
                    f" {len(one.streams):3} streams, {one.repeats:6} came again;"
                    f" {missing} answers are missing, gaps: {one.whys()};"
                    f" declared damaged, and there: {sum(one.disputed().values())}"
                )


class Sidecar:
    """A sidecar that may be killed and started again on the same spool."""

    def __init__(
        self, home: Path, spools: Path, name: str, workers: int, sinks: str, env: Mapping[str, str]
    ) -> None:
        self.name, self.workers = name, workers
        self.ops, self.log = free_port(), home / f"{name}.log"
        self.spool = spools / f"spool-{name}"
        stem = home / f"{name}.sock"
        self.sockets = (
            [stem] if workers == 1 else [home / f"{name}-{number}.sock" for number in range(workers)]
        )
        command = [program("authz"), "serve", "--policies", str(home / "policies"), "--debug", "off"]
        command += ["--listen", f"unix:{stem}", "--ops", f"127.0.0.1:{self.ops}", "--state", "off"]
        command += ["--workers", str(workers)]
        own = {"AUTHZ_RECORD_SINK": sinks, "AUTHZ_RECORD_SPOOL": str(self.spool), "AUTHZ_SIDECAR": name}
        self._plan = Plan(f"sidecar {name}", command, self.log, home / f"{name}.out", {**own, **env})
        self.child = self._started()

    def __enter__(self) -> Sidecar:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.stop()

    def kill(self) -> None:
        """End it at once, and all of its processes that do not end by themselves."""
        self.child.send(signal.SIGKILL)
        self.child.wait(10.0)

    def start(self) -> None:
        """Start it again; whoever was orphaned may still hold its sockets for a while."""
        end_s = time.monotonic() + _AWAY_S
        while True:
            try:
                self.child = self._started()
            except NotStarted:
                if time.monotonic() > end_s:
                    raise
                time.sleep(0.2)
            else:
                return

    def _started(self) -> Child:
        child = Child(self._plan)
        try:
            child.wait_until(self._is_ready, _AWAY_S)
        except NotStarted:
            child.stop()
            raise
        return child

    def _is_ready(self) -> bool:
        ready = all(path.exists() for path in self.sockets)
        return ready and (http_get(self.ops, "/ready") or (0,))[0] == 200

    def processes(self, module: str) -> list[int]:
        """Return our processes of a module."""
        found = []
        for pid in children(self.child.pid):
            with suppress(OSError):
                if module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return found

    def samples(self) -> dict[str, float]:
        """Return its metrics, each the sum of its series."""
        page = http_get(self.ops, "/metrics")
        found: dict[str, float] = {}
        for name, value in _SAMPLE.findall(page[1].decode() if page else ""):
            found[name] = found.get(name, 0.0) + float(value)
        return found

    def is_drained(self) -> bool:
        """Whether every sink has all that was written."""
        seen = self.samples()
        lags = seen.get("authz_record_lag_bytes"), seen.get("authz_record_lag_seconds")
        return lags == (0.0, 0.0) and seen.get("authz_records_waiting") == 0.0 and not self._left()

    def _left(self) -> bool:
        """Whether streams of dead processes are there still."""
        streams = [path for path in self.spool.iterdir() if len(path.name) == 16]
        return len(streams) > self.workers


class Callers:
    """Threads that ask every process, and keep what they were answered."""

    def __init__(self, sidecars: Sequence[Sidecar], plan: Turmoil, seen: Seen) -> None:
        self._plan, self._seen = plan, seen
        self._lock, self._end = Lock(), Event()
        self.away: set[str] = set()  # sidecars of which a process may be missing now
        self._open, self._shut = (
            check_request(host=HOST, path=f"/{kind}/{'x' * 400}", headers=[("x-request-id", _ID)])
            for kind in ("open", "shut")
        )
        targets = [(one.name, path) for one in sidecars for path in one.sockets]
        self._threads = [Thread(target=self._run, args=(number, targets)) for number in range(plan.callers)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int, targets: Sequence[tuple[str, Path]]) -> None:
        dice = random.Random(self._plan.seed * 1000 + number)
        options = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 300),
        ]
        with ExitStack() as stack:
            asks = []
            for name, path in targets:
                channel = stack.enter_context(grpc.insecure_channel(f"unix:{path}", options=options))
                ask = channel.unary_unary(METHOD, request_serializer=None, response_deserializer=None)
                asks.append((name, ask))
            count, hurried_s = 0, 0.0
            while not self._end.is_set():
                name, ask = dice.choice(asks)
                count += 1
                self._ask(name, ask, f"{name}{number:02d}{count:08d}", shut=dice.random() < _SHUT_SHARE)
                now_s = time.monotonic()
                if now_s > hurried_s and dice.random() < 0.0005:
                    hurried_s = now_s + dice.uniform(0.2, 2.0)  # as fast as it goes
                if now_s > hurried_s:
                    self._end.wait(self._plan.pause_s)

    def _ask(self, name: str, ask: Callable[..., bytes], number: str, *, shut: bool) -> None:
        request_id = number.ljust(len(_ID), "0")
        payload = (self._shut if shut else self._open).replace(_ID.encode(), request_id.encode())
        away, began_s = name in self.away, time.monotonic()
        try:
            answer = read(ask(payload, timeout=self._plan.deadline_s))
        except grpc.RpcError as error:
            self._unanswered(name, away, error)
            if away:
                self._end.wait(0.02)
            return
        took_s = time.monotonic() - began_s
        decision_id, status = "", 200
        if answer.status.code:
            status = int(answer.denied_response.status.code)
            headers = {one.header.key: one.header.value for one in answer.denied_response.headers}
            decision_id = headers.get("x-authz-decision-id", "")
        with self._lock:
            self._seen.answers.append(Answer(request_id, decision_id, status))
            self._seen.slowest_s = max(self._seen.slowest_s, took_s)

    def _unanswered(self, name: str, away: bool, error: grpc.RpcError) -> None:
        code = error.code().name
        with self._lock:
            expected = away or name in self.away
            self._seen.unanswered[code if expected else f"{code}{_ALIVE}"] += 1


class Disturbance:
    """Does something to a sink, a process or the spool, and undoes it, one after the other on a thread.

    Args:
        number: of several that go on at once.
    """

    def __init__(
        self, sidecars: Sequence[Sidecar], plan: Turmoil, seen: Seen, callers: Callers, number: int
    ) -> None:
        self._sidecars, self._plan, self._seen, self._callers = sidecars, plan, seen, callers
        self._dice = random.Random(plan.seed * 10 + number)
        self._kinds: list[tuple[str, Callable[[], None]]] = []
        self._sinks: Sequence[Place] = ()
        self._disk: Path | None = None

    def of_sinks(self, sinks: Sequence[Place]) -> Disturbance:
        """Disturb sinks."""
        self._sinks = sinks
        self._kinds = [(f"{sink.name} in trouble", self._troubling(sink)) for sink in sinks]
        self._kinds *= 2
        self._kinds.append(("all sinks in trouble", self.trouble_all))
        return self

    def of_processes(self, sinks: Sequence[Place], disk: Path | None) -> Disturbance:
        """Disturb processes, and what they keep."""
        self._sinks, self._disk = sinks, disk
        self._kinds = [
            ("shipper killed", self.kill_shipper),
            ("shipper killed twice", self.kill_shipper_again),
            ("shipper stalled", self.stall_shipper),
            ("worker killed", self.kill_worker),
            ("sidecar killed", self.kill_sidecar),
            ("sidecar killed with all of it", self.kill_all_of_it),
            ("segment flipped", self.flip),
            ("segment truncated", self.truncate),
            ("file moved, SIGHUP", self.rotate),
            *([("spool's disk full", self.fill)] if disk is not None else []),
        ]
        return self

    def go_on(self, seconds: float) -> None:
        """Disturb for so long, in an order that is shuffled again and again."""
        end_s = time.monotonic() + seconds
        order: list[tuple[str, Callable[[], None]]] = []
        while time.monotonic() < end_s:
            time.sleep(self._dice.uniform(*self._plan.calm_s))
            order = order or self._dice.sample(self._kinds, len(self._kinds))
            what, do = order.pop()
            begin_s = time.time()
            do()
            self._seen.happened.append(Happened(what, begin_s, time.time()))

    def kill_shipper(self) -> None:
        self._kill(self._any("authz.shipping.main"))

    def kill_shipper_again(self) -> None:
        self.kill_shipper()
        time.sleep(self._dice.uniform(0.2, 1.5))
        self.kill_shipper()

    def stall_shipper(self) -> None:
        pid = self._any("authz.shipping.main")
        if pid is not None:
            os.kill(pid, signal.SIGSTOP)
            self._last()
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def kill_worker(self) -> None:
        sidecar = self._sidecars[-1]
        with self._missing(sidecar):
            pids = sidecar.processes("authz.wiring.worker")
            self._kill(self._dice.choice(pids) if pids else None)
            self._until_ready(sidecar)

    def kill_sidecar(self) -> None:
        sidecar = self._dice.choice(self._sidecars)
        with self._missing(sidecar):
            sidecar.kill()
            time.sleep(self._dice.uniform(0.0, 1.0))
            sidecar.start()

    def kill_all_of_it(self) -> None:
        sidecar = self._dice.choice(self._sidecars)
        with self._missing(sidecar):
            os.killpg(sidecar.child.pid, signal.SIGKILL)
            sidecar.child.wait(10.0)
            sidecar.start()

    def flip(self) -> None:
        self._spoil(self._flipped)

    def truncate(self) -> None:
        self._spoil(lambda path: os.truncate(path, self._dice.randrange(path.stat().st_size + 1)))

    def rotate(self) -> None:
        sidecar = self._dice.choice(self._sidecars)
        for sink in self._sinks:
            if isinstance(sink, Files):
                sink.rotate(sidecar.name)
        sidecar.child.send(signal.SIGHUP)

    def trouble_all(self) -> None:
        for sink in self._sinks:
            self._befall(sink)
        self._last()
        for sink in self._sinks:
            sink.heal()

    def fill(self) -> None:
        assert self._disk is not None
        ballast = self._disk / "ballast"
        with suppress(OSError), ballast.open("wb") as file:
            while True:
                os.write(file.fileno(), bytes(64 * 1024))
        self._last()
        ballast.unlink(missing_ok=True)

    def _troubling(self, sink: Place) -> Callable[[], None]:
        def trouble() -> None:
            self._befall(sink)
            self._last()
            sink.heal()

        return trouble

    def _befall(self, sink: Place) -> None:
        name, trouble = self._dice.choice(sorted(sink.troubles().items()))
        trouble()
        self._seen.happened.append(Happened(f"{sink.name}: {name}", time.time(), 0.0))

    def _last(self) -> None:
        time.sleep(self._dice.uniform(*self._plan.trouble_s))

    def _any(self, module: str) -> int | None:
        pids = self._dice.choice(self._sidecars).processes(module)
        return self._dice.choice(pids) if pids else None

    def _kill(self, pid: int | None) -> None:
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _missing(self, sidecar: Sidecar) -> _Missing:
        return _Missing(self._callers.away, sidecar.name)

    def _until_ready(self, sidecar: Sidecar) -> None:
        time.sleep(0.3)  # until it is noticed
        end_s = time.monotonic() + _AWAY_S
        while time.monotonic() < end_s:
            if sidecar.samples().get("authz_worker_up") == sidecar.workers:
                return
            time.sleep(0.1)

    def _spoil(self, how: Callable[[Path], None]) -> None:
        found = [path for one in self._sidecars for path in one.spool.glob("*/*.seg")]
        if found:
            with suppress(OSError, ValueError):
                how(self._dice.choice(sorted(found)))

    def _flipped(self, path: Path) -> None:
        with path.open("r+b") as file:
            at = self._dice.randrange(os.fstat(file.fileno()).st_size)
            byte = os.pread(file.fileno(), 1, at)
            os.pwrite(file.fileno(), bytes([byte[0] ^ (1 << self._dice.randrange(8))]), at)


class _Missing:
    """For so long a sidecar lacks a process, and a moment longer."""

    def __init__(self, away: set[str], name: str) -> None:
        self._away, self._name = away, name

    def __enter__(self) -> None:
        self._away.add(self._name)

    def __exit__(self, *_: object) -> None:
        time.sleep(0.5)  # connections come back
        self._away.discard(self._name)


def record_soak(plan: Turmoil, directory: Path) -> Seen:
    """Run it all and return what was seen."""
    seen, began_s = Seen(), time.monotonic()
    home = short_directory()
    policies = home / "policies"
    policies.mkdir()
    for name, content in documents(_POLICY).items():
        (policies / name).write_bytes(content)
    dice = random.Random(plan.seed)
    key, env = _environ(plan, home)
    if plan.kafka and (lacks := kafka_is_missing()):
        seen.left_out.append(f"Kafka: {lacks}")
    with ExitStack() as stack:
        # Outlives what it starts: a child of ours is told to end when the thread that started it does.
        pool = stack.enter_context(ThreadPoolExecutor(2))
        disk = _disk(home / "disk", stack)
        if disk is None:
            seen.left_out.append("a full disk: nobody but root mounts one")
        sinks = [*places(home, dice, stack, with_kafka=plan.kafka and not kafka_is_missing())]
        sidecars = []
        for name, workers in (("s1", 1), ("s2", 2)):
            addresses = ",".join(sink.address(name) for sink in sinks)
            sidecars.append(stack.enter_context(Sidecar(home, disk or home, name, workers, addresses, env)))
        try:
            with Callers(sidecars, plan, seen) as callers:
                two = [Disturbance(sidecars, plan, seen, callers, number) for number in range(2)]
                ends = [
                    pool.submit(two[0].of_sinks(sinks).go_on, plan.seconds),
                    pool.submit(two[1].of_processes(sinks, disk).go_on, plan.seconds),
                ]
                for end in ends:
                    end.result()
            _settle(sidecars, sinks, seen)
            for sidecar in sidecars:
                seen.accounts[sidecar.name] = [*_collected(sidecar, sinks, key, seen, directory)]
        finally:
            _keep_logs(sidecars, seen, directory)
    seen.took_s = time.monotonic() - began_s
    return seen


def _settle(sidecars: Sequence[Sidecar], sinks: Sequence[Place], seen: Seen) -> None:
    """Let everything be well, all that waits be shipped, and end."""
    for sink in sinks:
        sink.heal()
    for sidecar in sidecars:
        end_s = time.monotonic() + _DRAINED_S
        while not sidecar.is_drained():
            if time.monotonic() > end_s:
                seen.broken.append(f"{sidecar.name}: not all is shipped in the end: {sidecar.samples()}")
                break
            time.sleep(0.25)
        sidecar.child.send(signal.SIGTERM)
        if sidecar.child.wait(30.0) != 0:
            seen.broken.append(f"{sidecar.name} did not end well")
        left = [str(path) for path in sidecar.spool.glob("*/*.seg")]
        if left:
            seen.broken.append(f"{sidecar.name}: segments are left: {left[:3]}")


def _collected(
    sidecar: Sidecar, sinks: Sequence[Place], key: ChainKey | None, seen: Seen, directory: Path
) -> Iterator[Account]:
    for sink in sinks:
        lines = sink.lines(sidecar.name)
        (directory / f"{sidecar.name}-{sink.name}.jsonl").write_bytes(b"\n".join(lines) + b"\n")
        account = Account(sink.name)
        account.take(lines)
        yield account
        if key is not None:
            verifier = Verifier([key.public])
            verifier.take(Chunk(b"\n".join(lines) + b"\n", Where(sink.name, 1)))
            report = verifier.report()
            disputed = account.disputed()
            wrong = [one for one in report.findings if one.stream not in disputed]
            seen.broken += [f"{sidecar.name} {sink.name}: chain: {one}" for one in wrong[:3]]


def _environ(plan: Turmoil, home: Path) -> tuple[ChainKey | None, dict[str, str]]:
    env = {
        "AUTHZ_RECORD_SPOOL_BYTES": str(plan.spool_bytes),
        "AUTHZ_RECORD_QUEUE": str(plan.queue),
        "AUTHZ_RECORD_ON_FULL": plan.on_full,
        "AUTHZ_RECORD_EVENTS": "true",
        "AUTHZ_RECORD_REDIS_MAX_LEN": "0",
        "AUTHZ_RECORD_TIMEOUT_S": "2",
        "AUTHZ_RECORD_DRAIN_S": "10",
        "AUTHZ_MAX_WAIT_MS": "1000",
        "LOG_LEVEL": "warning",
    }
    if not plan.chained:
        return None, env
    secret, path = Ed25519PrivateKey.generate(), home / "chain.pem"
    path.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    return ChainKey(secret), {**env, "AUTHZ_RECORD_CHAIN_KEY": str(path)}


def _disk(place: Path, stack: ExitStack) -> Path | None:
    """Return a small disk of our own; None where nobody may mount one."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        return None
    stack.callback(subprocess.run, ["umount", "--lazy", str(place)], check=False)
    return place


def _keep_logs(sidecars: Sequence[Sidecar], seen: Seen, directory: Path) -> None:
    """Keep what tells how a fault came about; whoever asked for the soak removes it where there is none."""
    for sidecar in sidecars:
        if sidecar.log.is_file():
            (directory / sidecar.log.name).write_bytes(sidecar.log.read_bytes())
    lines = [f"{one.begin_s:.3f} {one.end_s:.3f} {one.what}" for one in seen.happened]
    (directory / "happened").write_text("\n".join(lines) + "\n")
