"""`envoy: istio`: the chart, as Istio itself translates it for a pod, in a real Envoy before a sidecar."""

from __future__ import annotations

import http.client
import json
import re
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest

from tests.kube import mesh
from tests.kube.behind import Behind, Ports, behind
from tests.kube.cluster import Helm
from tests.kube.staticenvoy import of_pod, tls_secrets
from tests.kube.translation import Made
from tests.support.certificates import Authority
from tests.support.grpc import client, read

SHOP, STRANGER = "spiffe://cluster.local/ns/web/sa/shop", "spiffe://cluster.local/ns/web/sa/stranger"
POLICY = """\
apiVersion: policy.authz/v1alpha1
kind: Policy
metadata: {name: all}
spec:
  hosts: ["*"]
  rules:
    - name: shop
      effect: allow
      paths: ["/orders/**"]
      identity: [anyone]
      peers: ["spiffe://cluster.local/ns/web/sa/shop"]
    - {name: words, effect: allow, paths: [/words], identity: [anyone], when: 'request.body == b"a\\xffb"'}
    - {name: odd, effect: allow, paths: [/odd], identity: [anyone], when: '"x_odd" in request.headers'}
  onAllow:
    headers: {x-auth-peer: peer.principal}
"""


def _filters(told: Made) -> dict[str, Any]:
    """Return what each HTTP filter of the pod's listener is told, by name."""
    (chain,) = told["chains"]
    managers = [one["typedConfig"] for one in chain["filters"] if "httpFilters" in one["typedConfig"]]
    return {one["name"]: one["typedConfig"] for one in managers[0]["httpFilters"]}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> mesh.Question:
    return mesh.question(*mesh.rendered(Helm("helm3", tmp_path_factory.mktemp("helm"))))


def test_what_is_kept_is_what_istio_said_of_this_chart(asked: mesh.Question) -> None:
    assert mesh.kept()["asked"] == mesh.asked_digest(asked), (
        "the chart renders something else for Istio than what was translated: run"
        " `python -m tests.kube.mesh`, which takes five minutes once"
    )


def test_istio_still_says_so(asked: mesh.Question) -> None:
    answer = mesh.both(asked, mesh.program())
    assert {key: mesh.kept()[key] for key in answer} == answer


def test_the_filter_fails_closed_and_waits_200_ms() -> None:
    config = _filters(mesh.kept()["known"])["envoy.filters.http.ext_authz"]
    assert not config.get("failureModeAllow", False)
    assert config["grpcService"]["timeout"] == "0.200s"
    assert config["statusOnError"] == {"code": "ServiceUnavailable"}
    assert config["withRequestBody"] == {"maxRequestBytes": 1024, "packAsBytes": True}


def test_a_mesh_that_does_not_know_the_provider_refuses_everything() -> None:
    filters = _filters(mesh.kept()["unknown"])
    assert "envoy.filters.http.ext_authz" not in filters
    rules = filters["envoy.filters.http.rbac"]["rules"]
    assert rules["action"] == "DENY"
    ((name, policy),) = rules["policies"].items()
    assert name.endswith("deny-due-to-bad-CUSTOM-action")
    assert policy["permissions"] == [{"andRules": {"rules": [{"any": True}]}}]


def test_the_sidecar_is_asked_in_plain_http2_at_its_own_loopback() -> None:
    (cluster,) = (one for one in mesh.kept()["known"]["clusters"] if one["name"].startswith("outbound|9191|"))
    assert "transportSocket" not in cluster
    assert "transportSocketMatches" not in cluster
    assert "http2ProtocolOptions" in json.dumps(cluster["typedExtensionProtocolOptions"])


def _settings(home: Path) -> dict[str, str]:
    """Return what the chart tells the sidecar of a pod that says nothing itself."""
    made, _ = mesh.rendered(Helm("helm3", home / "helm"))
    (written,) = (one["data"]["injection.json"] for one in made if "injection.json" in one.get("data", {}))
    told = json.loads(written)
    (sidecar,) = (one for one in told["pod"]["spec"]["initContainers"] if one["name"] == "authz")
    says = {name: variable["default"] for name, variable in told["variables"].items()}
    env = {one["name"]: one["value"] for one in sidecar["env"] if "value" in one}
    return {name: re.sub(r"\$\{(\w+)\}", lambda use: str(says[use[1]]), text) for name, text in env.items()}


