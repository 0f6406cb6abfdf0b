"""The admission policy in a real API server and the program make the same pod, and refuse the same ones."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from authz.injection.pod import Injected, LeftAlone, inject_pod
from authz.injection.service import Moved, Unmoved, move_service
from authz.injection.template import Template
from authz.injection.tree import TurnedAway
from authz.injection.words import meaning_of
from tests.kube.api import Api
from tests.kube.cluster import Cluster, Helm
from tests.kube.cluster import run as run_tool
from tests.kube.tools import tool
from tests.support.command import run

Object = dict[str, Any]

NATIVE, ORDINARY, MESH = "agree", "agree-ordinary", "agree-mesh"
# Between them: both kinds of sidecars, everything that may stand in the template, and an Envoy of a mesh's.
GIT = "--set=policies.git.enabled=true,policies.git.repository=https://git.localhost/rules.git"
PULLED = "--set=image.pullSecrets={registry,other},sidecar.workers=2"
APPLICATION = {"name": "application", "image": "sample", "ports": [{"name": "web", "containerPort": 8080}]}
_TOKEN = re.compile(r"kube-api-access-[a-z0-9]{5}")
_OWN = ("name", "uid", "creationTimestamp", "managedFields", "generateName", "generation", "resourceVersion")


class Release:
    """What injects of one release of the chart, its namespace, and the template that it stored."""

    def __init__(self, cluster: Cluster, helm: Helm, chart: str, name: str, *words: str) -> None:
        self.namespace = cluster.create_namespace(name)
        # Not all of the chart: a mesh's own kinds are not known here.
        shown = [f"--show-only=templates/{each}.yaml" for each in ("injection", "mutating-policy", "guard")]
        common = ("--set=sidecar.hosts={items.localhost}", "--set=networkPolicy.listenPorts={9180,9980}")
        self.objects = helm("template", name, chart, "-n", name, *shown, *common, *words).out
        cluster.kubectl("apply", "-n", name, "-f", "-", given=self.objects)
        stored = cluster.get("configmap", f"{name}-authz-injection", name)["data"]["injection.json"]
        self.file = cluster.home / f"{name}.json"
        self.file.write_text(stored)
        self.template = Template.parse(stored.encode())


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Iterator[Api]:
    asking = Api(cluster)
    yield asking
    asking.close()


@pytest.fixture(scope="module")
def releases(cluster: Cluster, helm4: Helm, chart: str, api: Api) -> Iterator[dict[str, Release]]:
    made = {
        NATIVE: Release(cluster, helm4, chart, NATIVE),
        ORDINARY: Release(cluster, helm4, chart, ORDINARY, "--set=sidecar.native=false", GIT, PULLED),
        MESH: Release(cluster, helm4, chart, MESH, "--set=envoy=istio", "--set=guard.exact=false"),
    }
    for release in made.values():
        # Policies are in force some moments after they are stored.
        cluster.until(partial(_has_sidecar, api, release), f"the policies of {release.namespace}")
    yield made
    for name, release in made.items():
        cluster.kubectl("delete", "-n", name, "--ignore-not-found", "-f", "-", given=release.objects)
        cluster.delete_namespace(name)


def _has_sidecar(api: Api, release: Release) -> bool:
    """Tell whether the last of the policies is in force: one of each kind, for pods and for Services."""
    injected = api.ask("POST", _path(release, "pods"), pod())
    refused = api.ask("POST", _path(release, "pods"), pod(label="yes"))
    pods = refused.status == 422 and "authz-policies" in str(injected.body.get("spec"))
    if release.template.service is None:
        return pods
    moved = api.ask("POST", _path(release, "services"), service_of([{"port": 80}]))
    unclear = api.ask("POST", _path(release, "services"), SERVICES["nobody says which"][0])
    return pods and unclear.status == 422 and "authz-http" in str(moved.body.get("spec"))


def _path(release: Release, kind: str) -> str:
    return f"/api/v1/namespaces/{release.namespace}/{kind}?dryRun=All"


def pod(label: str = "true", annotations: Object | None = None, **spec: Any) -> Object:
    metadata: Object = {"generateName": "sample-", "labels": {"app": "sample", "sidecar.authz/inject": label}}
    if annotations is not None:
        metadata["annotations"] = annotations
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [APPLICATION], **spec},
    }


def service_of(ports: list[Object], annotations: Object | None = None) -> Object:
    metadata: Object = {"generateName": "sample-", "labels": {"sidecar.authz/inject": "true"}}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**metadata, "annotations": annotations or {}},
        "spec": {"selector": {"app": "sample"}, "ports": ports},
    }


def stored(thing: Object) -> Object:
    """What the API server would store, less what differs each time."""
    text = _TOKEN.sub("token", json.dumps({"metadata": thing["metadata"], "spec": thing["spec"]}))
    kept: Object = json.loads(text)
    for field in _OWN:
        kept["metadata"].pop(field, None)
    for field in ("clusterIP", "clusterIPs"):
        kept["spec"].pop(field, None)
    if "volumes" in kept["spec"]:  # the API server's own comes where the list ended when it came
        kept["spec"]["volumes"] = [each for each in kept["spec"]["volumes"] if each["name"] != "token"]
    return kept


PODS = {
    "plain": pod(),
    "annotated": pod(annotations={"sidecar.authz/port": "3000", "team": "items", "sidecar.authz/hosts": "*"}),
    "sized": pod(
        annotations={
            "sidecar.authz/cpu": "0.5",
            "sidecar.authz/memory": "1024Mi",
            "sidecar.authz/envoy-cpu": "1000m",
            "sidecar.authz/envoy-memory": "100M",
        }
    ),
    "other port": pod(annotations={"sidecar.authz/listen-port": "9980", "sidecar.authz/trusted-hops": "2"}),
    "init containers": pod(
        initContainers=[
            {"name": "first", "image": "sample", "restartPolicy": "Always"},
            {"name": "second", "image": "sample"},
        ]
    ),
    "volumes": pod(
        volumes=[
            {"name": "work", "emptyDir": {}},
            {"name": "rules", "configMap": {"name": "authz-policies"}},
        ],
        containers=[{**APPLICATION, "volumeMounts": [{"name": "work", "mountPath": "/data"}]}],
    ),
    "several containers": pod(
        containers=[
            APPLICATION,
            {"name": "beside", "image": "sample", "env": [{"name": "AUTHZ_HOSTS", "value": "x"}]},
        ]
    ),
    "no token": pod(automountServiceAccountToken=False, imagePullSecrets=[{"name": "registry"}]),
    "a status from elsewhere": pod(annotations={"sidecar.authz/status": "0123"}),
    "odd annotation keys": pod(annotations={"a.b/c.d": "x", "sidecar.authz/policies": "default"}),
    "empty lists": pod(initContainers=[], volumes=[], annotations={}),
}


@pytest.mark.parametrize("name", PODS)
@pytest.mark.parametrize("release", [NATIVE, ORDINARY, MESH])
def test_both_make_the_same_pod(releases: dict[str, Release], api: Api, release: str, name: str) -> None:
    ours = releases[release]
    by_policy = api.ask("POST", _path(ours, "pods"), PODS[name])
    outcome = inject_pod(PODS[name], ours.template)
    assert isinstance(outcome, Injected), outcome
    # What has its sidecar already is not changed by the policy, and the guard has nothing against it.
    by_us = api.ask("POST", _path(ours, "pods"), outcome.pod)
    assert (by_policy.status, by_us.status) == (201, 201), [
        each.body.get("message") for each in (by_policy, by_us)
    ]
    assert stored(by_us.body) == stored(by_policy.body)
    # And what the API server made of it, its defaults filled in, is known again.
    assert inject_pod(by_policy.body, ours.template) == LeftAlone(complete=True)


MOUNT = {"name": "authz-secrets", "mountPath": "/stolen"}
REFUSED = {
    "the label says something else": pod(label="yes"),
    "no port": pod(annotations={"sidecar.authz/port": "0"}),
    "a port that is no port": pod(annotations={"sidecar.authz/port": "80\n"}),
    "no set of that name": pod(annotations={"sidecar.authz/policies": "missing"}),
    "a host with a space": pod(annotations={"sidecar.authz/hosts": "a, b"}),
    "no hosts": pod(annotations={"sidecar.authz/hosts": ""}),
    "a misspelled annotation": pod(annotations={"sidecar.authz/polices": "default"}),
    "the label among the annotations": pod(annotations={"sidecar.authz/inject": "true"}),
    "an amount that is none": pod(annotations={"sidecar.authz/cpu": "much"}),
    "letters of another script": pod(annotations={"sidecar.authz/port": "\u0661\u0662"}),
    "a container of our name": pod(containers=[APPLICATION, {"name": "authz", "image": "sample"}]),
    "a container that begins as ours": pod(initContainers=[{"name": "authz-x", "image": "sample"}]),
    "a volume of our name": pod(volumes=[{"name": "authz-x", "emptyDir": {}}]),
    "a mount of ours": pod(
        containers=[{**APPLICATION, "volumeMounts": [{"name": "authz-run", "mountPath": "/stolen"}]}]
    ),
    "a port called as ours": pod(
        containers=[{**APPLICATION, "ports": [{"name": "authz-http", "containerPort": 8080}]}]
    ),
    "a port of the node": pod(
        containers=[{**APPLICATION, "ports": [{"containerPort": 8080, "hostPort": 8080}]}]
    ),
    "a port where we listen": pod(containers=[{**APPLICATION, "ports": [{"containerPort": 9192}]}]),
    "the application behind the sidecar's own port": pod(annotations={"sidecar.authz/port": "9193"}),
    "Envoy at the sidecar's port": pod(annotations={"sidecar.authz/listen-port": "9192"}),
    "Envoy at the application's port": pod(annotations={"sidecar.authz/listen-port": "8080"}),
    "the node's network": pod(hostNetwork=True),
    "shared processes": pod(shareProcessNamespace=True),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("release", [NATIVE, ORDINARY])
def test_both_refuse_the_same_pods(releases: dict[str, Release], api: Api, release: str, name: str) -> None:
    ours = releases[release]
    assert isinstance(inject_pod(REFUSED[name], ours.template), TurnedAway)
    assert api.ask("POST", _path(ours, "pods"), REFUSED[name]).status == 422


CHANGES = {
    "image": "sample:other",
    "command": ["sh"],
    "args": ["serve", "--help"],
    "env": [],
    "envFrom": [{"configMapRef": {"name": "x"}}],
    "restartPolicy": None,
    "securityContext": {},
    "volumeMounts": [],
    "lifecycle": {"postStart": {"exec": {"command": ["sh"]}}},
    "workingDir": "/data",
    "stdin": True,
    "startupProbe": None,
    "readinessProbe": None,
}


@pytest.mark.parametrize("field", CHANGES)
def test_both_refuse_a_sidecar_that_somebody_changed(
    releases: dict[str, Release], api: Api, field: str
) -> None:
    ours = releases[NATIVE]
    outcome = inject_pod(pod(), ours.template)
    assert isinstance(outcome, Injected)
    changed = json.loads(json.dumps(outcome.pod))
    changed["spec"]["initContainers"][1][field] = CHANGES[field]
    refused = inject_pod(changed, ours.template)
    assert isinstance(refused, TurnedAway)
    assert f"differs in {field}" in refused.why
    answer = api.ask("POST", _path(ours, "pods"), changed)
    assert answer.status == 422, answer.body


def test_both_take_another_version_s_sidecar_where_that_is_said(
    releases: dict[str, Release], api: Api
) -> None:
    ours = releases[MESH]
    outcome = inject_pod(pod(), ours.template)
    assert isinstance(outcome, Injected)
    changed = json.loads(json.dumps(outcome.pod))
    changed["spec"]["initContainers"][0]["image"] = "older"
    assert inject_pod(changed, ours.template) == LeftAlone(complete=True)
    assert api.ask("POST", _path(ours, "pods"), changed).status == 201
    changed["spec"]["initContainers"][0]["name"] = "authz-older"
    assert isinstance(inject_pod(changed, ours.template), TurnedAway)
    assert api.ask("POST", _path(ours, "pods"), changed).status == 422


SERVICES = {
    "one port": (service_of([{"port": 80, "targetPort": 8080}]), "authz-http"),
    "one of two": (
        service_of([{"name": "http", "port": 80}, {"name": "metrics", "port": 9090}]),
        "authz-http",
    ),
    "by name": (
        service_of(
            [{"name": "a", "port": 80}, {"name": "b", "port": 81}], {"sidecar.authz/service-port": "b"}
        ),
        "authz-http",
    ),
    "led already": (service_of([{"port": 80, "targetPort": "authz-http"}]), "authz-http"),
    "nobody says which": (service_of([{"name": "a", "port": 80}, {"name": "b", "port": 81}]), ""),
    "a number is no name": (
        service_of([{"name": "a", "port": 80}], {"sidecar.authz/service-port": "80"}),
        "",
    ),
    "not over TCP": (service_of([{"port": 53, "protocol": "UDP"}]), ""),
    "none of that name": (service_of([{"port": 80}], {"sidecar.authz/service-port": "b"}), ""),
}


@pytest.mark.parametrize("name", SERVICES)
def test_both_lead_services_to_the_same_port(releases: dict[str, Release], api: Api, name: str) -> None:
    ours = releases[NATIVE]
    service, target = SERVICES[name]
    by_policy = api.ask("POST", _path(ours, "services"), service)
    outcome = move_service(service, ours.template)
    if not target:
        assert isinstance(outcome, TurnedAway)
        assert by_policy.status == 422
        return
    moved = outcome.service if isinstance(outcome, Moved) else service
    assert isinstance(outcome, Moved | Unmoved)
    by_us = api.ask("POST", _path(ours, "services"), moved)
    assert (by_policy.status, by_us.status) == (201, 201), [
        each.body.get("message") for each in (by_policy, by_us)
    ]
    assert stored(by_us.body) == stored(by_policy.body)
    assert target in [port["targetPort"] for port in by_us.body["spec"]["ports"]]


MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: piped}
spec:
  replicas: 1
  selector: {matchLabels: {app: piped}}
  template:
    metadata:
      labels: {app: piped, sidecar.authz/inject: "true"}
    spec:
      containers:
      - {name: application, image: sample, args: ["no", "010"]}
      volumes:
      - {name: x, configMap: {name: x, defaultMode: 0640}}
---
apiVersion: v1
kind: Service
metadata: {name: piped}
spec: {selector: {app: piped}, ports: [{port: 80, targetPort: 8080}]}
"""


