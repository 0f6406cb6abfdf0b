"""`envoy: gateway`: the chart, as Envoy Gateway itself translates it, in a real Envoy before a sidecar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from authz.proxy.client import Reply, request_bytes, send_raw
from authz.proxy.upstream import Seen
from tests.kube import translation
from tests.kube.behind import Behind, Ports, behind
from tests.kube.cluster import Helm
from tests.kube.staticenvoy import bootstrap, tls_secrets
from tests.kube.tools import tool
from tests.support.certificates import Authority

SERVICE = f"{translation.RELEASE}-authz.{translation.HOME}.svc"
ASKS = "envoy.filters.http.ext_authz/securitypolicy/edge/t-authz"
POLICY = """\
apiVersion: policy.authz/v1alpha1
kind: Policy
metadata: {name: all}
spec:
  hosts: ["*"]
  rules:
    - {name: open, effect: allow, paths: [/open], identity: [anyone], when: 'context["tier"] == "public"'}
    - {name: tiers, effect: allow, paths: [/inner], identity: [anyone], when: 'context["tier"] == "inner"'}
    - {name: words, effect: allow, paths: [/words], identity: [anyone], when: 'request.body == b"please"'}
    - {name: near, effect: allow, paths: [/near], identity: [anyone], addresses: [127.0.0.0/8]}
    - {name: far, effect: allow, paths: [/far], identity: [anyone], addresses: [203.0.113.0/24]}
  onAllow:
    headers: {x-told-tier: 'context[?"tier"].orValue("")'}
