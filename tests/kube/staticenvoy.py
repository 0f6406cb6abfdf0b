"""An Envoy for what a control plane would have told it: the same resources, written into one bootstrap.

Only what a control plane delivers by itself is put in place: addresses of this machine for those of a
cluster, files for secrets. What a filter or a connection is told stays as it came.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Made = dict[str, Any]
_LOOPBACK = "127.0.0.1"


def bootstrap(
    dump: Sequence[Made], listens: int, reached: Mapping[str, int], secrets: Mapping[str, Made], admin: int
) -> str:
    """Return the bootstrap of an Envoy, as JSON.

    Args:
        dump: parts of Envoy's configuration dump.
        listens: the port for its one listener with routes; others tell its own metrics.
        reached: what is in a cluster's name -> the port where its server is here.
        secrets: name -> the secret, in Envoy's words.
    """
    parts = copy.deepcopy(list(dump))
    routes = {one["name"]: one for one in _each(parts, "dynamicRouteConfigs", "routeConfig")}
    endpoints = {one["clusterName"]: one for one in _each(parts, "dynamicEndpointConfigs", "endpointConfig")}
    listeners = _each(parts, "dynamicListeners", "activeState", "listener")
    (listener,) = (one for one in listeners if any("rds" in each for each in _managers(one)))
    listener["address"] = _address(listens)
    for manager in _managers(listener):
        manager["routeConfig"] = routes[manager.pop("rds")["routeConfigName"]]
    clusters = [_static(one, endpoints, reached) for one in _each(parts, "dynamicActiveClusters", "cluster")]
    static = {
        "listeners": [listener],
        "clusters": clusters,
        "secrets": [{"name": name, **secret} for name, secret in secrets.items()],
    }
    _drop_sds(static)
    return json.dumps({"admin": {"address": _address(admin)}, "staticResources": static}, indent=1)


def _each(parts: Sequence[Made], key: str, *inner: str) -> Iterator[Made]:
    for part in parts:
        for one in part.get(key, ()):
            for word in inner:
                one = one[word]
            yield {name: value for name, value in one.items() if name != "@type"}


def _address(port: int) -> Made:
    return {"socketAddress": {"address": _LOOPBACK, "portValue": port}}


def _managers(listener: Made) -> Iterator[Made]:
    chains = [*listener.get("filterChains", ()), *filter(None, [listener.get("defaultFilterChain")])]
    for chain in chains:
        for one in chain["filters"]:
            if one["typedConfig"]["@type"].endswith("HttpConnectionManager"):
                yield one["typedConfig"]


def _static(cluster: Made, endpoints: Mapping[str, Made], reached: Mapping[str, int]) -> Made:
    """Return a cluster that knows its endpoints."""
    service = cluster.pop("edsClusterConfig")["serviceName"]
    (port,) = (port for word, port in reached.items() if word in cluster["name"])
    there = endpoints[service]
    for group in there["endpoints"]:
        for endpoint in group["lbEndpoints"]:
            endpoint["endpoint"]["address"] = _address(port)
    cluster.pop("ignoreHealthOnHostRemoval", None)  # means something of endpoints that are delivered
    return {**cluster, "type": "STATIC", "loadAssignment": {**there, "clusterName": cluster["name"]}}


def _drop_sds(value: object) -> None:
    """Take out where secrets are delivered: one without such a word is of the bootstrap."""
    if isinstance(value, dict):
        value.pop("sdsConfig", None)
        for each in value.values():
            _drop_sds(each)
    elif isinstance(value, list):
        for each in value:
            _drop_sds(each)


def of_pod(told: Made, ports: Mapping[str, int], secrets: Mapping[str, Made]) -> str:
    """Return the bootstrap of the Envoy that Istio puts into a pod, as JSON.

    Istio's Envoy has filters of its own, which count requests and hand on names; this one has not. Nor does
    anything lead the pod's traffic to it, so it listens where the application would.

    Args:
        told: `chains` of the listener that takes requests, and `clusters`.
        ports: `listens`, `admin`, and for each cluster what is in its name -> the port of its server.
    """
    parts = copy.deepcopy(told)
    for chain in parts["chains"]:
        chain["filterChainMatch"]["destinationPort"] = ports["listens"]
        chain["filters"] = _plain(chain["filters"])
    for manager in _managers({"filterChains": parts["chains"]}):
        manager["httpFilters"] = _plain(manager["httpFilters"])
    inspector = "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
    listener = {
        "address": _address(ports["listens"]),
        "listenerFilters": [{"name": "tls", "typedConfig": {"@type": inspector}}],
        "filterChains": parts["chains"],
    }
    static = {
        "listeners": [listener],
        "clusters": [_near(one, ports) for one in parts["clusters"]],
        "secrets": [{"name": name, **secret} for name, secret in secrets.items()],
    }
    _drop_sds(static)
    return json.dumps({"admin": {"address": _address(ports["admin"])}, "staticResources": static}, indent=1)


def _plain(filters: Sequence[Made]) -> list[Made]:
    return [one for one in filters if not one["name"].startswith("istio.")]


def _near(cluster: Made, ports: Mapping[str, int]) -> Made:
    """Return a cluster whose server is on this machine."""
    (port,) = (port for word, port in ports.items() if word in cluster["name"])
    elsewhere = ("edsClusterConfig", "upstreamBindConfig", "cleanupInterval", "filters", "lbPolicy")
    kept = {key: value for key, value in cluster.items() if key not in elsewhere}
    endpoints = [{"lbEndpoints": [{"endpoint": {"address": _address(port)}}]}]
    assignment = {"clusterName": cluster["name"], "endpoints": endpoints}
    return {**kept, "type": "STATIC", "loadAssignment": assignment}


def tls_secrets(names: tuple[str, str], cert: Path, key: Path, ca: Path) -> dict[str, Made]:
    """Return a client's secrets: its certificate by the first name, whom it believes by the second."""
    files = {"certificateChain": {"filename": str(cert)}, "privateKey": {"filename": str(key)}}
    return {
        names[0]: {"tlsCertificate": files},
        names[1]: {"validationContext": {"trustedCa": {"filename": str(ca)}}},
    }