@pytest.mark.parametrize("output", ["yaml", "json"])
def test_what_is_piped_into_kubectl_runs_with_its_sidecar(
    releases: dict[str, Release], cluster: Cluster, output: str
) -> None:
    ours = releases[NATIVE]
    words = ("inject", "-f", "-", "--template", str(ours.file), "-o", output)
    done = run(*words, typed=MANIFEST.replace("piped", f"piped-{output}"))
    assert done.returncode == 0, done.stderr
    cluster.kubectl("apply", "-n", ours.namespace, "-f", "-", given=done.stdout)
    found: list[Object] = []

    def came() -> bool:
        found[:] = cluster.list("pods", ours.namespace, f"app=piped-{output}")
        return bool(found)

    cluster.until(came, "the pod of a Deployment")
    spec = found[0]["spec"]
    assert [each["name"] for each in spec["initContainers"]] == ["authz-init", "authz", "authz-envoy"]
    assert spec["containers"][0]["args"] == ["no", "010"]
    assert spec["volumes"][0]["configMap"]["defaultMode"] == 0o640
    assert inject_pod(found[0], ours.template) == LeftAlone(complete=True)
    service = cluster.get("service", f"piped-{output}", ours.namespace)
    assert service["spec"]["ports"][0]["targetPort"] == "authz-http"


