"""Limits in one Redis that everything happens to, and several processes that spend there: what was admitted?

Two sidecars of two workers each, asked all the time about the same few buckets, while Redis is paused, killed
and started empty, made to forget its scripts, filled up, emptied, and hung up on. Afterwards it is worked out
from the records of all processes, see bounds.py: nothing that happens makes more pass than is stated there,
nobody goes without an answer, and every decision says where it was made.
"""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, NamedTuple

import grpc

from authz.proxy.process import Child, Plan, free_port, http_get, program
from tests.soak.bounds import Forgot, Grant, excess, unseen
from tests.support.checks import check_request
from tests.support.grpc import Ask, client, read
from tests.support.policies import documents
from tests.support.redis import RedisServer, redis_server
from tests.support.workers import status

SIDECARS, WORKERS = 2, 2
PROCESSES = SIDECARS * WORKERS
HOST = "a.example.com"


class Bucket(NamedTuple):
    """A limit of the soak."""

    rate_per_s: float
    burst: float
    how: str  # its `onStoreError`


# One that refills fast; one that hardly does, so that a burst handed out twice stands out; two with another
# way through an outage.
LIMITS = {
    "fast": Bucket(40.0, 60.0, "local"),
    "deep": Bucket(2.0, 200.0, "local"),
    "strict": Bucket(20.0, 40.0, "deny"),
    "open": Bucket(20.0, 40.0, "allow"),
}
PATHS = {
    "fast": ("fast",),
    "deep": ("deep",),
    "strict": ("strict",),
    "open": ("open",),
    "nested": ("fast", "deep"),
    "free": (),
}
CALLERS = ("one", "two")


@dataclass(frozen=True, slots=True)
class Chaos:
    """What goes on, and the bounds beyond which the soak has failed."""

    seconds: float = 60.0
    callers: int = 4  # who ask at a time
    pause_s: float = 0.004  # of each, between two checks
    deadline_s: float = 2.0
    calm_s: tuple[float, float] = (0.3, 1.5)  # between two faults
    seed: int = 1
    apart: bool = False  # each sidecar in a keyspace of its own, which no bound survives: it must fail
    stray_share: float = 0.02  # decided alone, away from faults: a busy machine is late now and then
    settle_s: float = 3.0  # after a fault, until Redis decides again


class Fault(NamedTuple):
    """Something that was done to Redis."""

    what: str
    begin_s: float
    back_s: float  # when it was let go on
    end_s: float  # when that was done


@dataclass
class Seen:
    """What the soak saw."""

    asked: int = 0
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)  # by path and status
    unanswered: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    faults_done: list[Fault] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    last_stores: Counter[str] = field(default_factory=Counter)  # of checks when all was over
    errors: list[str] = field(default_factory=list)  # lines of logs

    def faults(self, plan: Chaos) -> list[str]:
        """Return what must not be; nothing where the soak has passed."""
        found = [f"no answer: {len(self.unanswered)}, {self.unanswered[0]}"] if self.unanswered else []
        found += [f"an error in a log: {line}" for line in self.errors[:3]]
        found += [*_uneven(self), *_unmarked(self), *_misplaced(self, plan)]
        for limit in LIMITS:
            for caller in CALLERS:
                found += _admitted(self, limit, caller)
        if self.last_stores["outage"] or not self.last_stores["redis"]:
            found.append(f"Redis does not decide again at the end: {dict(self.last_stores)}")
        if len({fault.what for fault in self.faults_done}) < 2 or self.asked < 100:
            found.append("hardly anything was done")
        return found

    def lines(self) -> Iterable[str]:
        """Say it to people."""
        yield f"limits: {self.asked} checks, the slowest took {self.slowest_s * 1000:.0f} ms"
        yield f"faults: {dict(Counter(fault.what for fault in self.faults_done))}"
        stores = Counter(part["store"] for record in self.records for part in record.get("limits", ()))
        yield f"decided by: {dict(stores)}; reasons: {dict(Counter(r['reason'] for r in self.records))}"
        for limit in LIMITS:
            for caller in CALLERS:
                yield _told(self, limit, caller)


# --- judged from the records


def _path(record: Mapping[str, Any]) -> tuple[str, str]:
    """The rule's name and the caller."""
    _, rule, *rest = record["request"]["path"].split("/")
    return rule, rest[0] if rest else ""


