from __future__ import annotations

import copy
from typing import Any

import pytest

from authz.injection.pod import Injected, LeftAlone, inject_pod
from authz.injection.tree import TurnedAway, Word
from tests.support.injection import LABEL, pod, template, written

TEMPLATE = template()


def injected(given: Any) -> Any:
    outcome = inject_pod(given, TEMPLATE)
    assert isinstance(outcome, Injected), outcome
    return outcome.pod


def refusal(given: Any) -> str:
    outcome = inject_pod(given, TEMPLATE)
    assert isinstance(outcome, TurnedAway), outcome
    assert "\n" not in outcome.why
    return outcome.why


def named(items: Any) -> list[str]:
    return [each["name"] for each in items]


def test_the_sidecar_comes_after_what_the_pod_has_and_nothing_else_changes() -> None:
    given = pod(
        {"sidecar.authz/port": "3000", "team": "a"},
        initContainers=[{"name": "migrate", "image": "m"}],
        volumes=[{"name": "work", "emptyDir": {}}],
        imagePullSecrets=[{"name": "registry"}, {"name": "mine"}],
        nodeSelector={"x": "y"},
    )
    kept = copy.deepcopy(given)
    made = injected(given)
    assert given == kept
    spec = made["spec"]
    assert named(spec["initContainers"]) == ["migrate", "authz-init", "authz", "authz-envoy"]
    assert spec["initContainers"][1]["args"] == ["--hosts=shop.localhost", "--to=3000"]
    assert spec["initContainers"][3]["ports"] == [{"name": "authz-http", "containerPort": 9180}]
    assert spec["volumes"][1] == {"name": "authz-policies", "configMap": {"name": "authz-policies-default"}}
    assert named(spec["imagePullSecrets"]) == ["registry", "mine"]
    assert spec["containers"] == kept["spec"]["containers"]  # type: ignore[index,call-overload]
    assert spec["nodeSelector"] == {"x": "y"}
    assert made["metadata"]["annotations"]["sidecar.authz/status"] == "abc"
    assert made["metadata"]["annotations"]["team"] == "a"


def test_what_a_pod_leaves_out_is_made() -> None:
    variables = {"v": {"annotation": "a", "default": "b", "pattern": "^b$", "message": "m"}}
    bare = template(variables=variables, pod={"spec": {"containers": [{"name": "authz"}]}}, service=None)
    outcome = inject_pod({"metadata": {"labels": {LABEL: "true"}}}, bare)
    assert outcome == Injected(
        {"metadata": {"labels": {LABEL: "true"}}, "spec": {"containers": [{"name": "authz"}]}}
    )


@pytest.mark.parametrize("label", ["false", ""])
def test_who_does_not_ask_is_left_alone(label: str) -> None:
    assert inject_pod(pod(label=label), TEMPLATE) == LeftAlone(complete=False)


@pytest.mark.parametrize(
    "thing", [None, 1, "pod", [], {}, {"metadata": None}, {"metadata": {"labels": [LABEL]}}]
)
def test_what_is_no_pod_does_not_ask(thing: Any) -> None:
    assert inject_pod(thing, TEMPLATE) == LeftAlone(complete=False)


@pytest.mark.parametrize("label", ["yes", "True", " true", True, 1, None, Word("yes"), ["true"], {}])
def test_a_word_that_only_looks_like_yes_is_refused(label: Any) -> None:
    assert refusal(pod(label=label)).startswith(f"label `{LABEL}` says `")


def test_injecting_twice_is_injecting_once() -> None:
    once = injected(pod())
    assert inject_pod(once, TEMPLATE) == LeftAlone(complete=True)


def test_what_an_api_server_and_a_cluster_add_is_no_difference() -> None:
    made = injected(pod())
    sidecar = made["spec"]["initContainers"][1]
    sidecar["startupProbe"]["httpGet"]["scheme"] = "HTTP"
    sidecar["startupProbe"] |= {"timeoutSeconds": 1, "periodSeconds": 10}
    sidecar |= {
        "resources": {"limits": {"memory": "1Gi"}},
        "imagePullPolicy": "Always",
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "securityContext": {},
        "env": [],
    }
    made["spec"]["volumes"][0]["configMap"]["defaultMode"] = 420
    made["spec"]["volumes"].reverse()
    made["spec"]["volumes"].insert(0, {"name": "kube-api-access-x", "projected": {}})
    made["metadata"]["annotations"]["sidecar.authz/status"] = "other"
    assert inject_pod(made, TEMPLATE) == LeftAlone(complete=True)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image", "other"),
        ("command", ["sh"]),
        ("env", [{"name": "X", "value": "y"}]),
        ("envFrom", [{}]),
        ("volumeMounts", []),
        ("restartPolicy", "Never"),
        ("lifecycle", {"postStart": {}}),
        ("terminationMessagePath", "/etc/x"),
        ("securityContext", {"privileged": True}),
        ("resources", {"claims": [{"name": "device"}]}),
        ("ports", [{"name": "authz-ops", "containerPort": True, "protocol": "TCP"}]),
        ("startupProbe", {"httpGet": {"path": "/health", "port": 9192, "host": "x"}}),
        ("startupProbe", {"httpGet": {"path": "/app-health/authz/startupz", "port": 15020}}),
        ("tomorrow", "x"),
    ],
)
def test_a_sidecar_that_somebody_changed_is_refused_with_the_field(field: str, value: Any) -> None:
    made = injected(pod())
    made["spec"]["initContainers"][1][field] = value
    assert refusal(made).startswith(f"`authz` in `spec.initContainers` differs in {field} from what")


