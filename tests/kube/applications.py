"""Applications that ask for a sidecar and are really run, policies for them, and who calls them."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from authz.proxy.client import Reply
from authz.proxy.keys import Wanted, make_keys
from tests.kube.kubelet import NODE, Kubelet
from tests.kube.node.images import SAMPLE
from tests.kube.node.pod import Pod
from tests.kube.pods import Release

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


def bound(release: Release, app: str) -> str:
    """Wait for the pod that the controllers make for a Deployment on our node; return its name."""
    found: list[str] = []

    def made() -> bool:
        pods = release.cluster.list("pods", release.namespace, f"app={app}")
        here = [one for one in pods if one["spec"].get("nodeName") == NODE]
        found.extend(one["metadata"]["name"] for one in here if "deletionTimestamp" not in one["metadata"])
        return bool(found)

    release.cluster.until(made, f"a pod of {app} on {NODE}")
    return found[0]


def run(release: Release, kubelet: Kubelet, *objects: Mapping[str, Any]) -> Pod:
    """Create a Deployment and what goes with it, and run its pod."""
    release.cluster.apply(*objects, namespace=release.namespace)
    return kubelet.run(release.namespace, bound(release, objects[0]["metadata"]["name"]))


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