def _span(record: Mapping[str, Any]) -> tuple[float, float]:
    end_s = datetime.fromisoformat(record["time"]).timestamp()
    # The time is taken just before the reply leaves, the duration just after.
    return end_s - record["duration_us"] / 1e6, end_s + 0.002


def _grants(seen: Seen, limit: str, caller: str, store: str) -> list[Grant]:
    found = []
    for record in seen.records:
        rule, who = _path(record)
        drawn = record["outcome"] == "allow" and who == caller and limit in PATHS[rule]
        if drawn and record["limits"][0]["store"] == store:  # one store decides about all of them
            found.append(Grant(*_span(record), record["sidecar"]))
    return found


def _forgot(seen: Seen, grants: Sequence[Grant], burst: float) -> list[Forgot]:
    """What Redis may have lost, each time: all that it had, or what nobody could tell it anew."""
    processes = sorted({record["sidecar"] for record in seen.records})
    found = []
    for what, begin_s, _, end_s in seen.faults_done:
        if what == "flush":
            found.append(Forgot(begin_s, end_s, burst))
        elif what == "kill":
            found.append(Forgot(begin_s, end_s, unseen(grants, processes, begin_s, burst)))
    return found


def _measured(seen: Seen, limit: str, caller: str) -> tuple[float, dict[str, float]]:
    """Return the excess over rate x time: in Redis, and of each process alone."""
    bucket = LIMITS[limit]
    grants = _grants(seen, limit, caller, "redis")
    shared = excess(grants, bucket.rate_per_s, _forgot(seen, grants, bucket.burst))
    alone: dict[str, list[Grant]] = defaultdict(list)
    for grant in _grants(seen, limit, caller, "outage"):
        alone[grant.process].append(grant)
    share = bucket.rate_per_s / PROCESSES
    return shared, {process: excess(own, share) for process, own in alone.items()}


def _admitted(seen: Seen, limit: str, caller: str) -> list[str]:
    """THE BOUND. What `allow` lets pass in an outage is not bounded, and `deny` lets nothing pass."""
    bucket = LIMITS[limit]
    shared, alone = _measured(seen, limit, caller)
    found = []
    if shared > bucket.burst:
        found.append(f"{limit} of {caller}: {shared:.1f} tokens above its rate in Redis, of {bucket.burst:g}")
    own = {"local": max(1.0, bucket.burst / PROCESSES), "deny": 0.0, "allow": float("inf")}[bucket.how]
    found += [
        f"{limit} of {caller}: {worst:.1f} tokens above its share alone, of {own:g}, by {process}"
        for process, worst in alone.items()
        if worst > own
    ]
    return found


def _told(seen: Seen, limit: str, caller: str) -> str:
    shared, alone = _measured(seen, limit, caller)
    most = max(alone.values(), default=0.0)
    kept, lonely = (len(_grants(seen, limit, caller, store)) for store in ("redis", "outage"))
    bucket = LIMITS[limit]
    return (
        f"{limit:7} {caller}: {kept:5} by Redis, {lonely:5} alone; above the rate {shared:6.1f} of"
        f" {bucket.burst:g}, of a process alone {most:5.1f} of {bucket.burst / PROCESSES:g}"
    )


def _uneven(seen: Seen) -> list[str]:
    """Every answer has one record that says the same."""
    recorded = Counter((record["request"]["path"], record["status"]) for record in seen.records)
    missing, more = seen.answers - recorded, recorded - seen.answers
    return [f"answers and records differ: {dict(missing)}, {dict(more)}"] if missing or more else []


def _unmarked(seen: Seen) -> list[str]:
    """Every record names each limit of its rule and the store that decided; only these reasons are right."""
    found = []
    for record in seen.records:
        rule, _ = _path(record)
        names = [part["name"] for part in record.get("limits", ())]
        stores = {part["store"] for part in record.get("limits", ())}
        right = record["reason"] in ("allowed", "rate_limited", "store_unavailable")
        if not right or names != [*PATHS[rule]] or not stores <= {"redis", "outage"} or len(stores) > 1:
            found.append(f"a record that must not be: {record}")
        elif record["reason"] == "store_unavailable" and (stores != {"outage"} or "strict" not in names):
            found.append(f"a refusal for want of a store that is none: {record}")
    return found[:3]


