"""`envoy: gateway`: what Envoy Gateway's own definitions take, and whom the guard turns away."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from tests.kube.cluster import Cluster, Helm, Said
from tests.kube.crds import OF_ENVOY_GATEWAY, installed
from tests.kube.tools import KUBERNETES

RELEASE = "gwtest"
NAME = f"{RELEASE}-authz"
HOME, EDGE, TEAM = "gw-authz", "gw-edge", "gw-team"
VALUES = {
    "envoy": "gateway",
    "deployment": "service",
    "service": {"tls": {"existingSecret": "authz-tls", "clients": ["*"]}},
    "gateway": {
        "gateways": [{"name": "public", "namespace": EDGE}, {"name": "inner", "namespace": HOME}],
        "tls": {"clientSecret": "authz-client"},
        "bodyBytes": 65536,
        "contextExtensions": {"tier": "public"},
        "clientTraffic": {"clientCA": "partners"},
    },
}


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("gateway") / "values.yaml"
    path.write_text(yaml.safe_dump(VALUES))
    return str(path)


@pytest.fixture(scope="module")
def taught(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster that knows Envoy Gateway's objects, and three namespaces."""
    with installed(cluster, OF_ENVOY_GATEWAY):
        for name in (HOME, EDGE, TEAM):
            cluster.create_namespace(name)
        yield cluster
        for name in (HOME, EDGE, TEAM):
            cluster.delete_namespace(name)


@pytest.fixture(scope="module")
def release(taught: Cluster, helm4: Helm, chart: str, values: str) -> Iterator[Cluster]:
    """The same with the chart installed."""
    helm4("install", RELEASE, chart, "-n", HOME, "-f", values)
    first = next(iter(REFUSED.values()))
    taught.until(lambda: _apply(taught, first, "--dry-run=server").code != 0, "the guard to be known")
    yield taught
    helm4("uninstall", RELEASE, "-n", HOME)


def _apply(cluster: Cluster, made: Mapping[str, Any], *words: str) -> Said:
    namespace = made["metadata"]["namespace"]
    return cluster.kubectl("apply", "-n", namespace, *words, "-f", "-", given=json.dumps(made), check=False)


def test_every_object_is_taken_to_the_last_field(
    taught: Cluster, helm3: Helm, chart: str, values: str
) -> None:
    text = helm3("template", RELEASE, chart, "-n", HOME, "-f", values, "--kube-version", KUBERNETES).out
    words = ("apply", "--server-side", "--validate=strict", "--dry-run=server", "-f", "-")
    said = taught.kubectl(*words, given=text)
    made = [one for one in yaml.safe_load_all(text) if one]
    assert said.out.count("serverside-applied (server dry run)") == len(made)
    assert "arning" not in said.err
    kinds = {one["kind"] for one in made}
    assert {
        "SecurityPolicy",
        "ClientTrafficPolicy",
        "EnvoyProxy",
        "BackendTLSPolicy",
        "ReferenceGrant",
    } <= kinds


def test_what_is_stored_fails_closed_and_waits_200_ms(release: Cluster) -> None:
    for namespace, gateway in ((EDGE, "public"), (HOME, "inner")):
        spec = release.get("securitypolicy", NAME, namespace)["spec"]
        assert [target["name"] for target in spec["targetRefs"]] == [gateway]
        asked = spec["extAuth"]
        assert asked["failOpen"] is False
        assert asked["timeout"] == "200ms"
        assert asked["statusOnError"] == 503
        (backend,) = asked["grpc"]["backendRefs"]
        assert (backend["name"], backend["namespace"], backend["port"]) == (NAME, HOME, 9443)


def test_the_service_is_told_what_the_gateway_sends(release: Cluster) -> None:
    (container,) = release.get("deployment", f"{NAME}-service", HOME)["spec"]["template"]["spec"][
        "containers"
    ]
    told = {one["name"]: one.get("value") for one in container["env"]}
    assert told["AUTHZ_CONTEXT"] == "tier"
    assert told["AUTHZ_XFF_APPENDED"] == "true"