# What YAML's readers differ about; and what looks like it.
WORDS = """
    yes y N on Off true True NULL ~ no yEs 010 0o10 0x1F 0X1F 0b11 0B1 -0b11 1_000 1__0 0_7 0x_1 1e3 1e2_0
    12:30:45 2001-01-01 99999999999999999999 18446744073709551615 9223372036854775808 +12 -0 08 1. .5 +.5
    1e400 0.0 1_0.5 +0x1f 1e21 0o8 -0o7 00 1e-7 . _1 0x1p4 5.e3 text 1.2.3 0xFFFFFFFFFFFFFFFFFF --x -010 1.10
"""


def test_words_mean_what_kubectl_takes_them_for() -> None:
    data = "".join(f"  k{index}: {word}\n" for index, word in enumerate(WORDS.split()))
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}\ndata:\n{data}"
    said = run_tool([tool("kubectl"), "label", "--local", "-f", "-", "a=b", "-o", "json"], text)
    taken = json.loads(said.out)["data"]
    for index, word in enumerate(WORDS.split()):
        meaning, by_kubectl = meaning_of(word), taken[f"k{index}"]
        assert isinstance(meaning, bool) == isinstance(by_kubectl, bool), word
        # JSON of Go writes large numbers with fewer digits.
        assert meaning == (
            pytest.approx(by_kubectl) if isinstance(by_kubectl, int | float) else by_kubectl
        ), word