"""


def _filter(made: list[translation.Made]) -> dict[str, Any]:
    """Return what the one ext_authz filter is told."""
    found = list(_found(made, lambda one: one.get("name") == ASKS and "typedConfig" in one))
    (config,) = (one["typedConfig"] for one in found)
    assert isinstance(config, dict)
    return config


def _found(value: object, wanted: Callable[[dict[str, Any]], bool]) -> Iterator[dict[str, Any]]:
    """Yield every object, however deep, that is wanted."""
    if isinstance(value, dict):
        if wanted(value):
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _found(each, wanted)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> str:
    return translation.question(translation.rendered(Helm("helm3", tmp_path_factory.mktemp("helm"))))


def test_what_is_kept_is_what_envoy_gateway_said_of_this_chart(asked: str) -> None:
    assert translation.kept()["asked"] == translation.digest(asked), (
        "the chart renders something else for Envoy Gateway than what was translated: run"
        " `python -m tests.kube.tools egctl` (seven minutes, once) and `python -m tests.kube.translation`"
    )


def test_envoy_gateway_still_says_so(asked: str) -> None:
    assert translation.translated(asked, tool("egctl")) == translation.kept()["made"]


def test_the_filter_fails_closed_and_waits_200_ms() -> None:
    config = _filter(translation.kept()["made"])
    assert not config.get("failureModeAllow", False)
    assert config["grpcService"]["timeout"] == "0.200s"
    assert config["statusOnError"] == {"code": "ServiceUnavailable"}
    assert config["withRequestBody"] == {"maxRequestBytes": 1024}
    assert "allowedHeaders" not in config


def test_the_connection_manager_is_set_up_as_ours_is() -> None:
    (manager,) = _found(translation.kept()["made"], lambda one: "pathWithEscapedSlashesAction" in one)
    assert manager["normalizePath"] is True
    assert manager["mergeSlashes"] is True
    assert manager["useRemoteAddress"] is True
    assert manager["pathWithEscapedSlashesAction"] == "REJECT_REQUEST"
    assert manager["commonHttpProtocolOptions"]["headersWithUnderscoresAction"] == "REJECT_REQUEST"


def test_only_a_policy_that_is_laid_over_ours_leaves_ours_in_force() -> None:
    hosts = _found(translation.kept()["made"], lambda one: "example.com" in str(one.get("domains")))
    asks = {one["domains"][0]: ASKS in one["routes"][0].get("typedPerFilterConfig", {}) for one in hosts}
    assert asks == {"items.example.com": True, "merged.example.com": True, "replaced.example.com": False}


def _send(
    live: Behind, path: str, *headers: tuple[str, str], host: str = "items.example.com", body: bytes = b""
) -> tuple[Reply, list[Seen]]:
    """Send a request; return the answer, and what the application saw."""
    live.application.take()
    method = "POST" if body else "GET"
    reply = send_raw(live.port, request_bytes(method, path, [("host", host), *headers], body))
    return reply, live.application.take()


def _settings(home: Path) -> dict[str, str]:
    """Return what the chart tells the service, but for its certificate, which is in a folder here."""
    made = translation.rendered(Helm("helm3", home / "helm"))
    (deployment,) = (one for one in made if one["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    told = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    files = {"CERT": "server.crt", "KEY": "server.key", "CLIENT_CA": "ca.crt"}
    return told | {f"AUTHZ_TLS_{name}": str(home / file) for name, file in files.items()}


@contextmanager
def gateway(home: Path, named: str = SERVICE) -> Iterator[Behind]:
    """Start an Envoy of Envoy Gateway's.

    Args:
        named: the host in the sidecar's certificate.
    """
    authority = Authority()
    authority.written(home, "ca")
    authority.vouch(dns=[named]).written(home, "server")
    cert, key = authority.vouch("spiffe://edge/envoy").written(home, "client")
    secrets = tls_secrets(("edge/authz-client", "t-authz/authz-ca"), cert, key, home / "ca.crt")

    def envoy(ports: Ports) -> str:
        reached = {"extauth": ports.checks, "httproute": ports.application}
        return bootstrap(translation.kept()["made"], ports.listens, reached, secrets, ports.admin)

    with behind(home, POLICY, _settings(home), envoy) as started:
        yield started


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    with gateway(tmp_path_factory.mktemp("gateway")) as started:
        yield started


def test_a_request_is_allowed_by_what_the_gateway_says_of_itself(live: Behind) -> None:
    reply, (seen,) = _send(live, "/open", ("x-told-tier", "forged"))
    assert reply.status == 200
    assert seen.values("x-told-tier") == ["public"]


@pytest.mark.parametrize("path", ["/inner", "/elsewhere", "/far"])
def test_a_request_is_refused_and_goes_no_further(live: Behind, path: str) -> None:
    reply, seen = _send(live, path)
    assert (reply.status, seen) == (403, [])


def test_the_client_is_who_connects_whatever_it_says(live: Behind) -> None:
    assert _send(live, "/near", ("x-forwarded-for", "203.0.113.7"))[0].status == 200
    assert _send(live, "/far", ("x-forwarded-for", "203.0.113.7"))[0].status == 403


def test_rules_read_the_body_and_larger_ones_are_refused(live: Behind) -> None:
    assert _send(live, "/words", body=b"please")[0].status == 200
    assert _send(live, "/words", body=b"now")[0].status == 403
    reply, seen = _send(live, "/words", body=b"x" * 1025)
    assert (reply.status, seen) == (413, [])


@pytest.mark.parametrize("path", ["/open%2f..", "/a%5Cb"])
def test_what_could_be_read_in_two_ways_is_turned_away_by_envoy(live: Behind, path: str) -> None:
    reply, seen = _send(live, path)
    assert (reply.status, seen) == (400, [])


def test_headers_with_underscores_do_not_arrive(live: Behind) -> None:
    reply, seen = _send(live, "/open", ("x_told_tier", "forged"))
    assert (reply.status, seen) == (400, [])


def test_a_policy_that_replaces_ours_lets_everything_past_us_and_one_laid_over_ours_does_not(
    live: Behind,
) -> None:
    assert _send(live, "/elsewhere", host="replaced.example.com")[0].status == 200
    assert _send(live, "/elsewhere", host="merged.example.com")[0].status == 403
    assert _send(live, "/open", host="merged.example.com")[0].status == 200


def test_while_the_service_is_away_nothing_passes(tmp_path: Path) -> None:
    with gateway(tmp_path) as ours:
        assert _send(ours, "/open")[0].status == 200
        ours.sidecar.stop()
        reply, seen = _send(ours, "/open")
        assert (reply.status, seen) == (503, [])


def test_a_service_of_another_name_is_asked_nothing(tmp_path: Path) -> None:
    with gateway(tmp_path, named="other.authz.svc") as ours:
        reply, seen = _send(ours, "/open")
        assert (reply.status, seen) == (503, [])
