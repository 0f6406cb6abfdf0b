"""`envoy: istio`: what Istio's own definitions take, and which pods would go past the mesh."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from tests.kube.cluster import Cluster, Helm, Said
from tests.kube.crds import OF_ISTIO, installed
from tests.kube.pods import as_manifest
from tests.kube.tools import KUBERNETES

RELEASE = "istiotest"
NAME = f"{RELEASE}-authz"
HOME, TEAM = "istio-authz", "istio-team"
VALUES = {
    "envoy": "istio",
    "namespaces": [TEAM],
    "sidecar": {"hosts": ["items.example.com"]},
    "istio": {"peerAuthentication": True, "openPorts": [9000], "bodyBytes": 4096},
}
OPEN = "traffic.sidecar.istio.io/excludeInboundPorts"


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("istio") / "values.yaml"
    path.write_text(yaml.safe_dump(VALUES))
    return str(path)


@pytest.fixture(scope="module")
def taught(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster that knows Istio's objects, and two namespaces."""
    with installed(cluster, OF_ISTIO):
        for name in (HOME, TEAM):
            cluster.create_namespace(name)
        yield cluster
        for name in (HOME, TEAM):
            cluster.delete_namespace(name)


@pytest.fixture(scope="module")
def release(taught: Cluster, helm4: Helm, chart: str, values: str) -> Iterator[Cluster]:
    """The same with the chart installed, and in force."""
    helm4("install", RELEASE, chart, "-n", HOME, "-f", values)
    taught.until(lambda: "authz" in _names(_create(taught, pod())), "injection")
    taught.until(lambda: _create(taught, pod(proxy=False)).code != 0, "the guard")
    yield taught
    helm4("uninstall", RELEASE, "-n", HOME)


def pod(
    annotations: Mapping[str, str] | None = None, *, proxy: bool = True, native: bool = True
) -> dict[str, Any]:
    """Return a pod that asks for a sidecar, as it is once the mesh has put its own Envoy into it."""
    mesh = {"name": "istio-proxy", "image": "istio/proxyv2:1.31.1"}
    made: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "items",
            "namespace": TEAM,
            "labels": {"sidecar.authz/inject": "true"},
            "annotations": dict(annotations or {}),
        },
        "spec": {"containers": [{"name": "items", "image": "items:1"}]},
    }
    if proxy and native:
        made["spec"]["initContainers"] = [{**mesh, "restartPolicy": "Always"}]
    elif proxy:
        made["spec"]["containers"].append(mesh)
    return made


def _create(cluster: Cluster, made: Mapping[str, Any]) -> Said:
    """Ask what would be stored."""
    words = ("create", "--dry-run=server", "-o", "json", "-n", made["metadata"]["namespace"], "-f", "-")
    return cluster.kubectl(*words, given=json.dumps(made), check=False)


def _stored(said: Said) -> dict[str, Any]:
    assert said.code == 0, said.err
    made = json.loads(said.out)
    assert isinstance(made, dict)
    return made


def _names(said: Said) -> list[str]:
    return [one["name"] for one in _stored(said)["spec"].get("initContainers", [])] if said.code == 0 else []


def test_every_object_is_taken_to_the_last_field(
    taught: Cluster, helm3: Helm, chart: str, values: str
) -> None:
    text = helm3("template", RELEASE, chart, "-n", HOME, "-f", values, "--kube-version", KUBERNETES).out
    said = taught.kubectl(
        "apply", "--server-side", "--validate=strict", "--dry-run=server", "-f", "-", given=text
    )
    made = [one for one in yaml.safe_load_all(text) if one]
    assert said.out.count("serverside-applied (server dry run)") == len(made)
    assert "arning" not in said.err
    assert {"ServiceEntry", "AuthorizationPolicy", "PeerAuthentication"} <= {one["kind"] for one in made}


def test_the_mesh_asks_for_pods_with_a_sidecar_about_everything(release: Cluster) -> None:
    spec = release.get("authorizationpolicies.security.istio.io", NAME, TEAM)["spec"]
    assert spec["action"] == "CUSTOM"
    assert spec["provider"] == {"name": "authz"}
    assert spec["rules"] == [{}]
    assert spec["selector"]["matchLabels"] == {"sidecar.authz/inject": "true"}
    entry = release.get("serviceentries.networking.istio.io", NAME, HOME)["spec"]
    assert entry["endpoints"] == [{"address": "127.0.0.1"}]
    assert entry["exportTo"] == [TEAM]


def test_a_pod_gets_a_sidecar_at_its_loopback_and_no_envoy_of_ours(release: Cluster) -> None:
    made = _stored(_create(release, pod()))
    assert [one["name"] for one in made["spec"]["initContainers"]] == ["istio-proxy", "authz"]
    sidecar = made["spec"]["initContainers"][1]
    told = {one["name"]: one.get("value") for one in sidecar["env"]}
    assert told["AUTHZ_LISTEN"] == "127.0.0.1:9191"
    assert told["AUTHZ_HOSTS"] == "items.example.com"
    assert made["metadata"]["annotations"][OPEN] == "9192"


