"""What the chart lets anybody do: each service account; and who reaches whom by its network policies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.kube.api import Api
from tests.kube.charts import HOME, SHOP, Object, Trial, places, tried
from tests.kube.cluster import Cluster, Helm

_LABEL = {"sidecar.authz/inject": "true"}
_NAME = "kubernetes.io/metadata.name"
# Everybody may ask what they may do, and what the server can.
_EVERYBODY = ("selfsubject", "clustertrustbundles", "[/", "Resources")


@pytest.fixture(scope="module")
def home(cluster: Cluster) -> Iterator[None]:
    with places(cluster):
        yield


class Network:
    """Network policies as they are stored, asked whether they let somebody in."""

    def __init__(self, policies: list[Object]) -> None:
        self._policies = policies

    def lets(
        self, source: tuple[str, Mapping[str, str]], to: tuple[str, Mapping[str, str]], port: int
    ) -> bool:
        """Tell whether a pod (namespace, labels) reaches a port of another; no policy lets everybody."""
        about = [
            each["spec"]
            for each in self._policies
            if each["metadata"]["namespace"] == to[0] and _fits(each["spec"]["podSelector"], to[1])
        ]
        rules = [rule for spec in about for rule in spec.get("ingress", ())]
        return not about or any(_opens(rule, source, to[0], port) for rule in rules)


def _opens(rule: Object, source: tuple[str, Mapping[str, str]], home: str, port: int) -> bool:
    if port not in [each["port"] for each in rule["ports"]]:
        return False
    return "from" not in rule or any(_is_peer(peer, source, home) for peer in rule["from"])


def _is_peer(peer: Object, source: tuple[str, Mapping[str, str]], home: str) -> bool:
    namespace, labels = source
    if "namespaceSelector" in peer:
        inside = _fits(peer["namespaceSelector"], {_NAME: namespace})
    else:
        inside = namespace == home
    return inside and _fits(peer.get("podSelector", {}), labels)


def _fits(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    equal = selector.get("matchLabels", {}).items() <= labels.items()
    assert {each["operator"] for each in selector.get("matchExpressions", ())} <= {"In"}
    return equal and all(
        labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", ())
    )


def _may(cluster: Cluster, account: str, namespace: str) -> set[str]:
    """Return the rows of `kubectl auth can-i --list` that only this account has, each in single spaces."""
    said = cluster.as_service_account(HOME, account, "auth", "can-i", "--list", "-n", namespace)
    rows = (" ".join(line.split()) for line in said.out.splitlines())
    return {row for row in rows if row and not any(word in row for word in _EVERYBODY)}


# INVARIANT: these come before `release`, whose webhook fails closed for pods of theirs.


def test_a_pod_chooses_its_port_among_those_that_are_open(cluster: Cluster, home: None, helm4: Helm) -> None:
    trial = Trial(helm4, "ports")
    api = Api(cluster)
    try:
        trial.install("policy", "--set=networkPolicy.listenPorts={9181}")
        network = Network(cluster.list("networkpolicies", SHOP))
        # An API server heeds a new policy a moment after it has it, each on its own.
        cluster.until(lambda: tried(api, 9182).status == 422, "the guard")
        cluster.until(lambda: "spec" in tried(api, 9180).body, "the injection")
        assert "networkPolicy.listenPorts" in tried(api, 9182).body["message"]
        for port in (9180, 9181):
            assert len(tried(api, port).body["spec"]["initContainers"]) == 3
        reached = [network.lets(("elsewhere", {}), (SHOP, _LABEL), port) for port in (9180, 9181, 9182)]
        assert reached == [True, True, False]
    finally:
        api.close()
        trial.uninstall()


@pytest.mark.parametrize(("variant", "account"), [("policy", "watch"), ("gateway", "service")])
def test_who_needs_less_may_do_less(
    cluster: Cluster, home: None, helm4: Helm, variant: str, account: str
) -> None:
    trial = Trial(helm4, "less")
    name = f"{trial.name}-authz-{account}"
    try:
        trial.install(variant)
        # In every namespace, since a label asks for a sidecar in any; `watch.everywhere: false` is below.
        counted = {"pods [] [] [list]"} if account == "watch" else set()
        assert (_may(cluster, name, HOME), _may(cluster, name, SHOP)) == (counted, counted)
        said = cluster.as_service_account(HOME, name, "get", "secrets", "-n", HOME)
        assert (said.code, "forbidden" in said.err) == (1, True)
        mounted = {
            pod["metadata"]["name"]: pod["spec"].get("automountServiceAccountToken")
            for pod in cluster.list("pods", HOME, f"app.kubernetes.io/component={account}")
        }
        assert set(mounted.values()) <= {account == "watch"}
    finally:
        trial.uninstall()


@pytest.fixture(scope="module")
def release(home: None, cluster: Cluster, helm4: Helm) -> Iterator[Trial]:
    """The webhook's variant, with a Redis: all that has a door or a token."""
    trial = Trial(helm4, "rights")
    trial.install("webhook", "--set=redis.development.enabled=true", "--set=watch.everywhere=false")
    yield trial
    trial.uninstall()