class Pod:
    """A pod of the mesh, and how workloads of it ask."""

    def __init__(self, started: Behind, home: Path, authority: Authority) -> None:
        self.started, self._home, self._authority = started, home, authority

    def send(
        self, path: str, as_: str = SHOP, body: bytes = b"", headers: tuple[tuple[str, str], ...] = ()
    ) -> tuple[int, dict[str, str]]:
        """Send a request over mTLS; return the status, and the headers that the application got."""
        self.started.application.take()
        link = http.client.HTTPSConnection("127.0.0.1", self.started.port, timeout=20, context=self._tls(as_))
        with closing(link):
            sent = {"Host": "items.example.com", **dict(headers)}
            link.request("POST" if body else "GET", path, body or None, sent)
            status = link.getresponse().status
        seen = self.started.application.take()
        return status, dict(seen[0].headers) if seen else {}

    def _tls(self, as_: str) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self._home / "ca.crt"))
        context.check_hostname = False  # workloads are known by their SPIFFE id
        if as_:
            context.load_cert_chain(*self._authority.vouch(as_).written(self._home, "caller"))
        return context


@contextmanager
def pod(home: Path) -> Iterator[Pod]:
    """Start the mesh's Envoy of a pod, its sidecar and its application."""
    authority = Authority()
    ca = authority.written(home, "ca")
    own = authority.vouch("spiffe://cluster.local/ns/items/sa/items").written(home, "pod")

    def envoy(ports: Ports) -> str:
        where = {"listens": ports.listens, "admin": ports.admin}
        reached = {"outbound|9191|": ports.checks, "inbound|": ports.application}
        return of_pod(mesh.kept()["known"], where | reached, tls_secrets(("default", "ROOTCA"), *own, ca))

    with behind(home, POLICY, _settings(home), envoy) as started:
        yield Pod(started, home, authority)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    with pod(tmp_path_factory.mktemp("pod")) as started:
        yield started


def test_a_workload_is_known_by_what_the_mesh_has_proven(live: Pod) -> None:
    status, got = live.send("/orders/7", headers=(("x-auth-peer", STRANGER),))
    assert (status, got["x-auth-peer"]) == (200, SHOP)
    assert live.send("/orders/7", as_=STRANGER) == (403, {})


def test_nobody_is_asked_about_a_caller_without_a_certificate(live: Pod) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        live.send("/orders/7", as_="")


def test_rules_read_the_body_byte_for_byte_and_larger_ones_are_refused(live: Pod) -> None:
    assert live.send("/words", body=b"a\xffb")[0] == 200
    assert live.send("/words", body=b"a!b")[0] == 403
    assert live.send("/words", body=b"x" * 1025) == (413, {})


@pytest.mark.parametrize("path", ["/orders/a%2Fb", "/orders/a;b", "/orders/%2e%2e/words%5C"])
def test_what_could_be_read_in_two_ways_is_refused_by_the_sidecar(live: Pod, path: str) -> None:
    assert live.send(path) == (400, {})


def test_slashes_are_one_before_anybody_is_asked(live: Pod) -> None:
    assert live.send("//orders///7")[0] == 200


def test_headers_with_underscores_arrive_and_those_that_would_be_ours_go_no_further(live: Pod) -> None:
    status, got = live.send("/odd", headers=(("x_odd", "1"), ("x_auth_peer", STRANGER)))
    assert status == 200
    assert "x_auth_peer" not in got


def test_a_connection_that_carries_no_request_is_refused(live: Pod) -> None:
    asked = CheckRequest()
    asked.attributes.source.principal = SHOP
    env = live.started.sidecar.plan.env or {}
    with client(env["AUTHZ_LISTEN"]) as ask:
        assert read(ask(asked.SerializeToString(), timeout=20)).status.code != 0


def test_while_the_sidecar_is_away_nothing_passes(tmp_path: Path) -> None:
    with pod(tmp_path) as ours:
        assert ours.send("/orders/7")[0] == 200
        ours.started.sidecar.stop()
        assert ours.send("/orders/7") == (503, {})
