"""Probes, sent as a kubelet sends them: from the node to the pod's address, or run in the container."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.kube.node.network import Network

Object = dict[str, Any]
_GOOD = range(200, 400)


class Told(NamedTuple):
    """The answer to a probe."""

    good: bool
    text: str


class Target(NamedTuple):
    """What a probe speaks to.

    Args:
        network: of the node.
        address: of the pod.
        ports: of the container, by name.
        run: runs a command in the container; returns its exit code and what it said.
    """

    network: Network
    address: str
    ports: dict[str, int]
    run: Callable[[list[str], float], tuple[int, str]]

    def port(self, port: int | str) -> int:
        """Return a port by number or name."""
        return port if isinstance(port, int) else self.ports[port]


def ask(handler: Object, target: Target, timeout_s: float) -> Told:
    """Send one probe, or one hook before the end; say how it went."""
    try:
        match handler:
            case {"httpGet": wanted}:
                return _http(wanted, target, timeout_s)
            case {"tcpSocket": wanted}:
                address = wanted.get("host", target.address)
                target.network.connect(address, target.port(wanted["port"]), timeout_s).close()
                return Told(True, "connected")
            case {"exec": wanted}:
                code, text = target.run(wanted["command"], timeout_s)
                return Told(code == 0, text)
    except (OSError, http.client.HTTPException) as error:
        return Told(False, str(error))
    raise AssertionError(f"no such probe: {handler}")


def _http(wanted: Object, target: Target, timeout_s: float) -> Told:
    assert wanted.get("scheme", "HTTP") == "HTTP", "the kubelet of the tests sends no HTTPS"
    address, port = wanted.get("host", target.address), target.port(wanted["port"])
    line = http.client.HTTPConnection(address, port, timeout=timeout_s)
    line.sock = target.network.connect(address, port, timeout_s)
    headers = {"user-agent": "kube-probe/1.37", "connection": "close"}
    headers |= {each["name"]: each["value"] for each in wanted.get("httpHeaders", ())}
    try:
        line.request("GET", wanted.get("path", "/"), headers=headers)
        answer = line.getresponse()
        text = answer.read(10_240).decode(errors="replace")
        return Told(answer.status in _GOOD, f"HTTP {answer.status}: {text}".strip())
    finally:
        line.close()


class Prober:
    """Sends one probe again and again until it is told to stop.

    Args:
        probe: as the container has it.
        target: what it is sent to.
        turned: told each time that the probe has held, or failed, as often as it must.
        pace: by how much periods are shortened.
    """

    def __init__(self, probe: Object, target: Target, turned: Callable[[Told], None], pace: float) -> None:
        self.last = Told(False, "not sent yet")
        self._probe, self._target, self._turned, self._pace = probe, target, turned, pace
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="probe", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send no more; what is under way is not waited for."""
        self._over.set()

    def join(self) -> None:
        """Wait until it is over."""
        self._thread.join()

    def _run(self) -> None:
        row, before = 0, False
        delay_s = self._probe.get("initialDelaySeconds", 0) * self._pace
        while not self._over.wait(delay_s):
            told = self.last = ask(self._probe, self._target, self._probe.get("timeoutSeconds", 1))
            row = row + 1 if told.good == before else 1
            before = told.good
            if row == self._needed(good=told.good) and not self._over.is_set():
                self._turned(told)
            delay_s = self._probe.get("periodSeconds", 10) * self._pace

    def _needed(self, *, good: bool) -> int:
        return int(self._probe.get("successThreshold", 1) if good else self._probe.get("failureThreshold", 3))
