"""Sidecars, their Redis, their sinks and their Prometheus, on a bad day: everything that alerts are about.

    a           real: two workers, limits in Redis, records over a spool to two sinks, spans
    b           real: one process, TLS
    understudy  plays what no test can wait for or afford: little memory, a key near its end, a sidecar that
                is slow, overloaded, killed again and again; its Envoy; a webhook. Our own code makes its page
    leaver      an understudy that goes away

After a baseline `strike`: everything goes wrong at once; then `mend`: all of it is put right.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import grpc

from authz.admission.numbers import Numbers
from authz.identity.apikey import fingerprint
from authz.proxy.process import Child, Plan, free_port, http_get, program
from authz.record.metrics import CONTENT_TYPE, Page, Samples
from authz.transport.front import METHOD
from tests.support.certificates import DAY, ENVOY, Authority
from tests.support.checks import check_request
from tests.support.collector import ACCEPT, Collector, answering, collector
from tests.support.keys import OTHER_PEPPER
from tests.support.otlp_receiver import otlp_receiver
from tests.support.policies import PEPPER, PROVIDER, MadeKey, documents
from tests.support.prometheus import MONITORING, Prometheus, prometheus, scaled
from tests.support.redis import RedisServer, redis_server

FACTOR, MOST_S = 300, 3.0  # five minutes are a second, hours are three
EVERY_MS = 250  # between scrapes, and between evaluations
DAY_S = 86_400.0
PATIENCE_S = 90.0  # for a machine that does other things, too
HOST = "a.example.com"

_POLICY = """
kind: Limit
metadata: {name: per-key}
spec: {per: [identity.key_id], rate: 5/s, burst: 10, onStoreError: local}
---
kind: Limit
metadata: {name: shared}
spec: {per: [request.host], rate: 100000/s, onStoreError: deny}
---
kind: Limit
metadata: {name: tried}
spec: {mode: shadow, per: [client.network], rate: 1/s}
---
kind: Site
metadata: {name: guarded}
spec: {hosts: [g.example.com], guard: {rate: 1/min, burst: 2}}
---
kind: Policy
metadata: {name: items}
spec:
  hosts: [a.example.com, g.example.com]
  rules:
    - {name: open, effect: allow, paths: [/open], identity: [anonymous], limits: [tried]}
    - {name: keys, effect: allow, paths: [/keys], identity: [partner-keys], limits: [per-key]}
    - {name: shared, effect: allow, paths: [/shared], identity: [anonymous], limits: [shared]}
    - {name: stopped, effect: allow, paths: [/stopped], identity: [anonymous]}
    - {name: never, effect: deny, paths: [/never]}
---
kind: Policy
metadata: {name: next}
spec: {mode: shadow, hosts: [a.example.com], rules: [{name: close, effect: deny, paths: [/open]}]}
"""
_BRAKE = """
kind: Policy
metadata: {name: stop}
spec: {hosts: ["*"], rules: [{name: now, effect: deny, paths: [/stopped]}]}
"""
_KEY = MadeKey("k", extra="  expiresAt: 2100-01-01T00:00:00Z\n")
_STRANGE = MadeKey("strange").document.replace(fingerprint(PEPPER), fingerprint(OTHER_PEPPER))
_TRACED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
_CHECKS = [
    *6 * [check_request(host=HOST, path="/open")],
    check_request(host=HOST, path="/open", headers=[("traceparent", _TRACED)]),
    *3 * [check_request(host=HOST, path="/shared")],
]
_NOW_AND_THEN = [
    *2 * [check_request(host=HOST, path="/keys", headers=[("x-api-key", _KEY.token)])],
    check_request(host=HOST, path="/keys"),
    check_request(host="g.example.com", path="//bad", peer="192.0.2.1"),
    check_request(host="g.example.com", path="/open", peer="192.0.2.1"),
    check_request(host=HOST, path="/nowhere"),
]
_STRUCK = [*12 * [check_request(host=HOST, path="/never")], check_request(host=HOST, path="/stopped")]


Alerts = dict[str, list[dict[str, Any]]]


class Understudy:
    """A page of metrics that says what it is told.

    Args:
        numbers: what it says now, by metric.
        more: what it says besides, as Envoy would.
    """

    def __init__(self, numbers: Samples) -> None:
        self.numbers, self.more = numbers, ""
        self.port = free_port()
        self._page = Page(lambda: self.numbers)
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Answer scrapes."""

        def said() -> bytes:
            return self._page.render() + self.more.encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-type", CONTENT_TYPE)
                self.end_headers()
                with suppress(OSError):
                    self.wfile.write(said())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Go away."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


