"""The cluster of the tests is one: what is asked of it is stored, scheduled, run, and forbidden."""

from __future__ import annotations

import json

import pytest

from tests.kube.cluster import Cluster
from tests.kube.tools import KUBERNETES

DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "sample"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "sample"}},
        "template": {
            "metadata": {"labels": {"app": "sample"}},
            "spec": {"containers": [{"name": "application", "image": "sample"}]},
        },
    },
}


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> str:
    return cluster.create_namespace("cluster-test")


def test_it_is_the_pinned_kubernetes(cluster: Cluster) -> None:
    assert (
        json.loads(cluster.kubectl("version", "-o", "json").out)["serverVersion"]["gitVersion"]
        == f"v{KUBERNETES}"
    )


def test_a_deployment_comes_to_run(cluster: Cluster, namespace: str) -> None:
    cluster.apply(DEPLOYMENT, namespace=namespace)
    cluster.kubectl("rollout", "status", "deployment/sample", "-n", namespace, "--timeout=60s")
    pods = cluster.list("pods", namespace)
    assert [(one["spec"]["nodeName"], one["status"]["phase"]) for one in pods] == [("kwok", "Running")] * 2


def test_who_has_no_role_may_do_nothing(cluster: Cluster, namespace: str) -> None:
    said = cluster.as_service_account(namespace, "default", "get", "pods", "-n", namespace)
    assert said.code == 1
    assert "forbidden" in said.err
