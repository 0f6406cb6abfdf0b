"""One container of a pod: started, probed, stopped, and what is known of it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.kube.node.environment import NotConfigured, Object
from tests.kube.node.images import NoImage
from tests.kube.node.network import Network
from tests.kube.node.plan import House, write_plan
from tests.kube.node.probes import Prober, Target, Told, ask

LAUNCHER = [sys.executable, "-I", str(Path(__file__).with_name("container.py"))]
_KILLED_S = 10.0
_LONGEST_BACKOFF_S = 4.0  # a kubelet begins with ten seconds and ends with five minutes
_MESSAGE_BYTES = 4096


class Container:
    """A container, its process if it runs, and its probes.

    Args:
        spec: as stored.
        house: what it shares with others.
        network: of the node.
        tell: told of what happens to it.
        pace: by how much the periods of probes are shortened.
        kind: `init`, `sidecar` or `ordinary`.
    """

    def __init__(
        self,
        spec: Object,
        house: House,
        network: Network,
        tell: Callable[[str], None],
        pace: float,
        kind: str,
    ) -> None:
        self.spec, self.kind = spec, kind
        self.name: str = spec["name"]
        self.started = self.ready = False
        self.restarts = -1
        self.code: int | None = None
        self.trouble = ""  # why it could not be made
        self.log = house.home / f"{self.name}.log"
        self.log.touch()
        self.terminated = threading.Event()
        self._house, self._network, self._tell, self._pace = house, network, tell, pace
        self._process: subprocess.Popen[bytes] | None = None
        self._probers: dict[str, Prober] = {}
        self._next_start = 0.0

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def may_start(self) -> bool:
        """Whether its back-off is over."""
        return time.monotonic() >= self._next_start

    def start(self) -> None:
        """Start it, or note why it cannot be made; another start has to wait a while."""
        backoff_s = min(_LONGEST_BACKOFF_S, 0.25 * 2 ** (self.restarts + 1))
        self._next_start = time.monotonic() + backoff_s
        try:
            plan = write_plan(self.spec, self._house)
        except (NotConfigured, NoImage) as error:
            self._trouble(str(error))
            return
        self.trouble, self.code = "", None
        self.restarts += 1
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*LAUNCHER, "run", str(plan)], stdin=subprocess.PIPE, stdout=log, stderr=log, cwd="/"
            )
        self._tell(f"started {self.name}")
        self._begin_probes()

    def poll(self) -> bool:
        """Whether it has ended; says so once."""
        if self._process is None or (code := self._process.poll()) is None:
            return False
        self._forget(self._process)
        self._process, self.code, self.started, self.ready = None, code, False, False
        self._stop_probes()
        self._tell(f"ended {self.name} with {code}")
        return True

    def pre_stop(self, grace_s: float) -> None:
        """Run its hook before the end, if it has one."""
        hook = self.spec.get("lifecycle", {}).get("preStop")
        if not hook or not self.running:
            return
        self._tell(f"preStop of {self.name}")
        if "sleep" in hook:
            time.sleep(min(grace_s, hook["sleep"]["seconds"]))
            return
        told = ask(hook, self.target(), grace_s)
        if not told.good:
            self._tell(f"preStop of {self.name} failed: {told.text}")

    def stop(self, grace_s: float) -> None:
        """End it: asked, and after its time of grace killed."""
        if (process := self._process) is not None:
            self._tell(f"SIGTERM to {self.name}")
            process.terminate()
            try:
                process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self._tell(f"SIGKILL to {self.name}")
                self.kill()
        self.poll()
        self.terminated.set()

    def kill(self) -> None:
        """Kill it with everything that it started: who holds its leash lets go."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait(_KILLED_S)

    def stop_probes(self, *names: str) -> None:
        """Send these no more: once a pod ends, nobody asks whether it has started and lives."""
        for name in names:
            if name in self._probers:
                self._probers.pop(name).stop()

    def target(self) -> Target:
        """Where its probes go."""
        ports = {port["name"]: port["containerPort"] for port in self.spec.get("ports", ()) if "name" in port}
        return Target(self._network, self._house.place.address, ports, self.run)

    def run(self, words: list[str], timeout_s: float = 10.0) -> tuple[int, str]:
        """Run a command in the container; return its exit code and what it said."""
        plan = json.loads((self._house.home / self.name / "plan.json").read_text()) | {"command": words}
        path = self._house.home / self.name / f"exec-{threading.get_ident()}.json"
        path.write_text(json.dumps(plan))
        with (
            tempfile.TemporaryFile() as said,
            subprocess.Popen(
                [*LAUNCHER, "exec", str(self.pid), str(path)],
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=said,
                cwd="/",
            ) as process,
        ):
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                return -1, "timed out"
            said.seek(0)
            return process.returncode, said.read().decode(errors="replace")

    @property
    def pid(self) -> int:
        """Its first process, as this machine numbers it."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        return int(children.split()[0])

    def message(self) -> str:
        """What it left for whoever asks why it ended."""
        path = self._house.home / self.name / "termination-log"
        text = path.read_text(errors="replace") if path.exists() else ""
        if not text and self.code and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            text = self.log.read_text(errors="replace")[-_MESSAGE_BYTES // 2 :]
        return text[-_MESSAGE_BYTES:]

    def probe(self, name: str) -> Told:
        """Return the last answer to one of its probes, such as `readinessProbe`."""
        prober = self._probers.get(name)
        return Told(False, "not probed") if prober is None else prober.last

    def _begin_probes(self) -> None:
        if "startupProbe" in self.spec:
            self._probe("startupProbe", self._startup)
        else:
            self._is_started()

    def _startup(self, told: Told) -> None:
        if told.good:
            self.stop_probes("startupProbe")
            self._is_started()
        else:
            self._unwell("startupProbe", told)

    def _is_started(self) -> None:
        self.started = True
        self._tell(f"{self.name} has started")
        if "livenessProbe" in self.spec:
            self._probe(
                "livenessProbe", lambda told: None if told.good else self._unwell("livenessProbe", told)
            )
        if "readinessProbe" in self.spec:
            self._probe("readinessProbe", self._readiness)
        else:
            self.ready = True

    def _readiness(self, told: Told) -> None:
        self.ready = told.good
        self._tell(f"{self.name} is {'ready' if told.good else f'not ready: {told.text}'}")

    def _unwell(self, name: str, told: Told) -> None:
        self._tell(f"{name} of {self.name} failed: {told.text}")
        if self._process is not None:
            self._process.terminate()

    def _probe(self, name: str, turned: Callable[[Told], None]) -> None:
        self._probers[name] = Prober(self.spec[name], self.target(), turned, self._pace)

    def _stop_probes(self) -> None:
        self.stop_probes(*list(self._probers))

    def _trouble(self, text: str) -> None:
        if text != self.trouble:
            self._tell(f"{self.name}: Error: {text}")
        self.trouble = text

    @staticmethod
    def _forget(process: subprocess.Popen[bytes]) -> None:
        if process.stdin is not None:
            process.stdin.close()
