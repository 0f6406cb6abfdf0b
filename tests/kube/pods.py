"""Pods and Services as people write them, and what an API server makes of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, NamedTuple

from tests.kube.api import Answer, Api
from tests.kube.cluster import Cluster, Helm

Object = dict[str, Any]

LABEL = "sidecar.authz/inject"
PORT_KEY = "sidecar.authz/service-port"
HOSTS = "items.example.com"
INJECTED = ("authz-init", "authz", "authz-envoy")
_APPLICATION: Object = {
    "name": "application",
    "image": "items:1",
    "ports": [{"name": "http", "containerPort": 8080}],
    "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}},
    "livenessProbe": {"httpGet": {"path": "/live", "port": "http"}},
}


class Created(NamedTuple):
    """What an API server answered to an object that was given to it.

    Args:
        stored: as it would be stored; empty where it was refused.
        why: the sentence of the refusal; "" where there is none.
    """

    stored: Object
    why: str


class Release(NamedTuple):
    """The chart, installed.

    Args:
        name, namespace: the release's.
        api: asked as the administrator.
    """

    name: str
    namespace: str
    cluster: Cluster
    api: Api

    def create(self, thing: Mapping[str, Any], namespace: str = "", *, real: bool = False) -> Created:
        """Create a pod or a Service; unless `real`, it is judged like any other and then forgotten."""
        kind = f"{thing['kind'].lower()}s"
        dry = "" if real else "?dryRun=All"
        path = f"/api/v1/namespaces/{namespace or self.namespace}/{kind}{dry}"
        return read(self.api.ask("POST", path, thing))

    def change(
        self, kind: str, name: str, fields: Mapping[str, Any], namespace: str = "", *, below: str = ""
    ) -> Created:
        """Merge fields into an object, or into what is `below` it (`/scale`), and forget it."""
        path = f"/api/v1/namespaces/{namespace or self.namespace}/{kind}/{name}{below}?dryRun=All"
        return read(self.api.ask("PATCH", path, fields, "application/strategic-merge-patch+json"))

    def in_force(self, annotations: Mapping[str, str]) -> bool:
        """Tell whether labelled pods and Services get what they ask for, and are refused where they err.

        The API server learns of policies a moment after they were stored.
        """
        injected = self.create(pod(annotations, name="probe")).stored.get("spec", {}).get("initContainers")
        moved = self.create(service()).stored.get("spec", {}).get("ports", [{}])[0].get("targetPort")
        return bool(injected) and moved == "authz-http" and self._refuses() == 2

    def is_gone(self) -> bool:
        """Tell whether nothing of the release judges any more, so that the next one's tests may begin."""
        return self._refuses() == 0

    def _refuses(self) -> int:
        """Return how many of its two guards refuse what those of other releases let pass."""
        claims = pod(name="probe", initContainers=[{"name": "authz", "image": "mine"}])
        ports = ({"name": "a", "port": 1, "targetPort": "authz-http"}, {"name": "b", "port": 2})
        guard = f"'{self.name}-authz-guard"
        return sum(guard in self.create(each).why for each in (claims, service(ports)))


@contextmanager
def release(
    helm: Helm,
    cluster: Cluster,
    chart: str,
    name: str,
    namespace: str,
    values: Mapping[str, Any],
    annotations: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Release]:
    """Install the chart, and wait until labelled pods are judged; leaving removes it.

    Args:
        annotations: with which a pod is good.
    """
    given = json.dumps({"sidecar": {"hosts": [HOSTS]}, **values})
    where = ("-n", namespace)
    api = Api(cluster)
    helm("upgrade", "--install", name, chart, *where, "--values=-", given=given)
    ours = Release(name, namespace, cluster, api)
    try:
        cluster.until(lambda: ours.in_force(annotations), "the policies to be in force")
        yield ours
    finally:
        helm("uninstall", name, *where)
        cluster.until(ours.is_gone, "the policies to be gone")
        api.close()


def read(answer: Answer) -> Created:
    """Read what the API server said to a change."""
    if answer.status >= 300:
        return Created({}, answer.body["message"])
    answer.body["metadata"].pop("managedFields", None)
    return Created(answer.body, "")


def pod(
    annotations: Mapping[str, str] | None = None, label: str | None = "true", name: str = "items", **spec: Any
) -> Object:
    """Return a pod with one container that asks for the sidecar."""
    labels = {"app": "items", **({LABEL: label} if label is not None else {})}
    metadata: Object = {"name": name, "labels": labels}
    if annotations:
        metadata["annotations"] = dict(annotations)
    containers = copy.deepcopy([_APPLICATION])
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": containers, **spec},
    }


def service(
    ports: Sequence[Mapping[str, Any]] = ({"port": 80, "targetPort": 8080},),
    annotations: Mapping[str, str] | None = None,
    label: str = "true",
) -> Object:
    """Return a Service that asks to be led to Envoy."""
    metadata: Object = {"name": "items", "labels": {LABEL: label}, "annotations": dict(annotations or {})}
    spec: Object = {"selector": {"app": "items"}, "ports": [dict(port) for port in ports]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def as_manifest(stored: Mapping[str, Any]) -> Object:
    """Return a stored object as somebody would send it again."""
    again = copy.deepcopy(dict(stored))
    for field in ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"):
        again["metadata"].pop(field, None)
    again.pop("status", None)
    return again


def named(items: Sequence[Mapping[str, Any]], name: str) -> Any:
    """Return the item of a list that has this name."""
    (found,) = (each for each in items if each["name"] == name)
    return found
