"""Pods and Services as a MutatingAdmissionPolicy leaves them, in a real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.kube.cluster import Cluster, Helm
from tests.kube.pods import (
    INJECTED,
    LABEL,
    PORT_KEY,
    Object,
    Release,
    as_manifest,
    named,
    pod,
    release,
    service,
)

HERE, THERE, ELSEWHERE = "policy-here", "policy-there", "policy-elsewhere"
TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
VALUES = {
    "namespaces": [HERE, THERE],
    "keys": {"pepper": "p" * 32},
    "policies": {"sets": {"default": {}, "strict": {}}},
    "image": {"pullSecrets": ["registry"]},
    "networkPolicy": {"listenPorts": [9999]},
}


@pytest.fixture(scope="module")
def installed(cluster: Cluster, helm3: Helm, chart: str) -> Iterator[Release]:
    names = [cluster.create_namespace(name) for name in (HERE, THERE, ELSEWHERE)]
    with release(helm3, cluster, chart, "inject", HERE, VALUES) as ours:
        yield ours
    for name in names:
        cluster.delete_namespace(name)


def stored(installed: Release, thing: Object, namespace: str = HERE) -> Object:
    """Return an object as the API server would store it."""
    made = installed.create(thing, namespace)
    assert not made.why, made.why
    return made.stored


def arguments(made: Object, name: str) -> list[str]:
    return list(named(made["spec"]["initContainers"], name)["args"])


def setting(made: Object, name: str) -> str:
    return str(named(named(made["spec"]["initContainers"], "authz")["env"], name)["value"])


@pytest.mark.parametrize("namespace", [HERE, THERE])
def test_a_labelled_pod_gets_the_sidecar_before_its_envoy(installed: Release, namespace: str) -> None:
    made = stored(installed, pod(), namespace)
    containers = made["spec"]["initContainers"]
    assert tuple(each["name"] for each in containers) == INJECTED
    assert [each.get("restartPolicy") for each in containers] == [None, "Always", "Always"]
    assert named(containers[2]["ports"], "authz-http")["containerPort"] == 9180
    assert made["metadata"]["annotations"]["sidecar.authz/status"]


def test_nothing_else_of_a_pod_is_touched(installed: Release) -> None:
    first = {"name": "migrate", "image": "items:1", "securityContext": {"runAsUser": 2**31 - 1}}
    extra: Object = {
        "initContainers": [first],
        "volumes": [{"name": "scratch", "emptyDir": {}}],
        "imagePullSecrets": [{"name": "mine"}],
        "serviceAccountName": "default",
        "terminationGracePeriodSeconds": 77,
    }
    with_it = stored(installed, pod({"mine": "yes"}, **extra))
    without = stored(installed, pod({"mine": "yes"}, label="false", **extra))
    assert _without_ours(with_it) == _without_ours(without)


def _without_ours(made: Object) -> Object:
    """Return a pod without what injection adds, and without what is another each time."""
    spec, metadata = made["spec"], made["metadata"]
    for field in ("initContainers", "volumes"):
        spec[field] = [each for each in spec[field] if not each["name"].startswith("authz")]
    spec["imagePullSecrets"].remove({"name": "registry"}) if {"name": "registry"} in spec[
        "imagePullSecrets"
    ] else None
    metadata["annotations"].pop("sidecar.authz/status", None)
    for field in ("uid", "creationTimestamp"):
        del metadata[field]
    del metadata["labels"][LABEL]
    token = next(each["name"] for each in spec["volumes"] if each["name"].startswith("kube-api-access-"))
    return dict(json.loads(json.dumps({"metadata": metadata, "spec": spec}).replace(token, "token")))


@pytest.mark.parametrize("label", [None, "false"])
def test_a_pod_that_does_not_ask_stays_as_it_is(installed: Release, label: str | None) -> None:
    made = stored(installed, pod(label=label))
    assert "initContainers" not in made["spec"]
    assert "annotations" not in made["metadata"]


def test_the_applications_token_is_mounted_in_no_container_of_ours(installed: Release) -> None:
    made = stored(installed, pod())
    application = named(made["spec"]["containers"], "application")
    assert [each["mountPath"] for each in application["volumeMounts"]] == [TOKEN_PATH]
    for container in made["spec"]["initContainers"]:
        (mount,) = (each for each in container["volumeMounts"] if each["mountPath"] == TOKEN_PATH)
        assert named(made["spec"]["volumes"], mount["name"])["emptyDir"] == {"sizeLimit": "1Mi"}


def test_what_is_injected_passes_the_strictest_pod_security(installed: Release) -> None:
    enforce = "pod-security.kubernetes.io/enforce"
    installed.cluster.kubectl("label", "namespace", THERE, f"{enforce}=restricted")
    strictly = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    asked = pod()
    asked["spec"]["containers"][0]["securityContext"] = strictly
    stored(installed, asked, THERE)
    installed.cluster.kubectl("label", "namespace", THERE, f"{enforce}-")


def test_annotations_choose_for_one_pod(installed: Release) -> None:
    made = stored(
        installed,
        pod(
            {
                "sidecar.authz/policies": "strict",
                "sidecar.authz/hosts": "a.example,*.b.example",
                "sidecar.authz/port": "3000",
                "sidecar.authz/listen-port": "9999",
                "sidecar.authz/trusted-hops": "2",
                "sidecar.authz/cpu": "0.25",
                "sidecar.authz/memory": "256Mi",
                "sidecar.authz/envoy-memory": "1Gi",
            }
        ),
    )
    assert {"--upstream=127.0.0.1:3000", "--listen=0.0.0.0:9999", "--hosts=a.example,*.b.example"} <= set(
        arguments(made, "authz-init")
    )
    assert "--trusted-hops=2" in arguments(made, "authz-init")
    assert setting(made, "AUTHZ_HOSTS") == "a.example,*.b.example"
    assert setting(made, "AUTHZ_TRUSTED_HOPS") == "2"
    _, authz, envoy = made["spec"]["initContainers"]
    assert authz["resources"] == {
        "requests": {"cpu": "250m", "memory": "256Mi"},
        "limits": {"memory": "256Mi"},
    }
    assert envoy["resources"]["limits"]["memory"] == "1Gi"
    assert named(envoy["ports"], "authz-http")["containerPort"] == 9999
    policies = named(made["spec"]["volumes"], "authz-policies")
    assert policies["configMap"]["name"] == "inject-authz-policies-strict"


def test_what_was_injected_once_is_not_injected_twice(installed: Release) -> None:
    once = stored(installed, pod())
    twice = stored(installed, as_manifest(once))
    assert twice["spec"] == once["spec"]
    assert twice["metadata"]["annotations"] == once["metadata"]["annotations"]


def test_a_service_is_led_to_envoy_and_its_endpoints_are_envoys(installed: Release) -> None:
    cluster = installed.cluster
    cluster.apply(_deployment(replicas=2), service(), namespace=HERE)
    pods: list[Object] = []

    def made() -> bool:
        pods[:] = cluster.list("pods", HERE, "app=items")
        return len(pods) == 2

    cluster.until(made, "the controllers to create the pods")
    assert [[each["name"] for each in one["spec"]["initContainers"]] for one in pods] == [list(INJECTED)] * 2
    ready = [{"type": "Ready", "status": "True"}]
    for number, one in enumerate(pods):
        address = f"10.9.0.{number + 1}"
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": ready}
        installed.api.report(HERE, one["metadata"]["name"], status)
    slices: list[Object] = []

    def led() -> bool:
        slices[:] = cluster.list("endpointslice", HERE, "kubernetes.io/service-name=items")
        return sum(len(each["endpoints"] or ()) for each in slices) == 2

    cluster.until(led, "the two pods to stand behind the Service")
    assert [port["port"] for each in slices for port in each["ports"]] == [9180]
    cluster.kubectl("delete", "deployment,service", "items", "-n", HERE, "--wait=false")


def _deployment(replicas: int) -> Object:
    """Return a Deployment whose pods are run by nobody but the test."""
    template = pod({"tests/kubelet": "the test"})
    del template["metadata"]["name"]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "items"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "items"}},
            "template": {"metadata": template["metadata"], "spec": template["spec"]},
        },
    }


PORTS = [
    {"name": "http", "port": 80, "targetPort": 8080},
    {"name": "metrics", "port": 9090, "targetPort": 9090},
    {"name": "dns", "port": 80, "targetPort": 53, "protocol": "UDP"},
]


@pytest.mark.parametrize(
    ("asked", "targets"),
    [
        (service(), ["authz-http"]),
        (service(ports=[{"port": 80}]), ["authz-http"]),
        (service(ports=PORTS), ["authz-http", 9090, 53]),
        (service(ports=PORTS, annotations={PORT_KEY: "metrics"}), [8080, "authz-http", 53]),
        (service(ports=PORTS[:1] + PORTS[2:]), ["authz-http", 53]),
        (service(label="false"), [8080]),
    ],
)
def test_the_http_port_of_a_service_moves_alone(
    installed: Release, asked: Object, targets: list[str | int]
) -> None:
    made = stored(installed, asked)
    assert [port["targetPort"] for port in made["spec"]["ports"]] == targets


def test_a_service_that_is_led_to_envoy_cannot_be_led_back(installed: Release) -> None:
    installed.create(service(), THERE, real=True)
    back = {"spec": {"ports": [{"port": 80, "targetPort": 8080}]}}
    changed = installed.change("services", "items", back, THERE)
    assert changed.stored["spec"]["ports"][0]["targetPort"] == "authz-http"
    installed.api.remove("services", THERE, "items")