def _well(began_s: float, faults: int, *, ill: bool) -> Samples:
    """Return what the understudy says: the numbers of a sidecar that is well, or ill in many ways.

    Args:
        faults: so far; it grows for as long as it is ill.
    """
    now_s = time.time()
    ago = (now_s - began_s) * 20  # checks so far, or so
    bounds = {"0.005": ago, "0.25": ago * 3 if ill else 0.0, "sum": ago}
    soon_s = now_s + (1 if ill else 30) * DAY_S
    return {
        "authz_build_info": [(("0", "3"), 1.0)],
        "authz_ready": [((), float(not ill))],
        "authz_checks_total": [
            (("allow", "allowed"), ago),
            (("deny", "overloaded"), ago / 10 if ill else 0.0),
            (("deny", "internal_error"), faults),
        ],
        "authz_check_duration_seconds": [((bound,), count) for bound, count in bounds.items()],
        "authz_memory_limit_bytes": [((), 100.0)],
        "authz_memory_working_set_bytes": [((), 95.0 if ill else 50.0)],
        "authz_rate_limits_enabled": [((), float(not ill))],
        "authz_key_next_expiry_timestamp_seconds": [((), soon_s)],
        "authz_certificate_expiry_timestamp_seconds": [(("server",), soon_s)],
        "authz_store_outages_total": [(("redis",), faults)],
        "authz_store_evicts": [(("redis",), float(ill))],
        "authz_worker_up": [(("0",), float(not ill))],
        "authz_worker_restarts_total": [(("0", "died"), faults)],
        "authz_record_errors_total": [(("spool",), faults)],
        "authz_record_lag_seconds": [(("http",), 400.0 if ill else 0.0)],
        "authz_shipper_up": [((), float(not ill))],
    }


def _of_injection(numbers: Numbers, *, ill: bool) -> str:
    """Return what the understudy says as one that injects, of pods, certificate and template."""
    now_s = time.time()
    numbers.show_rows("authz_injection_pods_missing_sidecar", [("shop", float(ill))])
    numbers.show("authz_injection_last_look_timestamp_seconds", now_s - (400.0 if ill else 0.0))
    numbers.show("authz_webhook_ready", float(not ill))
    numbers.show("authz_webhook_template_good", float(not ill))
    numbers.show("authz_webhook_certificate_expiry_timestamp_seconds", now_s + (1 if ill else 60) * DAY_S)
    numbers.begin("authz_webhook_reviews_total", "pod", "failed")
    if ill:
        numbers.count("authz_webhook_reviews_total", "pod", "failed")
    else:
        numbers.count("authz_webhook_looks_total", "done")
    # Of its process the sidecar's own numbers tell already.
    return "".join(f"{line}\n" for line in numbers.page().decode().splitlines() if "authz_" in line)


