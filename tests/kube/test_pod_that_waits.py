"""A pod whose Secret is not there yet, and without native sidecars: what is told, and what still holds."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator

import pytest

from tests.kube import applications as apps
from tests.kube.api import Api
from tests.kube.applications import Caller
from tests.kube.cluster import Cluster, Helm
from tests.kube.kubelet import Kubelet, kubelet
from tests.kube.pods import HOSTS, Release, release

NAME = "pod-that-waits"
SECRET = "peppers"
OPEN = """\
apiVersion: policy.authz/v1alpha1
kind: Policy
metadata: {name: all}
spec:
  hosts: ["*"]
  rules: [{name: read, effect: allow, paths: ["/**"], identity: [anyone]}]
"""


@pytest.fixture(scope="module")
def town(cluster: Cluster, helm3: Helm, chart: str) -> Iterator[tuple[Release, Kubelet]]:
    namespace = cluster.create_namespace(NAME)
    api = Api(cluster)
    values = {
        "keys": {"existingSecret": SECRET},
        "sidecar": {"native": False, "hosts": [HOSTS]},
        "policies": {"sets": {"default": {"files": {"all.yaml": OPEN}}}},
    }
    with release(helm3, cluster, chart, NAME, namespace, values) as ours, kubelet(api) as node:
        yield ours, node
    cluster.delete_namespace(namespace)
    api.close()


def test_it_waits_for_its_secret_and_says_so_and_ordinary_containers_end_in_peace(
    town: tuple[Release, Kubelet],
) -> None:
    ours, node = town
    lingering = {"lifecycle": {"preStop": {"sleep": {"seconds": 4}}}}
    pod = apps.run(ours, node, apps.deployment("waits", container=lingering))
    pod.wait(lambda: bool(pod.trouble), "the kubelet to say what is missing")
    assert pod.trouble == f'MountVolume.SetUp failed for volume "authz-secrets" : secret "{SECRET}" not found'
    assert not any(one.running for one in pod.containers)

    pepper = base64.b64encode(apps.PEPPER.encode()).decode()
    ours.cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET},
            "data": {"API_KEY_SALT": pepper},
        },
        namespace=ours.namespace,
    )
    pod.wait_ready()
    assert [one.kind for one in pod.containers] == ["init", "ordinary", "ordinary", "ordinary"]
    caller = Caller(node, pod.address, 9180)
    assert caller.get("/items/1").status == 200

    ours.cluster.kubectl("delete", "deployment", "waits", "-n", ours.namespace)
    pod.wait(lambda: "preStop of authz-envoy" in pod.events, "the end to begin")
    statuses = set()
    while "SIGTERM to application" not in pod.events:  # for a moment clients still come
        statuses.add(caller.get("/items/1").status)
        time.sleep(0.01)
    assert statuses == {200}, pod.story()
    assert pod.over.wait(40), pod.story()
    ended = [event.split()[1] for event in pod.events if event.startswith("ended ") and "init" not in event]
    assert ended[-1] == "authz", pod.story()
