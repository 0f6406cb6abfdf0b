from __future__ import annotations

from typing import Any

import pytest

from authz.injection.manifest import Rewritten, rewrite
from authz.injection.reading import Document
from tests.support.injection import LABEL, pod, template

TEMPLATE = template()
POD = {name: part for name, part in pod().items() if name in ("metadata", "spec")}
SERVICE: Any = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "shop"},
    "spec": {"selector": {"app": "shop"}, "ports": [{"port": 80}]},
}


def rewritten(*things: Any, namespace: str = "default") -> Rewritten:
    documents = [Document("f", index, thing, "") for index, thing in enumerate(things, 1)]
    return rewrite(documents, TEMPLATE, namespace)


def workload(kind: str, version: str, *, labels: Any = None, **metadata: Any) -> Any:
    inner: Any = {
        "metadata": {"labels": {LABEL: "true", "app": "shop", **(labels or {})}},
        "spec": POD["spec"],
    }
    inner["metadata"]["annotations"] = {"sidecar.authz/hosts": "a.b"}
    spec: Any = {"template": inner}
    if kind == "CronJob":
        spec = {"jobTemplate": {"spec": spec}}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "shop", **metadata}, "spec": spec}


def names(thing: Any) -> list[str]:
    inner = thing["spec"]
    for step in ("jobTemplate", "spec", "template", "spec"):
        inner = inner.get(step, inner)
    return [each["name"] for each in inner["initContainers"]]


@pytest.mark.parametrize(
    ("kind", "version"),
    [
        ("Deployment", "apps/v1"),
        ("StatefulSet", "apps/v1"),
        ("DaemonSet", "apps/v1"),
        ("ReplicaSet", "apps/v1"),
        ("Job", "batch/v1"),
        ("CronJob", "batch/v1"),
    ],
)
def test_every_kind_of_workload_is_injected(kind: str, version: str) -> None:
    result = rewritten(workload(kind, version))
    assert names(result.changed[0]) == ["authz-init", "authz", "authz-envoy"]
    assert [str(each) for each in result.lacking] == [
        f"f: document 1, {kind} `shop`: it asks for the sidecar and has none: run `authz inject`"
    ]
    assert rewritten(result.changed[0]) == Rewritten((None,), (), (), ())


def test_a_pod_is_injected() -> None:
    assert names(rewritten(pod()).changed[0]) == ["authz-init", "authz", "authz-envoy"]


@pytest.mark.parametrize(
    "thing",
    [
        None,
        "text",
        [pod()],
        {"kind": "ConfigMap", "data": {"a": "no"}},
        {"kind": ["Pod"]},
        {"apiVersion": "v1", "kind": "List", "items": "none"},
        {"apiVersion": "v1", "kind": "List", "items": [1, {"kind": "Secret"}]},
        pod(label="false"),
        {**SERVICE, "apiVersion": "serving.knative.dev/v1"},
    ],
)
def test_what_does_not_ask_stays(thing: Any) -> None:
    assert rewritten(thing) == Rewritten((None,), (), (), ())


def test_the_items_of_a_list_are_injected_and_the_others_stay() -> None:
    inner = {"kind": "List", "items": [pod()]}
    secret = {"kind": "Secret"}
    result = rewritten({"apiVersion": "v1", "kind": "List", "items": [secret, inner], "x": 1})
    changed: Any = result.changed[0]
    assert changed["x"] == 1
    assert changed["items"][0] is secret
    assert names(changed["items"][1]["items"][0]) == ["authz-init", "authz", "authz-envoy"]
    assert result.lacking[0].where == "f: document 1, item 2, item 1, Pod `shop`"


def test_the_items_of_a_list_of_one_kind_need_not_say_it() -> None:
    result = rewritten({"apiVersion": "v1", "kind": "PodList", "items": [POD]})
    changed: Any = result.changed[0]
    assert names(changed["items"][0]) == ["authz-init", "authz", "authz-envoy"]


def test_a_service_that_selects_what_was_injected_is_led_to_it_in_any_order() -> None:
    result = rewritten(SERVICE, workload("Deployment", "apps/v1"))
    changed: Any = result.changed[0]
    assert changed["spec"]["ports"][0]["targetPort"] == "authz-http"
    assert [each.where for each in result.lacking][1] == "f: document 1, Service `shop`"
    again = rewritten(SERVICE, result.changed[1])
    assert again.changed == (changed, None)


@pytest.mark.parametrize(
    ("selector", "namespace", "moved"),
    [
        ({"app": "shop"}, None, True),
        ({"app": "shop", LABEL: "true"}, "default", True),
        ({"app": "other"}, None, False),
        ({"app": "shop", "tier": "x"}, None, False),
        ({}, None, False),
        (None, None, False),
        ({"app": ["shop"]}, None, False),
        ({"app": "shop"}, "elsewhere", False),
    ],
)
def test_a_service_selects_as_kubernetes_does(selector: Any, namespace: str | None, moved: bool) -> None:
    metadata = {"name": "s"} if namespace is None else {"name": "s", "namespace": namespace}
    service = {**SERVICE, "metadata": metadata, "spec": {**SERVICE["spec"], "selector": selector}}
    assert (rewritten(workload("Deployment", "apps/v1"), service).changed[1] is not None) is moved


def test_the_namespace_of_what_names_none_is_told() -> None:
    service = {**SERVICE, "metadata": {"name": "s", "namespace": "shop"}}
    deployment = workload("Deployment", "apps/v1")
    assert rewritten(deployment, service).changed[1] is None
    assert rewritten(deployment, service, namespace="shop").changed[1] is not None


def test_whoever_is_turned_away_is_named_with_the_place() -> None:
    bad = workload("Deployment", "apps/v1", namespace="n\n")
    bad["spec"]["template"]["metadata"]["annotations"] = {}
    unclear = {**SERVICE, "spec": {"selector": {"app": "shop"}, "ports": [{"name": "a"}, {"name": "b"}]}}
    result = rewritten(bad, {"metadata": {"generateName": "g-"}, **workload("Job", "batch/v1")}, unclear)
    assert [each.where for each in result.refused] == [
        "f: document 1, Deployment `n\\n/shop`",
        "f: document 3, Service `shop`",
    ]
    assert result.changed[0] is None


@pytest.mark.parametrize(
    "thing",
    [
        workload("Rollout", "argoproj.io/v1alpha1"),
        workload("Job", "batch.volcano.sh/v1alpha1"),
        {"apiVersion": "x/v1", "kind": "JobSet", "spec": {"jobs": [workload("Job", "batch/v1")]}},
    ],
)
def test_a_kind_that_is_not_known_must_not_hide_a_pod_that_asks(thing: Any) -> None:
    result = rewritten(thing)
    assert (
        "it holds a pod template that asks for the sidecar, and its kind is not known"
        in result.refused[0].what
    )


def test_a_label_that_no_pod_will_have_is_told() -> None:
    thing = workload("Deployment", "apps/v1", labels={LABEL: "false"})
    thing["metadata"]["labels"] = {LABEL: "true"}
    result = rewritten(thing)
    assert result.changed == (None,)
    assert [str(each) for each in result.odd] == [
        "f: document 1, Deployment `shop`: its pods get no sidecar: "
        "put the label into `spec.template.metadata.labels`, too"
    ]


def test_an_annotation_that_nobody_reads_is_told() -> None:
    result = rewritten(pod({"sidecar.authz/prot": "80"}))
    assert [each.what for each in result.odd] == [
        "nobody reads annotation `sidecar.authz/prot`: did you mean `sidecar.authz/port`?"
    ]
