"""Releases of the chart's variants, each Helm's by a name of its own; and all that an API server holds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.kube import crds
from tests.kube.api import Answer, Api
from tests.kube.cluster import Cluster, Helm, Said
from tests.support.chart import CHART, values_of

HOME, SHOP, EDGE = "chart-home", "chart-shop", "edge"
Object = dict[str, Any]

# Held to the real definitions by test_istio.py and test_gateway.py; here it is about Helm.
_KINDS = {
    "AuthorizationPolicy": "security.istio.io/v1",
    "PeerAuthentication": "security.istio.io/v1",
    "ServiceEntry": "networking.istio.io/v1",
    "SecurityPolicy": "gateway.envoyproxy.io/v1alpha1",
    "ClientTrafficPolicy": "gateway.envoyproxy.io/v1alpha1",
    "EnvoyProxy": "gateway.envoyproxy.io/v1alpha1",
    "BackendTLSPolicy": "gateway.networking.k8s.io/v1",
    "ReferenceGrant": "gateway.networking.k8s.io/v1beta1",
}
# What a cluster makes by itself all the time.
_ITS_OWN = {"events", "leases", "componentstatuses", "ipaddresses"}


@contextmanager
def places(cluster: Cluster) -> Iterator[None]:
    """Make namespaces, held to the strictest pod security standard, and let foreign kinds be stored.

    The namespaces stay, for the next module: they are empty.
    """
    strict = {f"pod-security.kubernetes.io/{each}": "restricted" for each in ("enforce", "warn")}
    for name in (HOME, SHOP, EDGE):
        cluster.create_namespace(name, strict)
    with ExitStack() as stack:
        stack.enter_context(crds.installed(cluster, crds.OF_PROMETHEUS))
        stack.enter_context(crds.stand_ins(cluster, _KINDS))
        yield


def remove_pods(cluster: Cluster) -> None:
    """Take at once what is left of pods: else they take the half minute that they are granted."""
    for name in (HOME, SHOP):
        cluster.kubectl("delete", "pods", "--all", "-n", name, "--grace-period=0", "--force")


def everything(api: Api) -> set[str]:
    """Return kind, namespace and name of every object that the API server lists."""
    return {_called(kind, made) for path, kind in _lists(api) for made in api.named(path)}


def _called(kind: str, made: Object) -> str:
    meta = made["metadata"]
    return f"{kind} {meta.get('namespace', '')}/{meta['name']}"


def _lists(api: Api) -> Iterator[tuple[str, str]]:
    """Return every path that lists objects, and their kind."""
    told = api.ask("GET", "/apis").body["groups"]
    groups = [version["groupVersion"] for each in told for version in each["versions"]]
    for at in ("/api/v1", *(f"/apis/{each}" for each in groups)):
        for each in api.ask("GET", at).body["resources"]:
            if "list" in each["verbs"] and each["name"] not in _ITS_OWN:
                yield f"{at}/{each['name']}", each["kind"]


class Trial:
    """The chart, installed by one of the Helms under a name of its own.

    Args:
        helm: which installs it.
        name: of the release.
    """

    def __init__(self, helm: Helm, name: str) -> None:
        self.helm = helm
        self.name = f"{name}-{helm.key}"

    def install(self, variant: str, *more: str, check: bool = True) -> Said:
        """Install a variant."""
        return self._run("install", variant, more, check)

    def upgrade(self, variant: str, *more: str, check: bool = True) -> Said:
        """Make it another variant."""
        return self._run("upgrade", variant, more, check)

    def uninstall(self) -> None:
        """Take it away; what never was is no error."""
        self.helm("uninstall", self.name, f"--namespace={HOME}", "--ignore-not-found")

    def _run(self, verb: str, variant: str, more: Sequence[str], check: bool) -> Said:
        chosen = (values_of(variant), f"--set=namespaces={{{SHOP}}}", "--output=json", *more)
        return self.helm(verb, self.name, str(CHART), f"--namespace={HOME}", *chosen, check=check)


def sent(said: Said) -> set[str]:
    """Return what a release says that it consists of: kind and name."""
    lines = json.loads(said.out)["manifest"].splitlines()
    return {line.removeprefix("kind: ") for line in lines if line.startswith("kind: ")}


def application(name: str, replicas: int = 1, annotations: Mapping[str, str] | None = None) -> Object:
    """Return a Deployment of pods that ask for a sidecar, as restricted as ours."""
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    labels = {"app": name, "sidecar.authz/inject": "true"}
    hosts = {"sidecar.authz/hosts": "items.example.com", **(annotations or {})}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": labels, "annotations": hosts},
                "spec": {"containers": [{"name": "items", "image": "items:1", "securityContext": security}]},
            },
        },
    }


def tried(api: Api, port: int = 9180) -> Answer:
    """Return what becomes of a pod whose Envoy is to listen at that port; it is judged, and not stored."""
    template = application("ports", annotations={"sidecar.authz/listen-port": str(port)})
    pod = {"apiVersion": "v1", "kind": "Pod", **template["spec"]["template"]}
    pod["metadata"]["name"] = "ports"
    return api.ask("POST", f"/api/v1/namespaces/{SHOP}/pods?dryRun=All", pod)