def test_the_webhook_may_keep_its_certificate_tell_the_api_server_and_count(
    cluster: Cluster, release: Trial
) -> None:
    name = f"{release.name}-authz-webhook"
    at_home, in_shop = _may(cluster, name, HOME), _may(cluster, name, SHOP)
    of_cluster = {
        "mutatingwebhookconfigurations.admissionregistration.k8s.io [] "
        f"[{release.name}-authz-webhook.{HOME}] [get patch]"
    }
    assert at_home == of_cluster | {f"secrets [] [{name}] [get patch]"}
    assert in_shop == of_cluster | {"pods [] [] [list]"}


# Each is tried, not asked about.
FORBIDDEN = {
    "read another Secret": ("get", "secret", "{release}-authz-keys", "-n", SHOP),
    "list Secrets at home": ("get", "secrets", "-n", HOME),
    "list Secrets everywhere": ("get", "secrets", "-A"),
    "delete its own Secret": ("delete", "secret", "{release}-authz-webhook", "-n", HOME),
    "read policies": ("get", "configmaps", "-n", SHOP),
    "list pods of others": ("get", "pods", "-n", "kube-system"),
    "delete a pod": ("delete", "pod", "mine", "-n", SHOP),
    "start a pod": ("run", "mine", "--image=mine", "-n", SHOP),
    "go into a pod": ("exec", "mine", "-n", SHOP, "--", "sh"),
    "get a token": ("create", "token", "default", "-n", SHOP),
    "change its own role": ("patch", "role", "{release}-authz-webhook", "-n", HOME, "-p", "{{}}"),
    "take the guard away": (
        *("delete", "validatingadmissionpolicybinding"),
        "{release}-authz-guard." + HOME,
    ),
    "list all webhooks": ("get", "mutatingwebhookconfigurations"),
    "make another webhook": ("create", "-f", "-"),
}
_WEBHOOK = (
    '{"apiVersion":"admissionregistration.k8s.io/v1","kind":"MutatingWebhookConfiguration",'
    '"metadata":{"name":"mine"}}'
)


@pytest.mark.parametrize("what", FORBIDDEN)
def test_the_webhook_may_not(cluster: Cluster, release: Trial, what: str) -> None:
    words = [word.format(release=release.name) for word in FORBIDDEN[what]]
    said = cluster.as_service_account(
        HOME, f"{release.name}-authz-webhook", *words, given=_WEBHOOK if words[-1] == "-" else None
    )
    assert (said.code, "forbidden" in said.err.lower()) == (1, True), said.text


def test_network_policies_let_in_who_should_and_nobody_else(cluster: Cluster, release: Trial) -> None:
    network = Network([*cluster.list("networkpolicies", HOME), *cluster.list("networkpolicies", SHOP)])
    component = "app.kubernetes.io/component"
    ours = {"app.kubernetes.io/name": "authz", "app.kubernetes.io/instance": release.name}
    anybody: tuple[str, dict[str, str]] = ("elsewhere", {})
    prometheus: tuple[str, dict[str, str]] = ("monitoring", {})
    injected = (SHOP, _LABEL)
    redis, webhook = (HOME, {**ours, component: "redis"}), (HOME, {**ours, component: "webhook"})
    assert network.lets(anybody, injected, 9180)
    assert not network.lets(anybody, injected, 8080)
    assert not network.lets(injected, injected, 8080)
    assert not network.lets(prometheus, injected, 8080)
    assert [network.lets(prometheus, injected, port) for port in (9192, 9193)] == [True, True]
    assert [network.lets(anybody, injected, port) for port in (9192, 9193, 9901)] == [False] * 3
    assert network.lets(injected, redis, 6379)
    assert not network.lets(anybody, redis, 6379)
    assert not network.lets((SHOP, {}), redis, 6379)
    assert not network.lets(("elsewhere", _LABEL), redis, 6379)
    assert not network.lets(webhook, redis, 6379)
    assert [network.lets(who, webhook, 9192) for who in (prometheus, anybody)] == [True, False]