def test_a_pod_that_asks_only_once_it_runs_needs_the_mesh_as_well(release: Cluster) -> None:
    late = as_manifest(_stored(_create(release, pod())))
    del late["metadata"]["labels"]["sidecar.authz/inject"]
    for part in ("containers", "initContainers"):
        late["spec"][part] = [one for one in late["spec"][part] if one["name"] != "istio-proxy"]
    release.apply(late, namespace=TEAM)
    name = ("pod", late["metadata"]["name"], "-n", TEAM)
    said = release.kubectl("label", *name, "sidecar.authz/inject=true", "--dry-run=server", check=False)
    release.kubectl("delete", *name, "--grace-period=0", "--force")
    assert "the mesh's Envoy that would ask it is missing" in said.err, said.text


@pytest.mark.parametrize("ports", ["9192", "9192,15020", "9000,9192", "15021,9192,9000"])
def test_ports_that_the_operator_opens_and_those_of_istio_may_go_past(release: Cluster, ports: str) -> None:
    made = _stored(_create(release, pod({OPEN: ports})))
    assert made["metadata"]["annotations"][OPEN] == ports


@pytest.mark.parametrize("ports", ["8080,9192", "9000", "", "9192,", "9192, 9000", "*", "91920"])
def test_other_ports_may_not(release: Cluster, ports: str) -> None:
    said = _create(release, pod({OPEN: ports}))
    assert said.code != 0
    assert "of others those in the value istio.openPorts alone" in said.err, said.err


@pytest.mark.parametrize(
    ("annotations", "told"),
    [
        ({"traffic.sidecar.istio.io/includeInboundPorts": "9999"}, "lets every other port go past the mesh"),
        ({"traffic.sidecar.istio.io/includeInboundPorts": ""}, "lets every other port go past the mesh"),
        ({"sidecar.istio.io/interceptionMode": "NONE"}, "write REDIRECT or TPROXY"),
        ({"traffic.sidecar.istio.io/excludeInterfaces": "eth0"}, "can lead requests past the sidecar"),
        ({"sidecar.istio.io/bootstrapOverride": "mine"}, "can lead requests past the sidecar"),
    ],
)
def test_a_pod_that_leads_requests_past_the_mesh_is_refused(
    release: Cluster, annotations: dict[str, str], told: str
) -> None:
    said = _create(release, pod(annotations))
    assert said.code != 0
    assert told in " ".join(said.err.split()), said.err


def test_what_istio_writes_itself_leads_nothing_past(release: Cluster) -> None:
    written = {
        "sidecar.istio.io/interceptionMode": "REDIRECT",
        "traffic.sidecar.istio.io/includeInboundPorts": "*",
        OPEN: "9192,15020",
    }
    _stored(_create(release, pod(written)))


def test_a_pod_outside_of_the_mesh_is_refused(release: Cluster) -> None:
    said = _create(release, pod(proxy=False))
    assert "the mesh's Envoy that would ask it is missing" in " ".join(said.err.split()), said.err
    _stored(_create(release, pod(native=False)))


def _through_istio(cluster: Cluster, change: Mapping[str, Any]) -> dict[str, Any]:
    """Return an injected pod whose probes lead through Istio's agent, but for a change to one of them."""
    made = _stored(_create(cluster, pod()))
    made["metadata"] = {key: made["metadata"][key] for key in ("name", "namespace", "labels", "annotations")}
    sidecar = made["spec"]["initContainers"][1]
    for probe, word in (
        ("startupProbe", "startupz"),
        ("livenessProbe", "livez"),
        ("readinessProbe", "readyz"),
    ):
        there = {"path": f"/app-health/authz/{word}", "port": 15020, "scheme": "HTTP"}
        sidecar[probe] = {**sidecar[probe], "httpGet": there}
    sidecar["livenessProbe"] = {**sidecar["livenessProbe"], **change}
    return made


def test_probes_that_istio_leads_through_its_agent_are_no_difference(release: Cluster) -> None:
    made = _through_istio(release, {})
    assert (
        _stored(_create(release, made))["spec"]["initContainers"][1]["livenessProbe"]["httpGet"]["port"]
        == 15020
    )


@pytest.mark.parametrize(
    "change",
    [
        {"httpGet": None, "exec": {"command": ["cat", "/etc/authz/secrets/API_KEY_SALT"]}},
        {"httpGet": {"path": "/app-health/authz/livez", "port": 15020, "scheme": "HTTP", "host": "10.0.0.1"}},
        {"httpGet": {"path": "/elsewhere", "port": 15020, "scheme": "HTTP"}},
        {"httpGet": {"path": "/app-health/authz/livez", "port": 8080, "scheme": "HTTP"}},
    ],
)
def test_any_other_probe_is_a_difference(release: Cluster, change: dict[str, Any]) -> None:
    said = _create(release, _through_istio(release, change))
    assert said.code != 0
    assert "container `authz` differs in livenessProbe" in said.err, said.err


def test_notes_print_what_the_mesh_must_be_told(
    taught: Cluster, helm3: Helm, chart: str, values: str
) -> None:
    said = helm3("install", "other", chart, "--dry-run=client", "-n", HOME, "-f", values).out
    mesh = yaml.safe_load(said[said.index("meshConfig:") :].partition("\n\n")[0])["meshConfig"]
    (provider,) = mesh["extensionProviders"]
    assert provider["name"] == "authz"
    assert provider["envoyExtAuthzGrpc"] == {
        "service": f"{HOME}/other-authz.{HOME}.authz.internal",
        "port": 9191,
        "timeout": "0.200s",
        "failOpen": False,
        "statusOnError": "503",
        "includeRequestBodyInCheck": {
            "maxRequestBytes": 4096,
            "allowPartialMessage": False,
            "packAsBytes": True,
        },
    }