def _misplaced(seen: Seen, plan: Chaos) -> list[str]:
    """Redis grants nothing while it is stopped; nobody decides alone where nothing was wrong."""
    found, strays = [], 0
    for record in seen.records:
        begin_s, end_s = _span(record)
        for part in record.get("limits", ())[:1]:
            if part["store"] == "outage":
                strays += not any(
                    fault.begin_s <= end_s and begin_s <= fault.end_s + plan.settle_s
                    for fault in seen.faults_done
                )
            elif record["outcome"] == "allow":
                found += [
                    f"granted by Redis while it was away ({fault}): {record}"
                    for fault in seen.faults_done
                    if fault.what in ("pause", "kill") and fault.begin_s < begin_s and end_s < fault.back_s
                ]
    if strays > plan.stray_share * len(seen.records):
        found.append(f"decided alone where nothing was wrong: {strays} of {len(seen.records)}")
    return found[:3]


# --- what goes on


class Sidecar:
    """Two workers that share a record file, each with a socket."""

    def __init__(self, home: Path, number: int, policies: Path, env: Mapping[str, str]) -> None:
        self.records, self.log = home / f"records-{number}", home / f"log-{number}"
        self.sockets = [home / f"s{number}-{worker}.sock" for worker in range(WORKERS)]
        self.ops = free_port()
        command = [program("authz"), "serve", "--policies", str(policies), "--debug", "off"]
        command += ["--listen", f"unix:{home}/s{number}.sock", "--ops", f"127.0.0.1:{self.ops}"]
        command += ["--workers", str(WORKERS)]
        own = {"AUTHZ_RECORD_SINK": f"file:{self.records}", "AUTHZ_SIDECAR": f"s{number}", **env}
        self.child = Child(Plan(f"sidecar {number}", command, self.log, home / f"out-{number}", own))

    def __enter__(self) -> Sidecar:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.stop()

    def is_ready(self) -> bool:
        """Whether every worker serves, and Redis answers all of them."""
        _, page = http_get(self.ops, "/metrics") or (0, b"")
        up = b'authz_store_up{store="redis"} 1.0' in page and all(path.exists() for path in self.sockets)
        return up and (http_get(self.ops, "/ready") or (0,))[0] == 200


