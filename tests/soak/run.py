"""The soak: everything that can go on around a sidecar at once, for as long as you like.

Callers through the real Envoy, garbage on the sockets of checks at full speed, a worker killed all the time,
certificates renewed under a TLS listener that is asked all the time, signals to rotate the records.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Thread

import grpc

from authz.model.address import UnixAddress
from authz.proxy.choices import EnvoyChoices
from authz.proxy.process import free_port, http_get
from authz.transport.front import METHOD
from tests.soak.callers import Callers, cases
from tests.soak.gauges import Gauges, Trend, children
from tests.support.certificates import Authority
from tests.support.checks import check_request
from tests.support.proxy import KEYS, Live, live

WORKERS = 2
# After a kill Envoy needs a moment to notice, and the worker a second or two to come back.
_KILL_WINDOW_S = 4.0
# A process that lived less says nothing of slopes: it is still filling its caches.
_STEADY_S = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes on, and the bounds beyond which the soak has failed."""

    seconds: float = 600.0
    callers: int = 3
    kill_every_s: float = 20.0
    renew_every_s: float = 15.0
    hang_up_every_s: float = 7.0
    most_mib: float = 512.0  # of any process of ours, ever
    mib_per_min: float = 1.0  # of a process that lived through the second half
    files_per_min: float = 1.0
    away_share: float = 0.02  # 503 or no answer, outside of the windows after a kill


@dataclass
class Found:
    """What the soak saw."""

    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    away: int = 0  # outside of the windows after a kill
    garbage: Counter[str] = field(default_factory=Counter)
    secured: Counter[str] = field(default_factory=Counter)
    trends: dict[str, Trend] = field(default_factory=dict)
    kills: int = 0
    renewals: int = 0
    deaths: list[str] = field(default_factory=list)
    restarts: list[str] = field(default_factory=list)

    def faults(self, plan: Plan) -> list[str]:
        """Return what must not be; nothing where the soak has passed."""
        faults = [f"wrong answers: {self.answers['wrong']}, such as {self.wrong[0]}"] if self.wrong else []
        if self.garbage["allowed"] or self.secured["refused"]:
            faults.append(f"garbage allowed: {self.garbage['allowed']}; TLS: {dict(self.secured)}")
        if self.away > plan.away_share * self.answers["requests"]:
            faults.append(f"not answered as asked, away from kills: {self.away}")
        for name, seen in self.trends.items():
            if seen.most_mib > plan.most_mib:
                faults.append(f"{name} held {seen.most_mib:.0f} MiB")
            if seen.lived_s >= _STEADY_S and seen.mib_per_min > plan.mib_per_min:
                faults.append(f"{name} grew by {seen.mib_per_min:.2f} MiB/min")
            if seen.lived_s >= _STEADY_S and seen.files_per_min > plan.files_per_min:
                faults.append(f"{name} opened {seen.files_per_min:.2f} files/min")
        enough = self.answers["right"] > 0 and self.garbage["called"] > 0 and self.secured["allowed"] > 0
        return [*faults, *self.deaths, *([] if enough else ["something was not asked at all"])]

    def lines(self) -> Iterable[str]:
        """Say it to people."""
        yield f"through Envoy: {dict(self.answers)}; away from kills: {self.away}"
        yield f"over TLS: {dict(self.secured)}, certificates renewed {self.renewals} times"
        yield f"garbage: {dict(self.garbage)}"
        yield f"workers killed: {self.kills}; {'; '.join(self.restarts)}"
        for name, seen in self.trends.items():
            yield (
                f"{name:20} lived {seen.lived_s:5.0f} s, {seen.last_mib:6.1f} MiB (most {seen.most_mib:.1f}),"
                f" {seen.mib_per_min:+6.2f} MiB/min, {seen.files:3} files, {seen.files_per_min:+.2f} a min"
            )


