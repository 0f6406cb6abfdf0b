"""The chart on a real API server, with both Helms: each variant installed, made another, and taken away."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.kube.api import Api
from tests.kube.charts import (
    HOME,
    SHOP,
    Object,
    Trial,
    application,
    everything,
    places,
    remove_pods,
    sent,
    tried,
)
from tests.kube.cluster import Cluster, Helm
from tests.support.chart import VARIANTS

_COMPONENT = "app.kubernetes.io/component"
_LOOK_S = 0.05  # far less than the controllers take for one step


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Iterator[Api]:
    """The API server, and at the end of the module the proof that nothing of ours is left in it."""
    api = Api(cluster)
    with places(cluster):
        before = everything(api)
        yield api
        remove_pods(cluster)
        cluster.until(lambda: not everything(api) - before, "all of every release to be gone")
    api.close()


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_is_installed_whole_and_leaves_nothing(api: Api, helm: Helm, variant: str) -> None:
    trial = Trial(helm, "trial")
    before = everything(api)
    try:
        kinds = sent(trial.install(variant))
        made = everything(api) - before
        assert kinds <= {name.partition(" ")[0] for name in made}
        ours = {name for name in made if "/sh.helm.release" not in name}
        named = "gate" if variant == "everything" else f"{trial.name}-authz"
        assert all(name.partition("/")[2].startswith(named) for name in ours), ours
    finally:
        trial.uninstall()
    stays = {
        "Pod",
        "ReplicaSet",
        "EndpointSlice",
        "Endpoints",
        "PodDisruptionBudget",
    }  # the controllers take those
    left = {name for name in everything(api) - before if name.partition(" ")[0] not in stays}
    assert left == set()


def _pods(api: Api, namespace: str, key: str, value: str) -> list[tuple[str, str, int]]:
    """Return which pods there are, how they are, and how many containers each has."""
    return sorted(
        (
            pod["metadata"]["uid"],
            pod["status"].get("phase", ""),
            len([*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]),
        )
        for pod in api.items(f"/api/v1/namespaces/{namespace}/pods")
        if pod["metadata"]["labels"].get(key) == value and "deletionTimestamp" not in pod["metadata"]
    )


def _rolled_out(cluster: Cluster, name: str, namespace: str) -> None:
    cluster.kubectl("rollout", "status", f"deployment/{name}", "-n", namespace, "--timeout=180s")


def test_an_upgrade_disturbs_nothing_that_runs(api: Api, cluster: Cluster, helm: Helm) -> None:
    trial = Trial(helm, "grown")
    redis = f"{trial.name}-authz-redis"
    try:
        trial.install("redis")
        # An API server heeds a new policy a moment after it has it.
        cluster.until(lambda: "initContainers" in tried(api).body.get("spec", {}), "the admission policy")
        cluster.apply(application("shop"), namespace=SHOP)
        _rolled_out(cluster, "shop", SHOP)
        _rolled_out(cluster, redis, HOME)
        before = _pods(api, SHOP, "app", "shop")
        store = _pods(api, HOME, _COMPONENT, "redis")
        assert [each[1:] for each in before] == [("Running", 4)]
        for variant, *more in (
            ("redis", "--set=injection=none", "--set=sidecar.logLevel=debug"),
            ("webhook", "--set=redis.development.enabled=true"),
            ("policy", "--set=redis.development.enabled=true", "--set=redis.existingSecret="),
        ):
            trial.upgrade(variant, *more)
            assert _pods(api, SHOP, "app", "shop") == before, variant
            assert _pods(api, HOME, _COMPONENT, "redis") == store, variant
        trial.uninstall()
        # The application is not ours: it runs on, and goes when its owner says so.
        assert _pods(api, SHOP, "app", "shop") == before
    finally:
        trial.uninstall()
        cluster.kubectl("delete", "deployment", "shop", "-n", SHOP, "--ignore-not-found")


def test_the_service_is_replaced_without_a_moment_of_fewer(api: Api, cluster: Cluster, helm4: Helm) -> None:
    trial = Trial(helm4, "rolled")
    name = f"{trial.name}-authz-service"
    path = f"/apis/discovery.k8s.io/v1/namespaces/{HOME}/endpointslices"
    seen: list[int] = []
    done = threading.Event()

    def watch() -> None:
        looker = Api(cluster)
        while not done.is_set():
            seen.append(_ready(looker.items(path), f"{trial.name}-authz"))
        looker.close()

    try:
        trial.install("gateway")
        _rolled_out(cluster, name, HOME)
        cluster.until(lambda: _ready(api.items(path), f"{trial.name}-authz") == 2, "both to answer")
        before = _pods(api, HOME, _COMPONENT, "service")
        watcher = threading.Thread(target=watch)
        watcher.start()
        trial.upgrade("gateway", "--set=image.tag=next")
        _rolled_out(cluster, name, HOME)
        done.set()
        watcher.join()
        cluster.until(lambda: len(_pods(api, HOME, _COMPONENT, "service")) == 2, "the old ones to go")
        after = _pods(api, HOME, _COMPONENT, "service")
    finally:
        done.set()
        trial.uninstall()
    assert not {uid for uid, *_ in before} & {uid for uid, *_ in after}
    assert len(seen) > 3
    assert min(seen) >= 2


def _ready(slices: list[Object], service: str) -> int:
    """Return how many addresses of a service take requests."""
    return sum(
        each["conditions"]["ready"]
        for one in slices
        if one["metadata"]["labels"].get("kubernetes.io/service-name") == service
        for each in one["endpoints"] or ()
    )


def test_wrong_values_change_nothing_and_say_what_to_set(api: Api, helm: Helm) -> None:
    trial = Trial(helm, "wrong")
    before = everything(api)
    said = trial.install("policy", "--set=keys.existingSecret=", "--set=keys.pepper=short", check=False)
    assert (said.code, "`keys.pepper` has 5 bytes, and at least 32 random ones" in said.err) == (1, True)
    said = trial.install("policy", "--set=sidecar.ports=1", check=False)
    assert (said.code, "additional properties 'ports' not allowed" in said.err) == (1, True)
    assert {name for name in everything(api) - before if not name.startswith("Pod ")} == set()
