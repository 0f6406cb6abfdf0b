"""`inject-webhook` and `inject-watch` as wholes, in this process: real TLS, an API server that is none."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from authz.admission.census import Seen
from authz.admission.keeper import Place
from authz.model.address import TcpAddress
from authz.model.errors import ConfigError
from authz.wiring import injector
from authz.wiring.injector import Watch, WatchSettings, Webhook, WebhookSettings
from tests.support.admission import TEMPLATE, pod, question
from tests.support.http import get
from tests.support.kube import FakeKube
from tests.support.redis import free_ports

NAME = "hook.shop.svc"
PATIENCE_S = 20.0


class _Runs(Protocol):
    def run(self) -> None: ...

    def stop(self) -> None: ...


@pytest.fixture
def kube(monkeypatch: pytest.MonkeyPatch) -> FakeKube:
    ours = FakeKube()
    ours.time_s = time.time()
    ours.listed = [Seen("shop", "bare", ())]
    monkeypatch.setattr(injector, "_cluster", lambda: ours)
    return ours


@pytest.fixture
def template(tmp_path: Path) -> Path:
    path = tmp_path / "injection.json"
    path.write_bytes(TEMPLATE)
    return path


def _webhook(template: Path, ops: int, *watched: str) -> Webhook:
    place = Place("shop", "hook", "hook.shop", (NAME,))
    return Webhook(
        WebhookSettings(
            TcpAddress("127.0.0.1", 0), TcpAddress("127.0.0.1", ops), template, place, watched, 0.3
        )
    )


@contextmanager
def _running(what: _Runs) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=what.run)
    thread.start()
    try:
        yield thread
    finally:
        what.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def _until(ready: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not ready():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def _status(ops: int, path: str) -> int:
    try:
        return get(f"127.0.0.1:{ops}", path)[0]
    except OSError:
        return 0


def _ask(port: int, ca: bytes) -> dict[str, object]:
    trust = ssl.create_default_context(cadata=ca.decode())
    with (
        socket.create_connection(("127.0.0.1", port), PATIENCE_S) as plain,
        trust.wrap_socket(plain, server_hostname=NAME) as line,
    ):
        body = question(pod())
        line.sendall(b"POST /inject HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        answer = http.client.HTTPResponse(line)
        answer.begin()
        told = json.loads(answer.read())
    assert isinstance(told["response"], dict)
    return told["response"]


def test_a_webhook_serves_until_told_to_stop(kube: FakeKube, template: Path) -> None:
    (ops,) = free_ports(1)
    webhook = _webhook(template, ops, "*")
    with _running(webhook) as thread:
        _until(lambda: _status(ops, "/ready") == 200)
        assert _status(ops, "/health") == 200
        (ca,) = kube.bundles.values()
        assert _ask(webhook.address.port, ca)["patchType"] == "JSONPatch"
        _until(lambda: 'missing_sidecar{pod_namespace="shop"} 1.0' in get(f"127.0.0.1:{ops}", "/metrics")[1])
        webhook.stop()
        _until(lambda: _status(ops, "/ready") in (503, 0))
        if thread.is_alive():
            assert _ask(webhook.address.port, ca)["allowed"] is True, "while it drains it goes on"


def test_a_signal_that_another_thread_catches_is_obeyed(kube: FakeKube, template: Path) -> None:
    """The system may give it to any; its handler runs on the thread that waits, which has to wake up."""
    (ops,) = free_ports(1)
    watch = Watch(WatchSettings(TcpAddress("127.0.0.1", ops), template, ("*",)))

    def other() -> None:
        _until(lambda: _status(ops, "/ready") == 200)
        time.sleep(0.2)  # until it sleeps
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, lambda *_: watch.stop())
    rescue = threading.Timer(PATIENCE_S, watch.stop)  # or a failure would be a test that never ends
    thread = threading.Thread(target=other)
    try:
        for started in (rescue, thread):
            started.start()
        watch.run()
        assert rescue.is_alive()
    finally:
        rescue.cancel()
        thread.join()
        signal.signal(signal.SIGTERM, before)


def test_a_webhook_without_an_api_server_is_alive_and_not_ready(kube: FakeKube, template: Path) -> None:
    (ops,) = free_ports(1)
    kube.away = True
    with _running(_webhook(template, ops)):
        _until(lambda: _status(ops, "/ready") == 503)
        assert _status(ops, "/health") == 200
        assert "authz_injection_pods{" not in get(f"127.0.0.1:{ops}", "/metrics")[1]
        kube.away = False
        _until(lambda: _status(ops, "/ready") == 200)


def test_a_thread_that_ended_is_told_to_whoever_restarts_us(
    kube: FakeKube, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ops,) = free_ports(1)
    monkeypatch.setattr(injector, "keep_doing", lambda *_: None)
    with _running(_webhook(template, ops)):
        _until(lambda: _status(ops, "/health") == 503)


def test_a_watch_counts_until_told_to_stop(kube: FakeKube, template: Path) -> None:
    (ops,) = free_ports(1)
    with _running(Watch(WatchSettings(TcpAddress("127.0.0.1", ops), template, ("*",)))):
        _until(lambda: _status(ops, "/ready") == 200)
        page = get(f"127.0.0.1:{ops}", "/metrics")[1]
        assert 'authz_injection_pods_missing_sidecar{pod_namespace="shop"} 1.0' in page


def test_a_watch_that_has_not_counted_yet_is_not_ready(kube: FakeKube, template: Path) -> None:
    (ops,) = free_ports(1)
    kube.away = True
    with _running(Watch(WatchSettings(TcpAddress("127.0.0.1", ops), template, ("*",)))):
        _until(lambda: _status(ops, "/ready") == 503)


def test_a_port_that_is_taken_stops_the_start(kube: FakeKube, template: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        webhook = _webhook(template, taken.getsockname()[1])
        with pytest.raises(ConfigError, match="stop what listens there"):
            webhook.run()


def test_without_its_library_it_says_what_to_install(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "authz.admission.cluster", raising=False)
    monkeypatch.setitem(sys.modules, "lightkube", None)
    with pytest.raises(ConfigError, match=r"install `authz\[kubernetes\]`"):
        Watch(WatchSettings(TcpAddress("127.0.0.1", 0), template, ("*",)))