class Day:
    """One bad day.

    Args:
        home: an empty directory with a short path, since sockets are made in it.
    """

    def __init__(self, home: Path, stack: ExitStack) -> None:
        self.home, self._stack = home, stack
        self.began_s = time.time()
        self.cleared: set[str] = set()  # what has been silent since all was put right
        self.texts: Alerts = {}  # what has fired, each alert as it was first seen
        self._ill = False
        self._ill_s = 0.0  # since when
        self._driving = Event()
        self.understudy = Understudy({})
        self.leaver = Understudy({"authz_build_info": [(("0", "3"), 1.0)]})
        self._ops = {"a": free_port(), "b": free_port()}
        self._tls = free_port()
        self.prometheus = self._prometheus()
        self.redis: RedisServer = stack.enter_context(redis_server())
        self.sink: Collector = stack.enter_context(collector())
        self._write_all()
        self.a, self.b = self._sidecar_a(), self._sidecar_b()

    def open(self) -> None:
        """Have everybody begin, once the alert about nobody has fired."""
        self.wait_until_fired({"AuthzAbsent"})
        for understudy in (self.understudy, self.leaver):
            understudy.start()
            self._stack.callback(understudy.stop)
        for name, child in (("a", self.a), ("b", self.b)):
            child.wait_until(partial(_is_ready, self._ops[name]), PATIENCE_S)
        threads = [Thread(target=self._play, daemon=True)]
        threads += [Thread(target=self._drive, args=(name,), daemon=True) for name in ("a-0", "a-1", "b")]
        for thread in threads:
            thread.start()
            self._stack.callback(thread.join, 10.0)
        self._stack.callback(self._driving.set)
        usual = f"count_over_time(namespace_job:authz_checks_refused:ratio_rate5m[{2 * MOST_S:g}s])"
        _wait(
            lambda: (self.prometheus.number(usual) or 0) * EVERY_MS >= MOST_S * 1000,
            PATIENCE_S,
            lambda: usual,
        )

    def strike(self) -> None:
        """Let everything go wrong."""
        self._ill, self._ill_s = True, time.monotonic()
        self.redis.pause()
        self.sink.play(answering(503))
        self.leaver.stop()
        (self.home / "a/policies/0.yaml").write_text("kind: Nothing\n")
        (self.home / "a/overrides/stop.yaml").write_bytes(documents(_BRAKE)["0.yaml"])
        (self.home / "b/policies/strange.yaml").write_bytes(documents(_STRANGE)["0.yaml"])

    def mend(self) -> None:
        """Put all of it right."""
        self._ill = False
        self.redis.resume()
        self.sink.play(ACCEPT)
        self.leaver.start()
        self._write_all()
        self._server.written(self.home / "tls", "server")

    def page(self, name: str) -> str:
        """Return the metrics of a real sidecar."""
        return (http_get(self._ops[name], "/metrics") or (0, b""))[1].decode()

    def fired(self) -> set[str]:
        """Return the names of all alerts that have fired so far."""
        found = self.prometheus.query(
            'count by (alertname) (last_over_time(ALERTS{alertstate="firing"}[10m]))'
        )
        return {series["metric"]["alertname"] for series in found}

    def wait_until_fired(self, names: set[str], patience_s: float = PATIENCE_S) -> None:
        """Wait until all of these have fired."""

        def fired() -> bool:
            self.texts = {**self.prometheus.firing(), **self.texts}
            return names <= self.fired()

        _wait(fired, patience_s, lambda: f"never fired: {names - self.fired()}")

    def wait_until_cleared(self, names: set[str], patience_s: float = PATIENCE_S) -> None:
        """Wait until each of these has been seen silent: a busy machine may raise another one meanwhile."""
        self.cleared = set()

        def cleared() -> bool:
            self.cleared |= names - set(self.prometheus.firing())
            return self.cleared >= names

        _wait(cleared, patience_s, lambda: f"never cleared: {names - self.cleared}")

    def _prometheus(self) -> Prometheus:
        for name in ("rules.yaml", "alerts.yaml"):
            text = scaled((MONITORING / name).read_text(), FACTOR, MOST_S, EVERY_MS)
            (self.home / name).write_text(text)
        ports = {**self._ops, "understudy": self.understudy.port, "leaver": self.leaver.port}
        listed = [
            {"targets": [f"127.0.0.1:{port}"], "labels": {"instance": name}} for name, port in ports.items()
        ]
        every = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), f"{EVERY_MS}ms")
        config = {
            "global": every,
            "rule_files": [str(self.home / name) for name in ("rules.yaml", "alerts.yaml")],
            "scrape_configs": [{"job_name": "items", "static_configs": listed}],
        }
        return self._stack.enter_context(prometheus(self.home, config))

    def _write_all(self) -> None:
        for name in ("a", "b"):
            _put(self.home / name / "policies", documents(PROVIDER, _POLICY, _KEY.document))
        _put(self.home / "a/overrides", {"stop.yaml": b"# released\n"})

    def _sidecar_a(self) -> Child:
        receiver = self._stack.enter_context(otlp_receiver())
        return self._serve(
            "a",
            ["--overrides", f"{self.home}/a/overrides", "--workers", "2"],
            REDIS_URL=self.redis.url,
            AUTHZ_REDIS_TIMEOUT_MS="300",
            AUTHZ_MAX_STALENESS_S="1",
            AUTHZ_RECORD_SINK=f"{self.sink.url},file:{self.home}/a/records",
            AUTHZ_RECORD_SPOOL=f"{self.home}/a/spool",
            AUTHZ_RECORD_SPOOL_BYTES=str(512 * 1024),
            AUTHZ_RECORD_SAMPLE_ALLOWS="90",
            AUTHZ_TRACE_SINK=receiver.http_url,
        )

    def _sidecar_b(self) -> Child:
        self._authority = Authority(ends=40 * DAY)
        self._server = self._authority.server(ends=30 * DAY)
        tls = self.home / "tls"
        cert, key = self._server.written(tls, "server")
        flags = ["--listen", f"127.0.0.1:{self._tls}", "--tls-cert", str(cert), "--tls-key", str(key)]
        flags += ["--tls-client-ca", str(self._authority.written(tls)), "--tls-clients", ENVOY]
        return self._serve("b", flags, AUTHZ_RECORD_SINK=f"file:{self.home}/b/records")

    def _serve(self, name: str, flags: list[str], **env: str) -> Child:
        home = self.home / name
        command = [program("authz"), "serve", "--policies", f"{home}/policies", "--debug", "off", *flags]
        command += ["--listen", f"unix:{home}/s.sock", "--ops", f"127.0.0.1:{self._ops[name]}"]
        env = {"API_KEY_SALT": PEPPER.decode(), "AUTHZ_STATE": "off", "AUTHZ_DRAIN_S": "0", **env}
        plan = Plan(name, command, log=home / "log", output=home / "out", env=env)
        return self._stack.enter_context(Child(plan))

    def _play(self) -> None:
        faults, injector = 0, Numbers()
        while not self._driving.wait(0.1):
            faults += self._ill
            injecting = _of_injection(injector, ill=self._ill)
            self.understudy.more = f"envoy_http_ext_authz_error {faults}\n{injecting}"
            self.understudy.numbers = _well(self.began_s, faults, ill=self._ill)

    def _drive(self, which: str) -> None:
        """Ask all the time, some hundred times a second."""
        name, _, number = which.partition("-")
        socket = f"{self.home}/{name}/s{f'-{number}' if number else ''}.sock"
        with grpc.insecure_channel(
            f"unix:{socket}", options=[("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            ask = channel.unary_unary(METHOD, request_serializer=None, response_deserializer=None)
            for turn in itertools.count():
                if self._driving.wait(0.05):
                    return
                checks = [
                    *_CHECKS,
                    *(() if turn % 10 else _NOW_AND_THEN),
                    *(_STRUCK if self._attacked else ()),
                ]
                if self._ill and name == "b" and turn % 10 == 0:
                    (self.home / "tls/server.crt").write_text(f"garbage {turn}")
                    self._ask_as_a_stranger()
                for reply in [ask.future(check, timeout=5.0) for check in checks]:
                    with suppress(grpc.RpcError):
                        reply.result()

    @property
    def _attacked(self) -> bool:
        """Whether many ask for what they may not; time and again, since a spike is seen as it begins."""
        return self._ill and (time.monotonic() - self._ill_s) % (4 * MOST_S) < 2 * MOST_S

    def _ask_as_a_stranger(self) -> None:
        stranger = self._authority.vouch("spiffe://prod/ns/web/sa/somebody")
        credentials = grpc.ssl_channel_credentials(self._authority.cert, stranger.key, stranger.cert)
        with grpc.secure_channel(f"127.0.0.1:{self._tls}", credentials) as channel:
            ask = channel.unary_unary(METHOD, request_serializer=None, response_deserializer=None)
            with suppress(grpc.RpcError):
                ask(_CHECKS[0], timeout=10.0)


@contextmanager
def bad_day(home: Path) -> Iterator[Day]:
    """Prepare one; what was started is ended."""
    for name in ("a", "b", "tls"):
        (home / name).mkdir()
    with ExitStack() as stack:
        yield Day(home, stack)


def _is_ready(port: int) -> bool:
    return (http_get(port, "/ready") or (0, b""))[0] == 200


def _put(directory: Path, files: dict[str, bytes]) -> None:
    directory.mkdir(exist_ok=True)
    for old in directory.iterdir():
        if old.name not in files:
            old.unlink()
    for name, content in files.items():
        if not (directory / name).is_file() or (directory / name).read_bytes() != content:
            (directory / name).write_bytes(content)


def _wait(holds: Callable[[], bool], patience_s: float, why: Callable[[], str]) -> None:
    end_s = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < end_s, why()
        time.sleep(0.1)
