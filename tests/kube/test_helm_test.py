"""`helm test`, for real: the pod that the chart brings is injected, run, and its end is what Helm goes by."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from tests.kube import applications as apps
from tests.kube.api import Api
from tests.kube.cluster import Cluster, Helm, Said
from tests.kube.kubelet import Kubelet, kubelet
from tests.kube.node.pod import Pod
from tests.kube.pods import Release, release

NAME = "helm-test"


class Town(NamedTuple):
    """What the tests of this module share."""

    release: Release
    kubelet: Kubelet


@pytest.fixture(scope="module")
def town(cluster: Cluster, helm4: Helm, chart: str) -> Iterator[Town]:
    namespace = cluster.create_namespace(NAME)
    api = Api(cluster)
    values = {"keys": {"pepper": apps.PEPPER}}
    with release(helm4, cluster, chart, NAME, namespace, values) as ours, kubelet(api) as node:
        yield Town(ours, node)
    cluster.delete_namespace(namespace)
    api.close()


@contextmanager
def nobody_else_runs_pods(cluster: Cluster) -> Iterator[None]:
    """Keep the scheduler from giving the pod to the node that only plays."""
    cluster.kubectl("cordon", "kwok")
    try:
        yield
    finally:
        cluster.kubectl("uncordon", "kwok")


def helm_test(town: Town, helm: Helm) -> tuple[Said, Pod]:
    """Run `helm test`; return what it said, and the pod that it made."""
    ours = town.release
    with nobody_else_runs_pods(ours.cluster), ThreadPoolExecutor(max_workers=1) as pool:
        words = ("test", ours.name, "-n", ours.namespace, "--timeout=120s")
        said = pool.submit(lambda: helm(*words, check=False))
        pod = town.kubelet.adopt(ours.namespace, f"{ours.name}-authz-test")
        return said.result(), pod


def test_it_passes_where_the_sidecar_does_its_work(town: Town, helm: Helm) -> None:
    said, pod = helm_test(town, helm)
    assert said.code == 0, said.text + pod.story()
    assert pod.phase == "Succeeded"
    for line in ("ok     GET /allowed: 200", "ok     GET /refused: 403 forbidden"):
        assert line in said.text  # the client's own words, out of the pod's log
    order = [event.split()[1] for event in pod.events if event.startswith("started ")]
    assert order == ["application", "authz-init", "authz", "authz-envoy", "client"]
    assert pod.over.wait(20), "Helm deletes the pod of a test that passed"


def test_it_fails_where_everything_is_refused(town: Town, helm4: Helm) -> None:
    api, namespace = town.kubelet.api, town.release.namespace
    policies = f"{town.release.name}-authz-policies-helm-test"
    before = api.get("configmaps", namespace, policies)
    assert before is not None
    closed = before["data"]["helm-test.yaml"].replace("[/allowed]", "[/other]")
    api.change("configmaps", namespace, policies, data={"helm-test.yaml": closed})
    said, pod = helm_test(town, helm4)
    assert said.code != 0
    assert pod.phase == "Failed"
    assert "WRONG  GET /allowed: 403 forbidden, expected was 200" in said.text
