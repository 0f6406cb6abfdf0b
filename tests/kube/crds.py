"""What Istio, Gateway API and Envoy Gateway tell an API server of their objects: their own files, unchanged.

They come out of pinned Go modules, whose hashes the checksum database of Go vouches for, into Go's own cache.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.kube import tools
from tests.kube.cluster import Cluster, run

ENVOY_GATEWAY = "1.9.1"
ISTIO = "1.31.1"
PROMETHEUS_OPERATOR = "0.85.0"


class Source(NamedTuple):
    """Where definitions stand.

    Args:
        module, version: of Go.
        files: in it, or folders.
        kinds: those that the chart makes; empty: all. All of Envoy Gateway's take half a minute.
    """

    module: str
    version: str
    files: tuple[str, ...]
    kinds: frozenset[str] = frozenset()


_CRDS = "charts/gateway-helm/charts/crds/crds"
OF_ISTIO = Source(
    "istio.io/api",
    ISTIO,
    ("kubernetes/customresourcedefinitions.gen.yaml",),
    frozenset(("ServiceEntry", "AuthorizationPolicy", "PeerAuthentication")),
)
OF_ENVOY_GATEWAY = Source(
    "github.com/envoyproxy/gateway",
    ENVOY_GATEWAY,
    (f"{_CRDS}/gatewayapi-crds.yaml", f"{_CRDS}/generated"),  # the first are those of Gateway API
    frozenset(("SecurityPolicy", "ClientTrafficPolicy", "EnvoyProxy", "BackendTLSPolicy", "ReferenceGrant")),
)
OF_PROMETHEUS = Source(
    "github.com/prometheus-operator/prometheus-operator",
    PROMETHEUS_OPERATOR,
    tuple(
        f"example/prometheus-operator-crd/monitoring.coreos.com_{name}.yaml"
        for name in ("podmonitors", "prometheusrules")
    ),
)


@contextmanager
def stand_ins(cluster: Cluster, kinds: Mapping[str, str]) -> Iterator[None]:
    """Let an API server store kinds (to `group/version`) whatever stands in them; leaving waits.

    The real definitions of Envoy Gateway take half a minute.
    """
    given = "\n---\n".join(json.dumps(_stand_in(kind, group)) for kind, group in kinds.items())
    cluster.kubectl("apply", "--server-side", "-f", "-", given=given)
    try:
        cluster.until(lambda: _established(cluster, given), "the definitions to be established")
        yield
    finally:
        cluster.kubectl("delete", "-f", "-", given=given)


def _stand_in(kind: str, group_version: str) -> dict[str, Any]:
    group, _, version = group_version.partition("/")
    plural = kind.lower().removesuffix("y") + ("ies" if kind.endswith("y") else "s")
    anything = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{group}",
            # Groups of Kubernetes' own ask who allowed it.
            "annotations": {"api-approved.kubernetes.io": "unapproved, a stand-in of tests"},
        },
        "spec": {
            "group": group,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "scope": "Namespaced",
            "versions": [{"name": version, "served": True, "storage": True, "schema": anything}],
        },
    }


@contextmanager
def installed(cluster: Cluster, source: Source) -> Iterator[None]:
    """Teach an API server what a source defines; leaving takes it away with all its objects."""
    given = "\n---\n".join(map(json.dumps, _definitions(source)))
    cluster.kubectl("apply", "--server-side", "-f", "-", given=given)
    try:
        cluster.until(lambda: _established(cluster, given), "the definitions to be established")
        yield
    finally:
        cluster.kubectl("delete", "--wait=false", "-f", "-", given=given)


def _established(cluster: Cluster, given: str) -> bool:
    """Tell whether all that was applied is served. `kubectl wait` fails where one has no status yet."""
    found = json.loads(cluster.kubectl("get", "-f", "-", "-o", "json", given=given).out)
    conditions = [one.get("status", {}).get("conditions") or () for one in found.get("items", [found])]
    return all(any(c["type"] == "Established" and c["status"] == "True" for c in each) for each in conditions)


def _definitions(source: Source) -> list[dict[str, Any]]:
    root, found = _module(source), []
    for name in source.files:
        for path in sorted((root / name).iterdir()) if (root / name).is_dir() else [root / name]:
            found += list(yaml.load_all(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader))
    definitions = [one for one in found if one and one["kind"] == "CustomResourceDefinition"]
    wanted = [one for one in definitions if not source.kinds or one["spec"]["names"]["kind"] in source.kinds]
    assert len(wanted) >= len(source.kinds), f"{source.module} has no longer all of {sorted(source.kinds)}"
    return wanted


def _module(source: Source) -> Path:
    """Return the folder of a module, fetched where it was not."""
    said = run(["go", "mod", "download", "-json", f"{source.module}@v{source.version}"])
    if said.code:
        tools.missing(f"`{source.module}` cannot be fetched: {said.err or said.out}")
    return Path(json.loads(said.out)["Dir"])