class Callers:
    """Threads that ask every process in turn, about every path."""

    def __init__(self, asks: Sequence[Ask], plan: Chaos, seen: Seen) -> None:
        self._asks, self._plan, self._seen = asks, plan, seen
        self._lock, self._end = Lock(), Event()
        targets = [f"/{rule}/{caller}" for rule in PATHS for caller in CALLERS if rule != "free"]
        self._checks = {target: check_request(host=HOST, path=target) for target in [*targets, "/free"]}
        self._threads = [Thread(target=self._run, args=(number,)) for number in range(plan.callers)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        dice = random.Random(number)
        targets = [*self._checks]
        while not self._end.wait(self._plan.pause_s):
            self.ask(dice.choice(self._asks), dice.choice(targets))

    def ask(self, ask: Ask, target: str) -> None:
        """Ask once, and count."""
        began_s = time.monotonic()
        try:
            code = status(read(ask(self._checks[target], timeout=self._plan.deadline_s)))
            wrong = ""
        except grpc.RpcError as error:
            code, wrong = 0, f"{target}: {error.code()}"
        took_s = time.monotonic() - began_s
        with self._lock:
            seen = self._seen
            seen.asked += 1
            seen.slowest_s = max(seen.slowest_s, took_s)
            if wrong:
                seen.unanswered.append(wrong)
            else:
                seen.answers[target, code] += 1


class Disturbance:
    """Does something to Redis, and keeps in mind when."""

    def __init__(self, server: RedisServer, plan: Chaos, seen: Seen) -> None:
        self._server, self._plan, self._seen = server, plan, seen
        self._dice = random.Random(plan.seed)
        self._kinds: tuple[Callable[[], float], ...] = (
            self.pause,
            self.kill,
            self.forget_scripts,
            self.fill,
            self.hang_up,
            self.flush,
        )

    def go_on(self, seconds: float) -> None:
        """Disturb for so long, each kind in turn of an order that is shuffled again and again."""
        end_s = time.monotonic() + seconds
        order: list[Callable[[], float]] = []
        while time.monotonic() < end_s:
            time.sleep(self._dice.uniform(*self._plan.calm_s))
            order = order or self._dice.sample(self._kinds, len(self._kinds))
            kind, begin_s = order.pop(), time.time()
            back_s = kind()
            self._seen.faults_done.append(Fault(kind.__name__, begin_s, back_s, time.time()))

    # Each returns when it began to end.

    def pause(self) -> float:
        """Stop it, and let it go on."""
        self._server.pause()
        return self._later(self._server.resume, 0.1, 1.0)

    def kill(self) -> float:
        """It comes back empty."""
        self._server.kill()
        return self._later(self._server.start, 0.0, 1.0)

    def fill(self) -> float:
        """No write is taken for a while."""
        self._server.ask("CONFIG", "SET", "maxmemory", "1")
        return self._later(lambda: self._server.ask("CONFIG", "SET", "maxmemory", "0"), 0.1, 0.6)

    def forget_scripts(self) -> float:
        """As an operator might."""
        self._server.ask("SCRIPT", "FLUSH")
        return time.time()

    def hang_up(self) -> float:
        """Every connection at once."""
        self._server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        return time.time()

    def flush(self) -> float:
        """Every bucket is full again: the only one of these that gives bursts away."""
        self._server.ask("FLUSHALL")
        return time.time()

    def _later(self, what: Callable[[], object], least_s: float, most_s: float) -> float:
        time.sleep(self._dice.uniform(least_s, most_s))
        began_s = time.time()
        what()
        return began_s


def limit_soak(plan: Chaos, directory: Path) -> Seen:
    """Run it all and return what was seen."""
    seen = Seen()
    policies = directory / "policies"
    policies.mkdir()
    for name, content in documents(*_documents()).items():
        (policies / name).write_bytes(content)
    with ExitStack() as stack:
        server = stack.enter_context(redis_server())
        sidecars = [
            stack.enter_context(Sidecar(server.directory, number, policies, _environ(plan, server, number)))
            for number in range(SIDECARS)
        ]
        for sidecar in sidecars:
            sidecar.child.wait_until(sidecar.is_ready, 60.0)
        asks = [stack.enter_context(client(f"unix:{path}")) for one in sidecars for path in one.sockets]
        with Callers(asks, plan, seen) as callers:
            Disturbance(server, plan, seen).go_on(plan.seconds)
        time.sleep(plan.settle_s)
        marked = seen.asked
        for ask in asks:
            callers.ask(ask, "/strict/one")
        for sidecar in sidecars:
            sidecar.child.send(signal.SIGTERM)  # it writes down what it has answered
            sidecar.child.wait(20.0)
        for sidecar in sidecars:
            _collect(sidecar, seen)
    seen.records.sort(key=lambda record: str(record["time"]))
    last = seen.records[-(seen.asked - marked) :]
    seen.last_stores.update(part["store"] for record in last for part in record["limits"])
    return seen


def _collect(sidecar: Sidecar, seen: Seen) -> None:
    seen.records += [json.loads(line) for line in sidecar.records.read_text().splitlines()]
    for line in sidecar.log.read_text().splitlines():
        if not line.startswith("{") or json.loads(line)["level"] in ("error", "critical"):
            seen.errors.append(line)


def _environ(plan: Chaos, server: RedisServer, number: int) -> dict[str, str]:
    return {
        "REDIS_URL": server.unix_url,
        "AUTHZ_FLEET_SIZE": str(SIDECARS),
        "AUTHZ_KEYSPACE": f"soak-{number if plan.apart else 0}",
        "AUTHZ_REDIS_TIMEOUT_MS": "100",  # a busy machine makes no outage of a moment
        "AUTHZ_MAX_WAIT_MS": "1000",
        "AUTHZ_RECORD_QUEUE": "100000",
        "AUTHZ_STATE": "off",
    }


def _documents() -> list[str]:
    texts = [
        f"kind: Limit\nmetadata: {{name: {name}}}\nspec: {{per: [params.caller], rate: {one.rate_per_s:g}/s,"
        f" burst: {one.burst:g}, onStoreError: {one.how}}}"
        for name, one in LIMITS.items()
    ]
    rules = [
        f"    - {{name: {name}, effect: allow, paths: ['/{name}/{{caller}}'], identity: [anyone],"
        f" limits: [{', '.join(limits)}]}}"
        for name, limits in PATHS.items()
        if limits
    ]
    rules.append("    - {name: free, effect: allow, paths: [/free], identity: [anyone]}")
    head = f"kind: Policy\nmetadata: {{name: p}}\nspec:\n  hosts: [{HOST}]\n  rules:\n"
    return [*texts, head + "\n".join(rules)]
