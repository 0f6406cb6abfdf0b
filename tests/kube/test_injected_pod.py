"""An injected pod, run: containers, volumes, probes and users as they are stored, and real requests."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from authz.proxy.client import Reply
from tests.kube import applications as apps
from tests.kube.api import Api
from tests.kube.cluster import Cluster, Helm
from tests.kube.kubelet import NODE, Kubelet, kubelet
from tests.kube.node.pod import Pod
from tests.kube.node.services import endpoints
from tests.kube.pods import Release, release
from tests.support.proxy import eventually

NAME = "injected-pod"
OURS = ("authz", "authz-envoy")
ENVOY_PORT, OPS_PORT, STATS_PORT = 9180, 9192, 9193
BROKEN = "apiVersion: policy.authz/v1alpha1\nkind: Polcy\nmetadata: {name: broken}\nspec: {}\n"


class Town(NamedTuple):
    """What the tests of this module share."""

    release: Release
    kubelet: Kubelet
    tokens: dict[str, str]


@pytest.fixture(scope="module")
def town(
    cluster: Cluster, helm4: Helm, chart: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Town]:
    tokens, documents = apps.keys(tmp_path_factory.mktemp("keys"), "acme", "globex")
    values = {
        "policies": {
            "sets": {
                "default": {"files": {"items.yaml": apps.POLICIES, "keys.yaml": documents}},
                "broken": {"files": {"broken.yaml": BROKEN}},
            }
        },
        "keys": {"pepper": apps.PEPPER},
        "redis": {"development": {"enabled": True}},
        "sidecar": {"fleetSize": 2, "hosts": [apps.HOST]},
    }
    namespace = cluster.create_namespace(NAME)
    api = Api(cluster)
    with release(helm4, cluster, chart, NAME, namespace, values) as ours, kubelet(api) as node:
        _run_redis(ours, node)
        yield Town(ours, node, tokens)
    cluster.delete_namespace(namespace)
    api.close()


def _run_redis(ours: Release, node: Kubelet) -> None:
    """Take the chart's own Redis over, and answer at its Service's address."""
    name = f"{ours.name}-authz-redis"
    here = {"spec": {"template": {"metadata": {"labels": {"app": "redis"}}, "spec": {"nodeName": NODE}}}}
    ours.cluster.kubectl("patch", "deployment", name, "-n", ours.namespace, "-p", json.dumps(here))
    node.run(ours.namespace, apps.bound(ours, "redis")).wait_ready()
    node.serve(ours.namespace, name)


@pytest.fixture(scope="module")
def pod(town: Town) -> Pod:
    """The injected pod that most tests ask; its application has a Service."""
    made = apps.run(town.release, town.kubelet, apps.deployment("items"), apps.service("items"))
    made.wait_ready()
    return made


@pytest.fixture(scope="module")
def caller(town: Town, pod: Pod) -> apps.Caller:
    return apps.Caller(town.kubelet, pod.address, ENVOY_PORT)


def test_with_a_key_the_application_answers_and_never_sees_the_key(town: Town, caller: apps.Caller) -> None:
    reply = caller.get("/items/1", town.tokens["acme"])
    assert reply.status == 200
    seen = json.loads(reply.body)
    assert seen["path"] == "/items/1"
    assert town.tokens["acme"] not in reply.body.decode()
    assert seen["peer"] == "127.0.0.1"  # from Envoy, in the same pod


@pytest.mark.parametrize(
    ("path", "host", "key", "status", "reason"),
    [
        ("/items/1", apps.HOST, "", 401, "unauthenticated"),
        ("/nowhere", apps.HOST, "acme", 403, "forbidden"),
        ("/items/1", "other.test", "acme", 404, ""),  # Envoy's own answer: the pod serves no such host
    ],
)
def test_what_no_policy_allows_is_refused(
    town: Town, caller: apps.Caller, path: str, host: str, key: str, status: int, reason: str
) -> None:
    reply = caller.get(path, town.tokens.get(key, ""), host)
    assert (reply.status, reply.header("x-authz-reason")) == (status, reason)


def test_its_service_leads_to_envoy(town: Town, pod: Pod) -> None:
    assert eventually(lambda: bool(endpoints(town.kubelet.api, town.release.namespace, "items")))
    found = endpoints(town.kubelet.api, town.release.namespace, "items")
    assert found == [(pod.address, ENVOY_PORT, "http")]  # the sidecar's named port, worked out by the cluster


def test_two_pods_share_a_limit_through_the_redis_of_the_chart(town: Town, caller: apps.Caller) -> None:
    other = apps.run(town.release, town.kubelet, apps.deployment("other"))
    other.wait_ready()
    also = apps.Caller(town.kubelet, other.address, ENVOY_PORT)
    token = town.tokens["globex"]
    replies = [who.get("/rare", token) for who in (caller, also, caller, also)]
    assert [reply.status for reply in replies] == [200, 200, 429, 429]
    assert int(replies[2].header("retry-after")) > 0
    assert '"store":"redis"' in other.log("authz")
    other.kill()


def test_probes_go_to_the_application_itself(pod: Pod) -> None:
    assert pod.container("application").probe("livenessProbe").good
    seen = json.loads(pod.container("application").probe("readinessProbe").text.partition(": ")[2])
    names = {name.lower() for name, _ in seen["headers"]}
    assert seen["path"] == "/healthz"
    assert "x-request-id" not in names  # Envoy would have set it


def test_metrics_and_readiness_of_both_are_there(town: Town, pod: Pod, caller: apps.Caller) -> None:
    caller.get("/public/1")
    ops = apps.Caller(town.kubelet, pod.address, OPS_PORT)
    stats = apps.Caller(town.kubelet, pod.address, STATS_PORT)
    assert [door.get("/ready").status for door in (ops, stats)] == [200, 200]
    assert b"authz_checks_total" in ops.get("/metrics").body
    assert b"envoy_http_ext_authz_ok" in stats.get("/stats/prometheus").body
    assert stats.get("/quitquitquit").status == 404


def test_each_decision_is_a_record_in_the_log(town: Town, pod: Pod, caller: apps.Caller) -> None:
    wanted = caller.get("/items/1").header("x-authz-decision-id")
    assert wanted
    pod.wait(lambda: wanted in pod.log("authz"), "the record")
    records = [json.loads(line) for line in pod.log("authz").splitlines() if wanted in line]
    assert [(one["status"], one["reason"]) for one in records] == [(401, "credential_missing")]
    assert records[0]["sidecar"] == pod.name


@pytest.mark.parametrize("name", OURS)
def test_a_container_can_change_nothing_but_its_volumes(pod: Pod, name: str) -> None:
    state = Path(f"/proc/{pod.container(name).pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in state.splitlines())
    assert fields["Uid"].split() == fields["Gid"].split() == ["65532"] * 4
    assert (fields["CapBnd"], fields["CapEff"], fields["NoNewPrivs"]) == ("0" * 16, "0" * 16, "1")
    code, said = pod.container(name).run(
        ["/bin/sh", "-c", "touch /tmp/x /etc/x; ls /var/run/secrets/kubernetes.io/serviceaccount"]
    )
    assert code == 0
    assert said.count("Read-only file system") == 2
    assert "token" not in said
    assert pod.container(name).run(["/bin/sh", "-c", "touch /run/authz/x && rm /run/authz/x"])[0] == 0


def test_what_is_mounted_is_read_only(pod: Pod) -> None:
    for path in ("/etc/authz/policies", "/etc/authz/secrets"):
        assert "Read-only" in pod.container("authz").run(["/bin/sh", "-c", f"touch {path}/x"])[1]


def test_both_keep_within_the_memory_that_the_values_give(pod: Pod) -> None:
    for name in OURS:
        limit = pod.container(name).spec["resources"]["limits"]["memory"]
        assert limit == "192Mi"
        assert pod.memory_bytes(name) < 160 * 1024**2


def test_changed_policies_are_enforced_without_a_restart(town: Town, pod: Pod, caller: apps.Caller) -> None:
    api, namespace = town.kubelet.api, town.release.namespace
    name = _policies(pod)
    before = api.get("configmaps", namespace, name)
    assert before is not None
    opened = before["data"]["items.yaml"].replace("/public/**", "/open/**")
    assert caller.get("/open/1").status == 403
    api.change("configmaps", namespace, name, data={"items.yaml": opened})
    assert pod.volumes.refresh()
    pod.wait(lambda: caller.get("/open/1").status == 200, "the new policies")
    assert caller.get("/public/1").status == 403
    assert [pod.container(one).restarts for one in OURS] == [0, 0]


def test_a_change_that_is_wrong_changes_nothing_and_is_told(
    town: Town, pod: Pod, caller: apps.Caller
) -> None:
    api, namespace = town.kubelet.api, town.release.namespace
    name = _policies(pod)
    before = api.get("configmaps", namespace, name)
    assert before is not None
    api.change("configmaps", namespace, name, data={"new.yaml": BROKEN})
    assert pod.volumes.refresh()
    pod.wait(lambda: "new.yaml:2:7" in pod.log("authz"), "the rejection in the log")
    assert caller.get("/items/1", town.tokens["acme"]).status == 200
    assert pod.ready
    api.change("configmaps", namespace, name, data={"new.yaml": None})
    assert pod.volumes.refresh()
    assert eventually(
        lambda: b'"rejected"' not in apps.Caller(town.kubelet, pod.address, OPS_PORT).get("/ready").body
    )


def _policies(pod: Pod) -> str:
    volumes = pod.stored["spec"]["volumes"]
    return str(next(one["configMap"]["name"] for one in volumes if one["name"] == "authz-policies"))


def test_a_pod_whose_policies_are_wrong_says_so_and_is_never_ready(town: Town) -> None:
    annotations = {"sidecar.authz/policies": "broken"}
    made = apps.run(town.release, town.kubelet, apps.deployment("wrong", annotations=annotations))
    made.wait(
        lambda: made.container("application").ready and made.container("authz-envoy").ready, "the others"
    )
    made.wait(lambda: made.container("authz").probe("readinessProbe").text != "not sent yet", "a probe")
    told = made.container("authz").probe("readinessProbe")
    assert not told.good
    assert "broken.yaml:2:7: there is no kind `Polcy`" in told.text
    assert "policy set rejected" in made.log("authz")
    assert not made.ready
    assert apps.Caller(town.kubelet, made.address, ENVOY_PORT).get("/public/1").status == 503
    stored = town.kubelet.api.get("pods", town.release.namespace, made.name)
    assert stored is not None
    conditions = {one["type"]: one["status"] for one in stored["status"]["conditions"]}
    assert conditions["Ready"] == "False"
    made.kill()


class Load:
    """Clients that ask a Service again and again, each on new connections, until they are told to stop."""

    def __init__(self, caller: apps.Caller, token: str, clients: int = 4) -> None:
        self.replies: list[Reply] = []
        self.errors: list[str] = []
        self._over = threading.Event()
        self._caller, self._token = caller, token
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        while not self._over.is_set():
            try:
                self.replies.append(self._caller.get("/slow/1", self._token))
            except (OSError, ValueError) as error:
                self.errors.append(repr(error))

    def statuses(self) -> set[int]:
        """Every status that anybody got."""
        return {reply.status for reply in self.replies}


# Every pod that leaves a Service behind needs this: addresses are withdrawn while containers already end.
LINGERING = {"lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}


def test_a_pod_that_ends_loses_no_request(town: Town) -> None:
    _drain(town.release, town.kubelet, town.tokens["acme"], ["application", "authz-envoy", "authz"])


def _drain(ours: Release, node: Kubelet, token: str, order: Sequence[str]) -> None:
    """End one of two pods under load; nobody notices, and its containers end in this order."""
    here: dict[str, Any] = {"labels": {"tier": "front"}, "container": LINGERING}
    going = apps.run(ours, node, apps.deployment("going", **here))
    staying = apps.run(ours, node, apps.deployment("staying", **here))
    front = apps.service("front")
    front["spec"]["selector"] = {"tier": "front"}
    ours.cluster.apply(front, namespace=ours.namespace)
    for each in (going, staying):
        each.wait_ready()
    assert eventually(lambda: len(endpoints(node.api, ours.namespace, "front")) == 2)
    address = node.serve(ours.namespace, "front").address
    with Load(apps.Caller(node, address, 80), token) as load:
        assert eventually(lambda: "/slow" in going.log("application") and len(load.replies) > 8)
        ours.cluster.kubectl("delete", "deployment", "going", "-n", ours.namespace)
        assert going.over.wait(40), going.story()
    assert (load.statuses(), load.errors) == ({200}, []), going.story()
    ended = [event.split()[1] for event in going.events if event.startswith("ended ") and "init" not in event]
    assert ended == list(order), going.story()
    assert [one.code for one in going.containers] == [0] * 4
    assert node.api.get("pods", ours.namespace, going.name) is None
