"""One pod: its volumes, its containers in their order, and its end."""

from __future__ import annotations

import math
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.kube.api import Api
from tests.kube.node.environment import Object
from tests.kube.node.fields import refuse_unknown
from tests.kube.node.network import Network
from tests.kube.node.pause import Pause
from tests.kube.node.plan import House
from tests.kube.node.running import Container
from tests.kube.node.status import status
from tests.kube.node.volumes import NotMounted, Volumes

PACE = 0.2  # of probes
_TICK_S = 0.05
_LOOK_S = 0.2  # between two looks at what the API server wants of a pod
_LEAST_GRACE_S = 2.0  # a kubelet gives this much, whatever was used up before
_START_S = 60.0


class _Ending(Exception):
    """The pod is to end."""


class Pod:
    """A pod that was taken over; `events` tells what happened to it, in order.

    Args:
        api: where it is stored, and reported to.
        network: of the node.
        stored: the pod.
        home: where its volumes and logs are.
        pace: by how much the periods of its probes are shortened.
    """

    def __init__(self, api: Api, network: Network, stored: Object, home: Path, pace: float = PACE) -> None:
        refuse_unknown(stored["spec"])
        self.name, self.namespace = stored["metadata"]["name"], stored["metadata"]["namespace"]
        self.stored, self.home, self.trouble, self.phase = stored, home, "", "Pending"
        self.events: list[str] = []
        self.place = network.attach()
        self._api, self._network = api, network
        self._pause = Pause()
        self.volumes = Volumes(stored, home / "volumes", api, self._token, self._pause.mount)
        house = House(stored, home, self.place, self._pause.mounts, self.volumes, api)
        spec = stored["spec"]
        kinds = [("init", each) for each in spec.get("initContainers", ())]
        kinds = [("sidecar" if each.get("restartPolicy") == "Always" else kind, each) for kind, each in kinds]
        kinds += [("ordinary", each) for each in spec["containers"]]
        self.containers = [
            Container(each, house, network, self.events.append, pace, kind) for kind, each in kinds
        ]
        self.over = threading.Event()
        self._kill = threading.Event()
        self._reported: Object = {}
        self._looked = 0.0
        self._deadline = time.monotonic() + stored["spec"].get("activeDeadlineSeconds", math.inf)
        self._thread = threading.Thread(target=self._live, name=self.name, daemon=True)
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether Services send to it."""
        return self.phase == "Running" and all(one.ready for one in self.containers if one.kind != "init")

    @property
    def address(self) -> str:
        """Its address."""
        return self.place.address

    def container(self, name: str) -> Container:
        """Return one of its containers."""
        return next(one for one in self.containers if one.name == name)

    def log(self, container: str) -> str:
        """Return what a container has written."""
        return self.container(container).log.read_text(errors="replace")

    def memory_bytes(self, container: str) -> int:
        """Return the most memory that a container's first process ever had."""
        lines = Path(f"/proc/{self.container(container).pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

    def wait(self, holds: Callable[[], bool], what: str, timeout_s: float = _START_S) -> None:
        """Wait for something about it.

        Raises:
            AssertionError: it never came true; says what happened instead.
        """
        end = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < end, f"waited {timeout_s:g} s for {what}\n{self.story()}"
            time.sleep(_TICK_S)

    def wait_ready(self) -> None:
        """Wait until Services would send to it."""
        self.wait(lambda: self.ready, "the pod to be ready")

    def story(self) -> str:
        """What happened so far, and the last lines of each log."""
        told = [*self.events, self.trouble]
        for one in self.containers:
            told += [f"--- {one.name}", *one.log.read_text(errors="replace").splitlines()[-15:]]
        return "\n".join(told)

    def kill(self) -> None:
        """End it at once, whatever it does."""
        self._kill.set()
        self._thread.join()

    def _token(self, audience: str, seconds: int) -> bytes:
        account = self.stored["spec"].get("serviceAccountName", "default")
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{account}/token"
        wanted = {"expirationSeconds": seconds, **({"audiences": [audience]} if audience else {})}
        answer = self._api.ask("POST", path, {"spec": wanted})
        assert answer.status == 201, answer
        return str(answer.body["status"]["token"]).encode()

    def _live(self) -> None:
        try:
            self._begin()
            self._carry_on()
        except _Ending:
            self._end()
        except Exception as error:  # noqa: BLE001 - told: nobody waits for this thread
            self.trouble = f"{type(error).__name__}: {error}"
            self.events.append(self.trouble)
        finally:
            self._clean()

    def _begin(self) -> None:
        self._wait_for(self._volumes_made)
        for one in self.containers:
            if one.kind != "ordinary":
                one.start()
                self._wait_for(lambda one=one: self._has_done_its_part(one))  # type: ignore[misc]  # bound in the loop
        for one in self._of("ordinary"):
            one.start()
        self.phase = "Running"

    def _carry_on(self) -> None:
        """Until the ordinary containers have ended for good, or the pod is to end."""
        policy = self.stored["spec"].get("restartPolicy", "Always")

        def finished() -> bool:
            mains = self._of("ordinary")
            return policy != "Always" and all(
                one.code == 0 or (one.code is not None and policy == "Never") for one in mains
            )

        self._wait_for(finished)
        self.events.append("the ordinary containers have done their part")
        self._stop_all(self._of("sidecar"))
        self.phase = "Succeeded" if all(one.code == 0 for one in self._of("ordinary")) else "Failed"
        self._report()
        self._wait_for(lambda: False)

    def _volumes_made(self) -> bool:
        try:
            shutil.rmtree(self.home / "volumes", ignore_errors=True)
            self.volumes.make()
        except NotMounted as error:
            if str(error) != self.trouble:
                self.events.append(f"Warning FailedMount {error}")
            self.trouble = str(error)
            time.sleep(_LOOK_S)
            return False
        self.trouble = ""
        return True

    def _has_done_its_part(self, one: Container) -> bool:
        """Whether the next may begin: a sidecar has started, any other init container has ended well."""
        if one.kind == "sidecar":
            return one.started
        return one.code == 0

    def _wait_for(self, holds: Callable[[], bool]) -> None:
        while not holds():
            self._look()
            for one in self.containers:
                one.poll()
                if self._to_be_started(one):
                    one.start()
            self._report()
            time.sleep(_TICK_S)

    def _to_be_started(self, one: Container) -> bool:
        """Whether it ran, or was tried, and is to run again."""
        if one.running or not one.may_start or (one.code is None and not one.trouble):
            return False
        policy = "Always" if one.kind == "sidecar" else self.stored["spec"].get("restartPolicy", "Always")
        if self.phase in ("Succeeded", "Failed") or (one.kind == "init" and one.code == 0):
            return False
        return bool(one.trouble) or policy == "Always" or (policy == "OnFailure" and one.code != 0)

    def _look(self) -> None:
        """Ask whether the pod is to end.

        Raises:
            _Ending: it is.
        """
        if self._kill.is_set():
            raise _Ending
        if time.monotonic() > self._deadline:
            self._too_late()
        if time.monotonic() - self._looked < _LOOK_S:
            return
        self._looked = time.monotonic()
        found = self._api.get("pods", self.namespace, self.name)
        if found is None or found["metadata"]["uid"] != self.stored["metadata"]["uid"]:
            self._kill.set()
            raise _Ending
        if "deletionTimestamp" in found["metadata"]:
            self.stored["metadata"]["deletionGracePeriodSeconds"] = found["metadata"][
                "deletionGracePeriodSeconds"
            ]
            raise _Ending

    def _too_late(self) -> None:
        """End what has taken too long; it has failed then, and is not tried again."""
        self._deadline = math.inf
        self.events.append("DeadlineExceeded")
        self._stop_all(self.containers)
        self.phase = "Failed"

    def _end(self) -> None:
        if not self._kill.is_set():
            self.events.append("the pod is to end")
            self._stop_all(self.containers)
            self._report()
            self._api.remove("pods", self.namespace, self.name, grace_s=0)

    def _stop_all(self, containers: Sequence[Container]) -> None:
        """End containers as a kubelet does: hooks at once, ordinary ones, then sidecars, the last first."""
        grace_s = float(self.stored["metadata"].get("deletionGracePeriodSeconds", 30))
        stopping = [threading.Thread(target=self._stop, args=(one, grace_s)) for one in containers]
        for one in containers:
            one.stop_probes("startupProbe", "livenessProbe")
        for thread in stopping:
            thread.start()
        while any(thread.is_alive() for thread in stopping):
            self._report()
            time.sleep(_TICK_S)

    def _stop(self, one: Container, grace_s: float) -> None:
        end = time.monotonic() + grace_s
        one.pre_stop(grace_s)
        for before in self._that_end_before(one):
            before.terminated.wait(max(0.0, end - time.monotonic()))
        one.stop(max(_LEAST_GRACE_S, end - time.monotonic()))

    def _that_end_before(self, one: Container) -> list[Container]:
        if one.kind != "sidecar":
            return []
        later = self.containers[self.containers.index(one) + 1 :]
        waited_for = [each for each in later if each.kind in ("sidecar", "ordinary")]
        return [each for each in waited_for if each.running]

    def _of(self, kind: str) -> list[Container]:
        return [one for one in self.containers if one.kind == kind]

    def _report(self) -> None:
        told = status(self.containers, self.address, self.phase, self.trouble)
        if told != self._reported:
            self._reported = told
            self._api.report(self.namespace, self.name, told)

    def _clean(self) -> None:
        for one in self.containers:
            one.stop_probes("startupProbe", "livenessProbe", "readinessProbe")
            one.kill()
        self._pause.close()
        self.over.set()
