"""`injection: webhook` on a real API server: the chart installed, two processes of it, their real rights."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.kube.api import Answer, Api
from tests.kube.cluster import Cluster, Helm
from tests.kube.webhook import Balancer, Replica, lead_here, own_pod, replica
from tests.support.redis import LOOPBACK, free_ports

Object = dict[str, Any]
RELEASE, HOME, SERVED, OTHER = "hook", "hook-system", "hook-served", "hook-other"
NAME = f"{RELEASE}-authz-webhook"
CONFIGURATION = f"{NAME}.{HOME}"
POLICY = """\
apiVersion: policy.authz/v1alpha1
kind: Policy
metadata: {name: all}
spec:
  hosts: [items.test]
  rules: [{name: read, effect: allow, paths: ["/**"], identity: [anyone]}]
"""


class Installed(NamedTuple):
    """The chart as installed for this module."""

    cluster: Cluster
    api: Api
    values: Path
    balancer: Balancer
    home: Path


@pytest.fixture(scope="module")
def installed(
    cluster: Cluster, helm3: Helm, chart: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installed]:
    home = tmp_path_factory.mktemp("webhook")
    (port,) = free_ports(1)
    for name in (HOME, SERVED, OTHER):
        cluster.create_namespace(name)
    values = home / "values.json"
    values.write_text(
        json.dumps(
            {
                "injection": "webhook",
                "namespaces": [SERVED],
                "sidecar": {"hosts": ["items.test"]},
                "webhook": {"port": port},
                "policies": {"sets": {"default": {"files": {"all.yaml": POLICY}}}},
            }
        )
    )
    api = Api(cluster)
    # Before there is a guard: a pod that an injector missed.
    assert _create(api, SERVED, _pod("forgotten")).status == 201
    balancer = Balancer(socket.create_server((LOOPBACK, port)))
    try:
        helm3("install", RELEASE, chart, "-n", HOME, "-f", str(values))
        lead_here(cluster, HOME, NAME)
        yield Installed(cluster, api, values, balancer, home)
    finally:
        helm3("uninstall", RELEASE, "-n", HOME, check=False)
        balancer.close()
        api.close()
        for name in (HOME, SERVED, OTHER):
            cluster.delete_namespace(name)


@pytest.fixture(scope="module")
def replicas(installed: Installed) -> Iterator[list[Replica]]:
    with ExitStack() as stack:
        ours = [
            stack.enter_context(replica(installed.cluster, HOME, NAME, installed.home / name))
            for name in ("first", "second")
        ]
        installed.balancer.lead_to(*(each.connect for each in ours))
        yield ours


def _pod(name: str, *, label: str = "true", **annotations: str) -> Object:
    labels = {"sidecar.authz/inject": label} if label else {}
    notes = {f"sidecar.authz/{key.replace('_', '-')}": text for key, text in annotations.items()}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels, "annotations": notes},
        "spec": {"containers": [{"name": "application", "image": "sample:1"}]},
    }


def _create(api: Api, namespace: str, pod: Object, *, dry: bool = False) -> Answer:
    query = "?dryRun=All" if dry else ""
    return api.ask("POST", f"/api/v1/namespaces/{namespace}/pods{query}", pod)


def _ours(pod: Object) -> list[str]:
    spec = pod["spec"]
    return [each["name"] for each in (*spec.get("initContainers", ()), *spec["containers"])]


def _bundle(installed: Installed) -> bytes:
    stored = installed.cluster.get("mutatingwebhookconfiguration", CONFIGURATION)
    (webhook,) = stored["webhooks"]
    return base64.b64decode(webhook["clientConfig"].get("caBundle", ""))


def _secret(installed: Installed) -> dict[str, bytes]:
    data = installed.cluster.get("secret", NAME, HOME).get("data", {})
    return {name: base64.b64decode(text) for name, text in data.items()}


def _change(installed: Installed, kind: str, name: str, change: Any, form: str = "merge") -> None:
    where = ["-n", HOME] if kind == "secret" else []
    installed.cluster.kubectl("patch", kind, name, *where, f"--type={form}", "-p", json.dumps(change))


def test_a_pod_that_asks_gets_its_sidecar_and_the_guard_lets_it_in(
    installed: Installed, replicas: list[Replica]
) -> None:
    answer = _create(installed.api, SERVED, _pod("asks", port="8081"))
    assert answer.status == 201, answer
    assert _ours(answer.body) == ["authz-init", "authz", "authz-envoy", "application"]
    assert "127.0.0.1:8081" in json.dumps(answer.body["spec"]["initContainers"])


def test_a_pod_that_has_its_sidecar_gets_no_second(installed: Installed, replicas: list[Replica]) -> None:
    first = _create(installed.api, SERVED, _pod("twice"), dry=True).body
    again = {**first, "metadata": {key: first["metadata"][key] for key in ("name", "labels", "annotations")}}
    answer = _create(installed.api, SERVED, again, dry=True)
    assert answer.status == 201, answer
    assert answer.body["spec"] == first["spec"]
    assert answer.body["metadata"]["annotations"] == first["metadata"]["annotations"]


def test_nobody_else_is_touched(installed: Installed, replicas: list[Replica]) -> None:
    for namespace, label in ((SERVED, ""), (SERVED, "false"), (OTHER, "")):
        answer = _create(installed.api, namespace, _pod("plain", label=label), dry=True)
        assert answer.status == 201, answer
        assert _ours(answer.body) == ["application"]


def test_a_pod_that_asks_for_what_cannot_be_is_told_why(
    installed: Installed, replicas: list[Replica]
) -> None:
    answer = _create(installed.api, SERVED, _pod("wrong", port="eighty"))
    assert answer.status == 422
    assert "inject.sidecar.authz" in answer.body["message"]
    assert "sidecar.authz/port" in answer.body["message"]


def test_a_service_that_asks_leads_to_envoy(installed: Installed, replicas: list[Replica]) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "items", "labels": {"sidecar.authz/inject": "true"}},
        "spec": {"selector": {"app": "items"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    path = f"/api/v1/namespaces/{SERVED}/services"
    answer = installed.api.ask("POST", path, service)
    assert answer.status == 201, answer
    assert [port["targetPort"] for port in answer.body["spec"]["ports"]] == ["authz-http"]
    back = {"spec": {"ports": [{"port": 80, "targetPort": 8080}]}}
    answer = installed.api.ask("PATCH", f"{path}/items", back, "application/strategic-merge-patch+json")
    assert [port["targetPort"] for port in answer.body["spec"]["ports"]] == ["authz-http"]


def test_pods_that_an_injector_missed_are_counted(installed: Installed, replicas: list[Replica]) -> None:
    missing = f'authz_injection_pods_missing_sidecar{{pod_namespace="{SERVED}"}}'
    installed.cluster.until(lambda: replicas[0].metric(missing) == 1.0, "the forgotten pod to be counted")
    assert replicas[0].metric("authz_injection_last_look_timestamp_seconds")
    assert "hook-served/forgotten" in (installed.home / "first" / "log").read_text()


def test_replicas_agree_on_one_certificate(installed: Installed, replicas: list[Replica]) -> None:
    expiry = "authz_webhook_certificate_expiry_timestamp_seconds"
    assert replicas[0].metric(expiry) == replicas[1].metric(expiry)
    assert _bundle(installed) == _secret(installed)["ca.crt"]


def test_an_emptied_bundle_is_mended(installed: Installed, replicas: list[Replica]) -> None:
    before = _bundle(installed)
    path = "/webhooks/0/clientConfig/caBundle"
    _change(
        installed,
        "mutatingwebhookconfiguration",
        CONFIGURATION,
        [{"op": "remove", "path": path}],
        form="json",
    )
    installed.cluster.until(lambda: _bundle(installed) == before, "the bundle to be mended")
    installed.cluster.until(
        lambda: _create(installed.api, SERVED, _pod("mended"), dry=True).status == 201, "pods to be admitted"
    )


def test_an_upgrade_leaves_bundle_and_secret_alone(
    installed: Installed, replicas: list[Replica], helm3: Helm, chart: str
) -> None:
    bundle, secret = _bundle(installed), _secret(installed)
    version = installed.cluster.get("mutatingwebhookconfiguration", CONFIGURATION)["metadata"]
    values = [RELEASE, chart, "-n", HOME, "-f", str(installed.values)]
    helm3("upgrade", *values, "--set", "sidecar.logLevel=debug", "--set", f"namespaces={{{SERVED},{OTHER}}}")
    after = installed.cluster.get("mutatingwebhookconfiguration", CONFIGURATION)["metadata"]
    assert after["generation"] == version["generation"] + 1, "the upgrade changed the configuration"
    assert (_bundle(installed), _secret(installed)) == (bundle, secret)
    # The template is another one now, and the guard wants it, as soon as the API server has read it.
    installed.cluster.until(
        lambda: _create(installed.api, SERVED, _pod("old"), dry=True).status == 422, "the guard to follow"
    )
    for each in replicas:
        each.mount()
    installed.cluster.until(
        lambda: all(_create(installed.api, SERVED, _pod("new"), dry=True).status == 201 for _ in range(8)),
        "both replicas to have read it",
    )


def test_helm_4_leaves_bundle_and_secret_alone_too(
    cluster: Cluster, helm4: Helm, chart: str, tmp_path: Path
) -> None:
    # By server-side apply: what it never said belongs to whoever did.
    namespace = cluster.create_namespace("hook-four")
    values = tmp_path / "values.json"
    sets = {"default": {"files": {"all.yaml": POLICY}}}
    values.write_text(
        json.dumps({"injection": "webhook", "policies": {"sets": sets}, "sidecar": {"hosts": ["items.test"]}})
    )
    account = "four-authz-webhook"
    configuration = f"{account}.{namespace}"
    bundle = base64.b64encode(Path(cluster.ca).read_bytes()).decode()
    webhook = {"name": "inject.sidecar.authz", "clientConfig": {"caBundle": bundle}}
    try:
        helm4("install", "four", chart, "-n", namespace, "-f", str(values))
        for words in (
            ["secret", account, "-n", namespace, "--type=merge", "-p", '{"data":{"since":"MA=="}}'],
            ["mutatingwebhookconfiguration", configuration, "-p", json.dumps({"webhooks": [webhook]})],
        ):
            said = cluster.as_service_account(namespace, account, "patch", *words)
            assert said.code == 0, said.text
        helm4(
            "upgrade",
            "four",
            chart,
            "-n",
            namespace,
            "-f",
            str(values),
            "--set",
            f"namespaces={{{namespace},default}}",
        )
        (stored,) = cluster.get("mutatingwebhookconfiguration", configuration)["webhooks"]
        assert stored["clientConfig"]["caBundle"] == bundle
        assert stored["namespaceSelector"]["matchExpressions"][0]["values"] == [namespace, "default"]
        assert cluster.get("secret", account, namespace)["data"] == {"since": "MA=="}
    finally:
        helm4("uninstall", "four", "-n", namespace, check=False)
        cluster.delete_namespace(namespace)


class _Stream:
    """Pods created one after the other, while something happens."""

    def __init__(self, installed: Installed) -> None:
        self.refused: list[Answer] = []
        self.created = 0
        self._installed = installed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> _Stream:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        api = Api(self._installed.cluster)
        while not self._stop.is_set():
            answer = _create(api, SERVED, _pod("stream"), dry=True)
            self.created += 1
            if answer.status != 201 or len(_ours(answer.body)) != 4:
                self.refused.append(answer)
        api.close()


def test_a_rotation_refuses_nobody(installed: Installed, replicas: list[Replica]) -> None:
    before = _secret(installed)
    with _Stream(installed) as stream:
        # Who wants to be rid of a key empties the Secret: it comes back, and with it a successor.
        _change(installed, "secret", NAME, {"data": None})
        installed.cluster.until(lambda: _has_successor(installed), "a successor of the certificate")
        staged = _secret(installed)
        assert staged["tls.crt"] == before["tls.crt"]
        installed.cluster.until(
            lambda: _bundle(installed) == before["ca.crt"] + staged["next.ca.crt"], "both CAs in the bundle"
        )
        # Five minutes pass at once.
        _change(installed, "secret", NAME, {"data": {"since": base64.b64encode(b"1.0").decode()}})
        installed.cluster.until(
            lambda: _secret(installed)["tls.crt"] == staged["next.tls.crt"], "the successor in office"
        )
        successor = staged["next.tls.crt"].decode()
        installed.cluster.until(
            lambda: all(_shown(each) == successor for each in replicas), "both replicas to show it"
        )
        made = stream.created
        installed.cluster.until(lambda: stream.created > made + 20, "pods after the rotation")
    assert not stream.refused, stream.refused[0]
    assert _bundle(installed).startswith(staged["next.ca.crt"])
    assert before["ca.crt"] in _bundle(installed)


def _shown(one: Replica) -> str:
    return ssl.get_server_certificate((LOOPBACK, one.port))


def _has_successor(installed: Installed) -> bool:
    with suppress(AssertionError):
        return "next.ca.crt" in _secret(installed)
    return False


def test_a_damaged_secret_is_mended(installed: Installed, replicas: list[Replica]) -> None:
    before = _secret(installed)["tls.crt"]
    _change(installed, "secret", NAME, {"data": {"tls.crt": "bm8gY2VydGlmaWNhdGU="}})
    with _Stream(installed) as stream:
        installed.cluster.until(lambda: _secret(installed)["tls.crt"] == before, "the Secret to be mended")
    assert not stream.refused, stream.refused[0]


def test_a_replica_that_leaves_takes_no_pod_with_it(installed: Installed, replicas: list[Replica]) -> None:
    with _Stream(installed) as stream:
        installed.cluster.until(lambda: stream.created > 20, "pods before")
        with replica(installed.cluster, HOME, NAME, installed.home / "third") as third:
            installed.balancer.lead_to(*(each.connect for each in (third, *replicas)))
            made = stream.created
            installed.cluster.until(lambda: stream.created > made + 20, "pods with a third")
            installed.balancer.lead_to(*(each.connect for each in replicas))
            assert third.leave() == 0
        made = stream.created
        installed.cluster.until(lambda: stream.created > made + 20, "pods without it")
    assert not stream.refused, stream.refused[0]


def test_without_the_webhook_nobody_starts_without_a_sidecar_and_others_are_not_touched(
    installed: Installed, replicas: list[Replica]
) -> None:
    installed.balancer.lead_to()
    installed.balancer.hang_up()
    try:
        answer = _create(installed.api, SERVED, _pod("down"))
        assert answer.status == 500
        assert "inject.sidecar.authz" in answer.body["message"]
        assert installed.api.get("pods", SERVED, "down") is None
        for namespace in (SERVED, OTHER, HOME):
            assert _create(installed.api, namespace, _pod("plain", label=""), dry=True).status == 201
    finally:
        installed.balancer.lead_to(*(each.connect for each in replicas))
    installed.cluster.until(
        lambda: _create(installed.api, SERVED, _pod("up"), dry=True).status == 201,
        "pods to be admitted again",
    )


def test_with_policies_the_watch_counts_in_the_namespaces_served_and_may_do_no_more(
    installed: Installed, helm3: Helm, chart: str, tmp_path: Path
) -> None:
    cluster = installed.cluster
    values = json.loads(installed.values.read_text()) | {
        "injection": "policy",
        "watch": {"everywhere": False},
    }
    (tmp_path / "values.json").write_text(json.dumps(values))
    words = [RELEASE, chart, "-n", HOME, "-f", str(tmp_path / "values.json"), "--kube-version", "1.37.0"]
    text = helm3("template", *words, "-s", "templates/watch.yaml").out
    account = f"{RELEASE}-authz-watch"
    try:
        cluster.kubectl("apply", "-f", "-", given=text)
        with replica(cluster, HOME, account, tmp_path / "watch") as ours:
            assert ours.metric(f'authz_injection_pods_missing_sidecar{{pod_namespace="{SERVED}"}}') == 1
            assert ours.leave() == 0
        for asked, answer in (("list pods", "yes"), ("get secrets", "no"), ("create pods", "no")):
            assert _may(installed, asked, account, SERVED) == answer, asked
        assert _may(installed, "list pods", account, OTHER) == "no"
    finally:
        cluster.kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", given=text)


@pytest.mark.parametrize(
    "words",
    [
        "get secrets",
        "list secrets",
        "get secret hook-authz-keys",
        "delete secret hook-authz-webhook",
        "create secrets",  # one could ask for the token of any account
        "create pods",
        "delete pods",
        "get pods",
        "watch pods",
        "create mutatingwebhookconfigurations",
        "patch mutatingwebhookconfiguration other",
        "delete mutatingwebhookconfiguration hook-authz-webhook.hook-system",
        "list mutatingwebhookconfigurations",
        "patch configmaps",
        "create serviceaccounts/token",
        "list nodes",
        "escalate clusterroles",
    ],
)
def test_its_account_may_not(installed: Installed, words: str) -> None:
    assert _may(installed, words) == "no"


@pytest.mark.parametrize(
    "words",
    [
        "get secret hook-authz-webhook",
        "patch secret hook-authz-webhook",
        "get mutatingwebhookconfiguration hook-authz-webhook.hook-system",
        "patch mutatingwebhookconfiguration hook-authz-webhook.hook-system",
        "list pods",
    ],
)
def test_its_account_may(installed: Installed, words: str) -> None:
    assert _may(installed, words) == "yes"


def _may(installed: Installed, words: str, account: str = NAME, namespace: str = HOME) -> str:
    verb, kind, *name = words.split()
    thing = f"{kind}/{name[0]}" if name else kind
    identity = [f"--as=system:serviceaccount:{HOME}:{account}", "-n", namespace]
    said = installed.cluster.kubectl("auth", "can-i", verb, thing, *identity, check=False)
    return said.out.strip().splitlines()[-1]


def test_the_charts_own_pod_runs_as_it_is_stored_and_injects(
    installed: Installed, replicas: list[Replica]
) -> None:
    cluster = installed.cluster
    with own_pod(cluster, installed.api, HOME, NAME) as (pod, connect):
        installed.balancer.lead_to(connect)
        installed.balancer.hang_up()
        cluster.until(
            lambda: _create(installed.api, SERVED, _pod("stored"), dry=True).status == 201,
            "pods to be admitted",
        )
        assert "the API server knows our certificate" in pod.log("webhook")
        limits = cluster.get("deployment", NAME, HOME)["spec"]["template"]["spec"]["containers"][0][
            "resources"
        ]
        assert limits["limits"]["memory"] == "192Mi"
        assert pod.memory_bytes("webhook") < 128 * 1024**2
    installed.balancer.lead_to(*(each.connect for each in replicas))


def test_uninstalling_leaves_nothing_though_replicas_still_run(
    installed: Installed, replicas: list[Replica], helm3: Helm
) -> None:
    helm3("uninstall", RELEASE, "-n", HOME)
    kinds = "secret,configmap,service,deployment,role,rolebinding,poddisruptionbudget,networkpolicy"
    chosen = ["-l", f"app.kubernetes.io/instance={RELEASE}", "-o", "name"]
    left = installed.cluster.kubectl("get", kinds, "-n", HOME, *chosen).out
    left += installed.cluster.kubectl(
        "get", "clusterrole,clusterrolebinding,mutatingwebhookconfiguration", *chosen
    ).out
    assert left == ""
    # Each looks every five seconds or so.
    logs = [installed.home / name / "log" for name in ("first", "second")]
    installed.cluster.until(
        lambda: all("cannot be looked after" in log.read_text() for log in logs), "both to have looked"
    )
    assert installed.cluster.kubectl("get", "secret", NAME, "-n", HOME, check=False).code != 0
