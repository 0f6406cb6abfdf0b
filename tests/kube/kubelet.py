"""Runs pods as the API server stored them: their own containers, as processes of this machine.

Each pod has a network and mounts of its own, each container its own processes, user and root; its volumes
are made of what the API server holds, its probes are sent, its status is reported, and it ends in the order
in which a kubelet ends it. A field that is not known here is refused (`node/fields.py`), so that nothing is
stored that no test has seen work. `node/` has the parts.

Not shown, because no container engine is here: limits of processor and memory (memory is measured instead),
seccomp, what an image holds beside its program, and a cluster's DNS (`/etc/hosts` names its Services).
Periods of probes and back-offs are shorter than in a cluster, so that tests need not wait.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from authz.proxy.stage import short_directory
from tests.kube.api import Api
from tests.kube.node.logs import LogDoor
from tests.kube.node.network import Network
from tests.kube.node.pod import PACE, Pod
from tests.kube.node.services import ServiceProxy

NODE = "this-machine"
_ADOPTED_S = 60.0
# No endpoint of a Service is on a node that nobody knows. The scheduler leaves it alone.
_NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": NODE},
    "spec": {"unschedulable": True},
}


class Kubelet:
    """The node of these tests: runs the pods that are bound to it and that a test names.

    Args:
        api: where pods are stored.
        network: of the node.
        home: for their volumes and logs.
    """

    def __init__(self, api: Api, network: Network, home: Path) -> None:
        self.api, self.network = api, network
        self._home = home
        self._pods: list[Pod] = []
        self._services: list[ServiceProxy] = []
        self._logs = LogDoor(self._find, home)
        self._join()

    def run(self, namespace: str, name: str, pace: float = PACE) -> Pod:
        """Take a pod over.

        Raises:
            NotHonoured: it says something that is not known here.
        """
        stored = self.api.get("pods", namespace, name)
        assert stored is not None, f"there is no pod {name}"
        assert stored["spec"].get("nodeName") == NODE, f"pod {name} is not bound to {NODE}"
        home = self._home / f"{len(self._pods)}"
        home.mkdir()
        self._pods.append(pod := Pod(self.api, self.network, stored, home, pace))
        return pod

    def adopt(self, namespace: str, name: str) -> Pod:
        """Bind a pod that no node has, and take it over; waits until somebody creates it."""
        target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        path = f"/api/v1/namespaces/{namespace}/pods/{name}/binding"
        end = time.monotonic() + _ADOPTED_S
        while (answer := self.api.ask("POST", path, binding)).status != 201:
            assert time.monotonic() < end, f"nobody made {name}: {answer.body.get('message')}"
            time.sleep(0.1)
        return self.run(namespace, name)

    def serve(self, namespace: str, service: str) -> ServiceProxy:
        """Answer at a Service's address."""
        self._services.append(made := ServiceProxy(self.api, self.network, namespace, service))
        return made

    def close(self) -> None:
        """End all that runs."""
        for service in self._services:
            service.close()
        self._logs.close()
        for pod in self._pods:
            pod.kill()
            self.network.detach(pod.place)
        self.network.close()
        self.api.ask("DELETE", f"/api/v1/nodes/{NODE}")

    def _join(self) -> None:
        """Tell the API server of the node, and where it asks for logs."""
        answer = self.api.ask("POST", "/api/v1/nodes", _NODE)
        assert answer.status == 201, answer
        status = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._logs.port}},
        }
        kind = "application/merge-patch+json"
        answer = self.api.ask("PATCH", f"/api/v1/nodes/{NODE}/status", {"status": status}, kind)
        assert answer.status == 200, answer

    def _find(self, namespace: str, name: str) -> Pod | None:
        """Return the youngest pod of a name."""
        named = [pod for pod in self._pods if (pod.namespace, pod.name) == (namespace, name)]
        return named[-1] if named else None


def needs_namespaces() -> None:
    """Skip where this process may not make namespaces; fail where CI says that it must."""
    with suppress(OSError, subprocess.CalledProcessError):
        if os.geteuid() == 0:
            Network().close()
            return
    why = "needs root, and the right to make namespaces: pods run in networks and mounts of their own"
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)


@contextmanager
def kubelet(api: Api) -> Iterator[Kubelet]:
    """Start a kubelet, its node known to the API server; leaving ends every pod of it."""
    needs_namespaces()
    home = short_directory()
    home.chmod(0o755)
    made = Kubelet(api, Network(), home)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(home, ignore_errors=True)
