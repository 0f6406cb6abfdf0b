"""A thousand labelled pods: each is injected, none fails; and what that costs who creates them."""

from __future__ import annotations

import json
import socket
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.kube.api import Api
from tests.kube.cluster import Cluster, Helm
from tests.kube.pods import HOSTS, INJECTED, Release, pod, release
from tests.kube.webhook import Balancer, lead_here, replica
from tests.support.redis import LOOPBACK, free_ports

DEPLOYMENTS, REPLICAS = 10, 100
PODS = DEPLOYMENTS * REPLICAS
MOST_S = 240.0  # a tenth of that on a quiet machine
BATCHES, BATCH = 20, 10
MOST_TIMES = 20.0  # four as measured; a machine that does much else at once shows more
Object = dict[str, Any]


@contextmanager
def by_policy(cluster: Cluster, helm: Helm, chart: str, _home: Path) -> Iterator[Release]:
    """Install the chart where the API server injects by itself."""
    namespace = cluster.create_namespace("thousand-policy")
    values = {"watch": {"enabled": False}}
    with release(helm, cluster, chart, "thousand-policy", namespace, values) as ours:
        yield ours
    cluster.delete_namespace(namespace)


@contextmanager
def by_webhook(cluster: Cluster, helm: Helm, chart: str, home: Path) -> Iterator[Release]:
    """Install the chart where a webhook injects, and run one of its replicas as a process."""
    name = namespace = cluster.create_namespace("thousand-webhook")
    (port,) = free_ports(1)
    values = {
        "injection": "webhook",
        "webhook": {"port": port},
        "watch": {"enabled": False},
        "sidecar": {"hosts": [HOSTS]},
    }
    with ExitStack() as stack:
        stack.callback(cluster.delete_namespace, namespace)
        stack.callback(helm, "uninstall", name, "-n", namespace)
        helm("install", name, chart, "-n", namespace, "--values=-", given=json.dumps(values))
        lead_here(cluster, namespace, f"{name}-authz-webhook")
        api, balancer = Api(cluster), Balancer(socket.create_server((LOOPBACK, port)))
        stack.callback(api.close)
        stack.callback(balancer.close)
        made = stack.enter_context(replica(cluster, namespace, f"{name}-authz-webhook", home / "webhook"))
        balancer.lead_to(made.connect)
        ours = Release(name, namespace, cluster, api)
        # The webhook refuses what is wrong before the guard sees it, but not what it does not serve.
        guard = f"'{name}-authz-guard"
        cluster.until(lambda: guard in ours.create(pod(), "default").why, "the guard to be in force")
        cluster.until(lambda: bool(ours.create(pod()).stored), "the webhook to be in force")
        yield ours


# The webhook first: its pods are for no scheduler, so they are gone at once; those of the policy also run.
WAYS = {"webhook": by_webhook, "policy": by_policy}


@pytest.mark.parametrize("injection", WAYS)
def test_a_thousand_pods_get_their_sidecar(
    injection: str,
    cluster: Cluster,
    helm4: Helm,
    chart: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with WAYS[injection](cluster, helm4, chart, tmp_path) as ours:
        plain_ms, injected_ms = _medians_ms(ours)
        scheduler = "default-scheduler" if injection == "policy" else "nobody"
        made = [_deployment(number, scheduler) for number in range(DEPLOYMENTS)]
        began = time.monotonic()
        ours.cluster.apply(*made, namespace=ours.namespace)
        cluster.until(lambda: _counted(ours, "replicas") == PODS, f"{PODS} pods to be there", MOST_S)
        made_s = time.monotonic() - began
        if injection == "policy":
            cluster.until(lambda: _counted(ours, "readyReplicas") == PODS, f"{PODS} pods to run", MOST_S)
        run_s = time.monotonic() - began
        assert [_ours(each) for each in _pods(ours)] == [INJECTED] * PODS
        assert _failures(ours) == []
    with capsys.disabled():
        sys.stdout.write(
            f"\n{injection}: {PODS} pods injected in {made_s:.1f} s, all done in {run_s:.1f} s, none failed; "
            f"creating one (dry run) takes {injected_ms:.1f} ms, {plain_ms:.1f} ms without the label: "
            f"{injected_ms / plain_ms:.1f} times\n"
        )
    assert injected_ms < MOST_TIMES * plain_ms


def _deployment(number: int, scheduler: str) -> Object:
    made = pod(label="true", schedulerName=scheduler)
    labels = {**made["metadata"]["labels"], "app": f"items-{number}"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"items-{number}"},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": {"app": f"items-{number}"}},
            "template": {"metadata": {"labels": labels}, "spec": made["spec"]},
        },
    }


def _medians_ms(ours: Release) -> tuple[float, float]:
    """Return what creating a pod takes without and with the label: medians of batches, one of each in turn.

    Dry runs: everything but the write to etcd, which would be the same for both.
    """
    plain, injected = pod(label=None), pod()
    pairs = [(_batch_ms(ours, plain), _batch_ms(ours, injected)) for _ in range(BATCHES)]
    return statistics.median(one for one, _ in pairs), statistics.median(two for _, two in pairs)


def _batch_ms(ours: Release, thing: Mapping[str, Any]) -> float:
    began = time.perf_counter()
    for _ in range(BATCH):
        assert not ours.create(thing).why
    return (time.perf_counter() - began) * 1000 / BATCH


def _counted(ours: Release, field: str) -> int:
    """Return how many there are, by the ten lines of the Deployments: a list of all pods is megabytes."""
    found = ours.api.items(f"/apis/apps/v1/namespaces/{ours.namespace}/deployments")
    counts = {each["metadata"]["name"]: each["status"].get(field, 0) for each in found}
    return sum(count for name, count in counts.items() if name.startswith("items-"))


def _pods(ours: Release) -> list[Object]:
    selector = "labelSelector=sidecar.authz%2Finject%3Dtrue"
    return ours.api.items(f"/api/v1/namespaces/{ours.namespace}/pods?{selector}")


def _ours(stored: Object) -> tuple[str, ...]:
    return tuple(each["name"] for each in stored["spec"]["initContainers"])


def _failures(ours: Release) -> list[str]:
    """Return what the controllers complained about while they made pods."""
    events = ours.api.items(f"/api/v1/namespaces/{ours.namespace}/events?fieldSelector=reason%3DFailedCreate")
    sets = ours.api.items(f"/apis/apps/v1/namespaces/{ours.namespace}/replicasets")
    conditions = [one for each in sets for one in each["status"].get("conditions", ())]
    return [one["message"] for one in [*events, *conditions]]