def test_a_volume_that_somebody_changed_is_refused() -> None:
    made = injected(pod())
    made["spec"]["volumes"][0]["configMap"]["name"] = "mine"
    assert refusal(made).startswith("`authz-policies` in `spec.volumes` differs in configMap from what")


def test_where_versions_may_differ_the_names_are_enough() -> None:
    made = injected(pod())
    made["spec"]["initContainers"][1]["image"] = "older"
    made["spec"]["volumes"] = []
    loose = template(exact=False)
    assert inject_pod(made, loose) == LeftAlone(complete=True)
    del made["spec"]["initContainers"][0]
    assert isinstance(inject_pod(made, loose), TurnedAway)


@pytest.mark.parametrize("part", ["missing", "order", "more"])
def test_a_part_of_the_sidecar_is_refused(part: str) -> None:
    made = injected(pod())
    ours = made["spec"]["initContainers"]
    match part:
        case "missing":
            del ours[2]
        case "order":
            ours.reverse()
        case _:
            ours.append({"name": "authz-more"})
    told = refusal(made)
    assert "names `authz` and `authz-*` in `spec.initContainers` belong to the sidecar" in told
    assert "which has authz-init, authz, authz-envoy" in told


def test_in_a_mesh_probes_may_lead_through_its_proxy_and_nowhere_else() -> None:
    mesh = template(service=None)
    outcome = inject_pod(pod(), mesh)
    assert isinstance(outcome, Injected)
    made: Any = copy.deepcopy(outcome.pod)
    sidecar = made["spec"]["initContainers"][1]
    led = {"path": "/app-health/authz/startupz", "port": 15020}
    sidecar["startupProbe"] = {"httpGet": led}
    assert inject_pod(made, mesh) == LeftAlone(complete=True)
    for other in ({**led, "host": "x"}, {**led, "port": 1}, {**led, "path": "/x"}):
        sidecar["startupProbe"] = {"httpGet": other}
        assert isinstance(inject_pod(made, mesh), TurnedAway)
    sidecar["startupProbe"] = {"httpGet": led, "exec": {"command": ["sh"]}}
    assert isinstance(inject_pod(made, mesh), TurnedAway)


APPLICATION = {"name": "application", "image": "shop"}


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"containers": [{**APPLICATION, "name": "authz"}]}, "`authz-*` in `spec.initContainers` belong"),
        ({"initContainers": [{"name": "authz-x"}]}, "`authz-*` in `spec.initContainers` belong"),
        ({"volumes": [{"name": "authz-policies", "emptyDir": {}}]}, "in `spec.initContainers` belong"),
        ({"hostNetwork": True}, "`spec.hostNetwork` takes away"),
        ({"hostPID": True}, "`spec.hostPID` takes away"),
        ({"hostIPC": True}, "`spec.hostIPC` takes away"),
        ({"shareProcessNamespace": True}, "`spec.shareProcessNamespace` takes away"),
        (
            {"containers": [{**APPLICATION, "volumeMounts": [{"name": "authz-run"}]}]},
            "container `application` mounts `authz-run`, which is the sidecar's",
        ),
        (
            {"ephemeralContainers": [{"name": "x", "volumeMounts": [{"name": "authz-run"}]}]},
            "container `x` mounts `authz-run`",
        ),
        (
            {"containers": [{**APPLICATION, "ports": [{"name": "authz-http", "containerPort": 1}]}]},
            "container `application` names a port `authz-http`",
        ),
        ({"containers": [{**APPLICATION, "ports": [{"containerPort": 9180}]}]}, "listens at `9180`, as the"),
        (
            {"containers": [{**APPLICATION, "ports": [{"containerPort": 8080, "hostPort": 80}]}]},
            "container `application` is reached past Envoy by the `hostPort`",
        ),
    ],
)
def test_what_stands_in_the_sidecar_s_way_is_refused(spec: dict[str, Any], told: str) -> None:
    assert told in refusal(pod(**spec))


@pytest.mark.parametrize(
    ("annotations", "port"),
    [
        ({"sidecar.authz/port": "9192"}, "9192"),
        ({"sidecar.authz/port": "9180"}, "9180"),
        ({"sidecar.authz/listen-port": "9192"}, "9192"),
        ({"sidecar.authz/listen-port": "8080"}, "8080"),
    ],
)
def test_two_cannot_listen_at_one_port(annotations: dict[str, Any], port: str) -> None:
    assert refusal(pod(annotations)).startswith(f"two listen at port {port}: ")


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"containers": {}}, "`spec.containers` is no list"),
        ({"volumes": ["x"]}, "`spec.volumes` holds what is no mapping"),
    ],
)
def test_what_has_not_the_shape_of_a_pod_is_refused(spec: dict[str, Any], told: str) -> None:
    assert told in refusal(pod(**spec))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"spec": []}, "`spec` is no mapping"),
        (
            {"metadata": {"labels": {LABEL: "true"}, "annotations": []}},
            "`metadata.annotations` is no mapping",
        ),
    ],
)
def test_neither_is_what_has_other_parts(change: dict[str, Any], told: str) -> None:
    assert told in refusal({**pod(), **change})


def test_labels_of_the_template_are_set() -> None:
    part = written()["pod"]
    part["metadata"]["labels"] = {"protected": "yes"}
    outcome = inject_pod(pod(), template(pod=part))
    assert isinstance(outcome, Injected)
    metadata: Any = outcome.pod["metadata"]
    assert metadata["labels"] == {LABEL: "true", "protected": "yes"}