def security(
    name: str, namespace: str, spec: Mapping[str, Any], *targets: Mapping[str, str]
) -> dict[str, Any]:
    """Return a SecurityPolicy."""
    group = {"group": "gateway.networking.k8s.io"}
    return {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "SecurityPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"targetRefs": [{**group, **target} for target in targets], **spec},
    }


ROUTE = {"kind": "HTTPRoute", "name": "items"}
CORS = {"cors": {"allowOrigins": ["https://a.example.com"]}}
BACKEND = {"name": NAME, "namespace": HOME, "port": 9443}


def asking(failing_open: bool = False, **other: object) -> dict[str, Any]:
    return {"extAuth": {"failOpen": failing_open, "grpc": {"backendRefs": [{**BACKEND, **other}]}}}


REFUSED = {
    "a route's own, which replaces ours": security("a", TEAM, CORS, ROUTE),
    "a gRPC route's": security("a", TEAM, CORS, {"kind": "GRPCRoute", "name": "items"}),
    "a listener set's": security("a", TEAM, CORS, {"kind": "ListenerSet", "name": "items"}),
    "one of several targets": security("a", TEAM, CORS, {"kind": "TCPRoute", "name": "x"}, ROUTE),
    "one that fails open": security("a", TEAM, asking(failing_open=True), ROUTE),
    "one that asks another service": security("a", TEAM, asking(name="other"), ROUTE),
    "one that asks another namespace": security("a", TEAM, asking(namespace=TEAM), ROUTE),
    "one that merges another extAuth over ours": security(
        "a", TEAM, {"mergeType": "StrategicMerge", **asking(failing_open=True)}, ROUTE
    ),
    "one that asks by HTTP": security(
        "a", TEAM, {"extAuth": {"http": {"backendRefs": [{"name": NAME, "port": 80}]}}}, ROUTE
    ),
    "one for our Gateway": security("a", EDGE, CORS, {"kind": "Gateway", "name": "public"}),
    "one for a listener of our Gateway": security(
        "a", EDGE, CORS, {"kind": "Gateway", "name": "public", "sectionName": "https"}
    ),
    "routes by label": {
        **security("a", TEAM, {}),
        "spec": {"targetSelectors": [{"kind": "HTTPRoute", "matchLabels": {"a": "b"}}], **CORS},
    },
    "Gateways by label": {
        **security("a", EDGE, {}),
        "spec": {"targetSelectors": [{"kind": "Gateway", "matchLabels": {"a": "b"}}], **CORS},
    },
}
TAKEN = {
    "a route's own that is laid over ours": security(
        "b", TEAM, {"mergeType": "StrategicMerge", **CORS}, ROUTE
    ),
    "a route's own that asks us, too": security("b", TEAM, {**CORS, **asking()}, ROUTE),
    "one of a Gateway that is not ours": security("b", EDGE, CORS, {"kind": "Gateway", "name": "other"}),
    "one of a Gateway of that name elsewhere": security(
        "b", TEAM, CORS, {"kind": "Gateway", "name": "public"}
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_take_our_place_is_refused(release: Cluster, case: str) -> None:
    said = _apply(release, REFUSED[case])
    assert said.code != 0
    assert "ValidatingAdmissionPolicy" in said.err, said.err
    assert f"ask the Service {NAME} of the namespace {HOME} with failOpen: false" in said.err


@pytest.mark.parametrize("case", TAKEN)
def test_what_leaves_ours_in_force_is_taken(release: Cluster, case: str) -> None:
    said = _apply(release, TAKEN[case])
    assert said.code == 0, said.err


def test_ours_cannot_be_made_to_fail_open(release: Cluster) -> None:
    patch = '{"spec": {"extAuth": {"failOpen": true}}}'
    words = ("patch", "securitypolicy", NAME, "-n", EDGE, "--type=merge", "-p", patch)
    assert "with failOpen: false" in release.kubectl(*words, check=False).err


def test_notes_say_what_is_left_to_do(taught: Cluster, helm3: Helm, chart: str, values: str) -> None:
    said = helm3("install", "other", chart, "--dry-run=client", "-n", HOME, "-f", values).out
    assert "parametersRef: {group: gateway.envoyproxy.io, kind: EnvoyProxy, name: other-authz}" in said