class Disturber:
    """Calls a function every so often, on a thread of its own."""

    def __init__(self, every_s: float, what: Callable[[], None]) -> None:
        self._every_s, self._what = every_s, what
        self._end = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Have it end."""
        self._end.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._end.wait(self._every_s):
            self._what()


def sockets(choices: EnvoyChoices) -> EnvoyChoices:
    """Return the choices with the sockets of all workers."""
    (first,) = choices.authz
    if not isinstance(first, UnixAddress):
        raise TypeError("the soak's sidecar listens on a Unix socket")
    own = [first.path.with_name(f"authz-{index}.sock") for index in range(WORKERS)]
    return replace(choices, authz=tuple(UnixAddress(path) for path in own))


def free_ports(count: int) -> int:
    """Return the first of so many consecutive ports that nobody listens on now: each worker takes one."""
    while True:
        first = free_port()
        with ExitStack() as held, suppress(OSError, OverflowError):
            for port in range(first, first + count):
                held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first


def soak(plan: Plan, directory: Path) -> Found:
    """Run it all and return what was seen; `directory` is for certificates."""
    authority, port = Authority(), free_ports(WORKERS)
    cert, key = authority.server().written(directory, "server")
    secured = ("--listen", f"127.0.0.1:{port}", "--tls-cert", str(cert), "--tls-key", str(key))
    serve = ("--workers", str(WORKERS), *secured)
    env = {"AUTHZ_RECORD_SINK": f"file:{directory / 'records.jsonl'}", "AUTHZ_TRANSPORT": "native"}
    with ExitStack() as stack:
        app = stack.enter_context(live(KEYS, envoy=sockets, serve=serve, env=env))
        return _Soak(plan, app, directory, authority, port).run()


class _Soak:
    def __init__(self, plan: Plan, app: Live, directory: Path, authority: Authority, port: int) -> None:
        self._plan, self._app, self._directory = plan, app, directory
        self._authority, self._port = authority, port
        self._found = Found()
        self._kills: list[float] = []
        self._root = app.stage.sidecar.pid
        self._workers = _workers(self._root)
        self._survivors = self._workers[1:]

    def run(self) -> Found:
        plan, app, found = self._plan, self._app, self._found
        gauges = Gauges(self._root)
        garbage = self._garbage()
        callers = Callers(app.stage.port, cases(app.tokens["acme"], app.tokens["gone"]), plan.callers)
        disturbers = [
            Disturber(plan.kill_every_s, self._kill),
            Disturber(plan.renew_every_s, self._renew),
            Disturber(plan.hang_up_every_s, self._rotate),
            Disturber(0.05, self._ask_secured),
        ]
        text = garbage.communicate(timeout=plan.seconds + 120)[0]
        for each in disturbers:
            each.stop()
        callers.stop()
        found.garbage = Counter(json.loads(text))
        found.answers = callers.answers
        found.away = sum(not self._near_a_kill(at_s) for at_s in callers.away)
        found.wrong = [f"{name} -> {status}" for _, name, status in callers.wrong[:20]]
        self._judge(gauges.stop())
        return found

    def _garbage(self) -> subprocess.Popen[str]:
        directory = self._app.stage.scene.directory
        paths = [str(directory / f"authz-{index}.sock") for index in range(WORKERS)]
        command = [sys.executable, "-m", "tests.soak.garbage", *paths, "--seconds", str(self._plan.seconds)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def _kill(self) -> None:
        """Kill the worker whose turn it always is; the others must live through everything."""
        victims = [pid for pid in _workers(self._root) if pid not in self._survivors]
        if victims:
            self._kills.append(time.monotonic())
            with suppress(ProcessLookupError):
                os.kill(victims[0], signal.SIGKILL)
            self._found.kills += 1

    def _renew(self) -> None:
        self._authority.server().written(self._directory, "server")
        self._found.renewals += 1

    def _rotate(self) -> None:
        records = self._directory / "records.jsonl"
        if records.exists():
            records.replace(records.with_suffix(".old"))
        self._app.stage.sidecar.send(signal.SIGHUP)

    def _ask_secured(self) -> None:
        """Ask over TLS, on a connection of its own, the worker that lives: whichever certificate it has."""
        trusted = grpc.ssl_channel_credentials(self._authority.cert)
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.secure_channel(f"localhost:{self._port + 1}", trusted, options) as channel:
            ask = channel.unary_unary(METHOD, request_serializer=None, response_deserializer=None)
            try:
                reply = ask(check_request(host="app.test", path="/public/a"), timeout=5)
                allowed = reply[:2] == b"\x0a\x00"
                self._found.secured["allowed" if allowed else "refused"] += 1
            except grpc.RpcError as error:
                self._found.secured[str(error.code())] += 1

    def _near_a_kill(self, at_s: float) -> bool:
        return any(-0.5 <= at_s - killed_s <= _KILL_WINDOW_S for killed_s in self._kills)

    def _judge(self, trends: dict[int, Trend]) -> None:
        found = self._found
        for pid in self._survivors:
            if pid not in _workers(self._root):
                found.deaths.append(f"worker {pid} ended, and nobody killed it")
        longest = sorted(trends.items(), key=lambda item: -item[1].lived_s)
        for pid, seen in longest[:8]:
            what = "supervisor" if pid == self._root else "worker"
            found.trends[f"{what} {pid}"] = seen
        page = http_get(self._app.stage.ops_port, "/metrics")
        lines = page[1].decode().splitlines() if page else []
        found.restarts = [line for line in lines if line.startswith("authz_worker_restarts_total{")]
        found.restarts += [line for line in lines if 'reason="overloaded"' in line]


def _workers(root: int) -> list[int]:
    found = []
    for pid in children(root):
        with suppress(OSError):
            if b"authz.wiring.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found
