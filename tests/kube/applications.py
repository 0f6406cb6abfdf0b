"""What tests install: the chart, and applications that ask for a sidecar; and who calls these."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from authz.proxy.client import Reply
from authz.proxy.keys import Wanted, make_keys
from tests.kube.cluster import Cluster, Helm
from tests.kube.kubelet import NODE, Kubelet
from tests.kube.node.images import SAMPLE
from tests.kube.node.pod import Pod

Object = dict[str, Any]
PEPPER = "pepper-of-the-tests-of-the-chart-32-bytes"
HOST = "items.test"
POLICIES = """\
apiVersion: policy.authz/v1alpha1
kind: Policy
metadata: {name: items}
spec:
  hosts: [items.test]
  rules:
    - {name: read, effect: allow, paths: ["/items/**", "/slow/**"], identity: [keys]}
    - {name: rare, effect: allow, paths: [/rare], identity: [keys], limits: [two]}
    - {name: public, effect: allow, paths: ["/public/**"], identity: [anyone]}
---
apiVersion: policy.authz/v1alpha1
kind: IdentityProvider
metadata: {name: keys}
spec:
  apiKey:
    in: [{header: x-api-key}]
---
apiVersion: policy.authz/v1alpha1
kind: Limit
metadata: {name: two}
spec: {per: [identity.key_id], rate: 2/d}
"""


def deployment(name: str, *, replicas: int = 1, **more: Any) -> Object:
    """Return a Deployment of the sample application that asks for a sidecar.

    Args:
        name: its name, and the value of its label `app`.
        more: `annotations`, `env`, `labels` of its pods; `container` and `pod` are merged into their `spec`.
    """
    probe = {"httpGet": {"path": "/healthz", "port": "web"}, "periodSeconds": 5}
    container = {
        "name": "application",
        "image": f"{SAMPLE}:1",
        "env": [{"name": "PORT", "value": "8080"}, *more.get("env", ())],
        "ports": [{"name": "web", "containerPort": 8080}],
        "readinessProbe": probe,
        "livenessProbe": probe,
        **more.get("container", {}),
    }
    labels = {"app": name, "sidecar.authz/inject": "true", **more.get("labels", {})}
    metadata = {"labels": labels, "annotations": {"sidecar.authz/hosts": HOST, **more.get("annotations", {})}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": metadata,
                "spec": {"containers": [container], "nodeName": NODE, **more.get("pod", {})},
            },
        },
    }


def service(name: str, port: int = 80) -> Object:
    """Return a Service of that application, as it stood before anybody thought of a sidecar."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {"sidecar.authz/inject": "true"}},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": port, "targetPort": "web"}]},
    }


@dataclass(frozen=True, slots=True)
class Release:
    """The chart, installed.

    Args:
        cluster: where.
        helm: by which Helm.
        chart: where the chart is.
        name: of the release.
        namespace: of the release, which it serves.
    """

    cluster: Cluster
    helm: Helm
    chart: str
    name: str
    namespace: str

    def pod_name(self, app: str) -> str:
        """Return the pod that the controllers have made for a Deployment."""
        found: list[str] = []

        def made() -> bool:
            pods = self.cluster.list("pods", self.namespace, f"app={app}")
            found.extend(
                one["metadata"]["name"] for one in pods if "deletionTimestamp" not in one["metadata"]
            )
            return bool(found)

        self.cluster.until(made, f"a pod of {app}")
        return found[0]

    def run(self, kubelet: Kubelet, *objects: Mapping[str, Any]) -> Pod:
        """Create a Deployment and what goes with it, and run its pod."""
        self.cluster.apply(*objects, namespace=self.namespace)
        return kubelet.run(self.namespace, self.pod_name(objects[0]["metadata"]["name"]))


@contextmanager
def released(
    cluster: Cluster, helm: Helm, chart: str, name: str, values: Mapping[str, Any]
) -> Iterator[Release]:
    """Install the chart into a namespace of its own; leaving takes both away."""
    namespace = cluster.create_namespace(name)
    given = json.dumps(values)
    try:
        helm("install", name, chart, "-n", namespace, "--values", "-", given=given)
        wait_injecting(cluster, namespace)
        yield Release(cluster, helm, chart, name, namespace)
    finally:
        helm("uninstall", name, "-n", namespace, check=False)
        cluster.delete_namespace(namespace)


def wait_injecting(cluster: Cluster, namespace: str) -> None:
    """Wait until the API server knows its new policies: a moment after they are stored."""
    pod = deployment("trial")["spec"]["template"]
    trial = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "trial", **pod["metadata"]},
        "spec": pod["spec"],
    }

    def injected() -> bool:
        said = cluster.kubectl(
            "create",
            "-n",
            namespace,
            "--dry-run=server",
            "-o",
            "name",
            "-f",
            "-",
            given=json.dumps(trial),
            check=False,
        )
        if said.code:
            return False
        said = cluster.kubectl(
            "create", "-n", namespace, "--dry-run=server", "-o", "json", "-f", "-", given=json.dumps(trial)
        )
        return "authz-init" in said.out

    cluster.until(injected, "pods to be injected")


def keys(directory: Path, *names: str) -> tuple[dict[str, str], str]:
    """Make API keys for `POLICIES`; return their tokens, and the documents that go into a policy set."""
    tokens = make_keys([Wanted(name, name, provider="keys") for name in names], PEPPER, directory)
    return tokens, "---\n".join(path.read_text() for path in sorted(directory.glob("*.yaml")))


@dataclass(frozen=True, slots=True)
class Caller:
    """A client somewhere in the cluster.

    Args:
        kubelet: on whose network.
        address: whom it calls.
        port: where.
    """

    kubelet: Kubelet
    address: str
    port: int

    def get(self, path: str, token: str = "", host: str = HOST, **headers: str) -> Reply:
        """Send one request on a connection of its own."""
        line = http.client.HTTPConnection(self.address, self.port, timeout=10)
        line.sock = self.kubelet.network.connect(self.address, self.port)
        sent = {"host": host, **({"x-api-key": token} if token else {}), **headers}
        try:
            line.request("GET", path, headers=sent)
            answer = line.getresponse()
            got = tuple((name.lower(), value) for name, value in answer.getheaders())
            return Reply(answer.status, got, answer.read())
        finally:
            line.close()


def endpoints(kubelet: Kubelet, namespace: str, name: str) -> list[tuple[str, int]]:
    """Return where a Service sends, as the API server's own controller has worked it out."""
    path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?labelSelector="
    slices = kubelet.api.items(f"{path}kubernetes.io%2Fservice-name%3D{name}")
    return [
        (each["addresses"][0], port["port"])
        for one in slices
        for each in one["endpoints"] or ()
        for port in one["ports"] or ()
        if each["conditions"].get("ready")
    ]
