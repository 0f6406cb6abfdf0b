"""`authz inject-webhook` as the chart runs it, but as a process here: its arguments, its file, its rights.

What Kubernetes would do between API server and pod is done here: the Service is made one of the type
ExternalName, so the API server connects to this machine, by the Service's name and with the bundle it finds.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from authz.proxy.process import Child, Plan
from tests.kube.api import Api
from tests.kube.cluster import Cluster
from tests.kube.kubelet import NODE, Kubelet, kubelet
from tests.kube.node.pod import Pod
from tests.support.http import get
from tests.support.redis import LOOPBACK, free_ports

START_S = 60.0
_AUTHZ = str(Path(sys.executable).with_name("authz"))
_CHUNK_BYTES = 64 * 1024


class Replica:
    """One process of a Deployment of the chart's.

    Args:
        port: where it is asked by the API server; 0 where nobody asks it.
        ops: where its operators' door is.
        mount: writes the files of its ConfigMap anew, as a kubelet does a minute after they changed.
    """

    def __init__(self, child: Child, port: int, ops: int, mount: Callable[[], None]) -> None:
        self.child = child
        self.port = port
        self.ops = ops
        self.mount = mount

    def status(self, path: str) -> int:
        """Return the status of a page of its operators' door; 0 where nobody answers."""
        try:
            return get(f"{LOOPBACK}:{self.ops}", path)[0]
        except OSError:
            return 0

    def connect(self) -> socket.socket:
        """Connect as an API server does."""
        return socket.create_connection((LOOPBACK, self.port))

    def metric(self, line: str) -> float | None:
        """Return the value of a series, named as `/metrics` names it; None: it is not there."""
        for each in get(f"{LOOPBACK}:{self.ops}", "/metrics")[1].splitlines():
            name, _, value = each.rpartition(" ")
            if name == line:
                return float(value)
        return None

    def leave(self) -> int | None:
        """End it as a cluster would; return its exit code."""
        self.child.send(signal.SIGTERM)
        return self.child.wait(START_S)


@contextmanager
def replica(cluster: Cluster, namespace: str, deployment: str, home: Path) -> Iterator[Replica]:
    """Run what a Deployment says, as its service account, and wait until it is ready."""
    spec = cluster.get("deployment", deployment, namespace)["spec"]["template"]["spec"]
    port, ops = free_ports(2)
    home.mkdir()

    def mount() -> None:
        _mount(cluster, namespace, spec, home)

    mount()
    words = _words(spec, home, port, ops)
    account = cluster.service_account_kubeconfig(namespace, spec["serviceAccountName"])
    plan = Plan(
        "webhook", [_AUTHZ, *words], home / "log", home / "log", {"KUBECONFIG": str(account), "HOME": "/none"}
    )
    with Child(plan) as child:
        ours = Replica(child, port, ops, mount)
        child.wait_until(lambda: ours.status("/ready") == 200, START_S)
        yield ours


def _mount(cluster: Cluster, namespace: str, spec: dict[str, Any], home: Path) -> None:
    (volume,) = spec["volumes"]
    for name, text in cluster.get("configmap", volume["configMap"]["name"], namespace)["data"].items():
        (home / "new").write_text(text)
        (home / "new").rename(home / name)


def _words(spec: dict[str, Any], home: Path, port: int, ops: int) -> list[str]:
    (container,) = spec["containers"]
    (mount,) = container["volumeMounts"]
    assert container["command"] == ["authz"]
    words = []
    for word in container["args"]:
        flag, _, value = str(word).partition("=")
        here = {"--listen": f"{LOOPBACK}:{port}", "--ops": f"{LOOPBACK}:{ops}"}
        moved = here.get(flag, value.replace(mount["mountPath"], str(home)))
        words.append(f"{flag}={moved}" if moved else flag)
    return [*words, *(["--drain=1"] if "inject-webhook" in words else [])]


def lead_here(cluster: Cluster, namespace: str, service: str) -> None:
    """Have a Service lead to this machine, at the port that it has."""
    spec = {"type": "ExternalName", "externalName": "localhost", "clusterIP": None, "clusterIPs": None}
    text = json.dumps({"spec": spec})
    cluster.kubectl("patch", "service", service, "-n", namespace, "--type=merge", "-p", text)


Connect = Callable[[], socket.socket]


class Balancer:
    """What kube-proxy would be: connections to a port go to the backends in turn, to those that take them.

    Args:
        listener: where connections come from.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._backends: list[Connect] = []
        self._lines: set[socket.socket] = set()
        self._turn = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def lead_to(self, *backends: Connect) -> None:
        """Send what connects from now on there; who is connected stays so."""
        self._backends = list(backends)

    def hang_up(self) -> None:
        """Break every connection."""
        for line in list(self._lines):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop to listen."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(caller,), daemon=True).start()

    def _carry(self, caller: socket.socket) -> None:
        with ExitStack() as stack:
            stack.enter_context(caller)
            self._lines.add(caller)
            stack.callback(self._lines.discard, caller)
            backend = self._connect()
            if backend is None:
                return
            stack.enter_context(backend)
            for end in (caller, backend):  # what carries in a cluster waits for no further bytes either
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=_pump, args=(backend, caller), daemon=True)
            back.start()
            _pump(caller, backend)
            back.join()

    def _connect(self) -> socket.socket | None:
        backends = self._backends
        for _ in backends:
            self._turn += 1
            with suppress(OSError):
                return backends[self._turn % len(backends)]()
        return None


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(_CHUNK_BYTES):
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def api_server_within(node: Kubelet, cluster: Cluster) -> Iterator[None]:
    """Let pods of a node reach the API server at the address of its Service."""
    address = cluster.get("service", "kubernetes")["spec"]["clusterIP"]
    node.network.own_address(address)
    listener = node.network.socket()
    listener.bind((address, 443))
    listener.listen()
    balancer = Balancer(listener)
    real = urlsplit(cluster.url)
    balancer.lead_to(lambda: socket.create_connection((str(real.hostname), int(real.port or 0))))
    try:
        yield
    finally:
        balancer.close()


@contextmanager
def own_pod(cluster: Cluster, api: Api, namespace: str, deployment: str) -> Iterator[tuple[Pod, Connect]]:
    """Run a pod of a Deployment of the chart's as it is stored; yield it, and who connects to it."""
    host = cluster.get("service", "kubernetes")["spec"]["clusterIP"]
    # As every kubelet tells every container, whatever `enableServiceLinks` says.
    env = [
        {"name": "KUBERNETES_SERVICE_HOST", "value": host},
        {"name": "KUBERNETES_SERVICE_PORT", "value": "443"},
    ]
    spec = {"nodeName": NODE, "containers": [{"name": "webhook", "env": env}]}
    change = {"spec": {"template": {"metadata": {"labels": {"here": "true"}}, "spec": spec}}}
    cluster.kubectl("patch", "deployment", deployment, "-n", namespace, "-p", json.dumps(change))
    with kubelet(api) as node, api_server_within(node, cluster):
        cluster.until(lambda: bool(cluster.list("pods", namespace, "here=true")), "a pod to be made")
        made = cluster.list("pods", namespace, "here=true")[0]
        pod = node.run(namespace, made["metadata"]["name"])
        pod.wait_ready()
        (port,) = (each["containerPort"] for each in made["spec"]["containers"][0]["ports"][:1])
        yield pod, lambda: node.network.connect(pod.address, port)
