"""What the guard refuses, in a real API server: tried as somebody who may write pods would try it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kube.cluster import Cluster, Helm
from tests.kube.pods import (
    INJECTED,
    LABEL,
    PORT_KEY,
    Created,
    Object,
    Release,
    as_manifest,
    named,
    pod,
    read,
    release,
    service,
)

HERE, ELSEWHERE, ANOTHERS = "guard-here", "guard-elsewhere", "guard-anothers"
VALUES = {
    "namespaces": [HERE],
    "keys": {"pepper": "p" * 32},
    "sidecar": {"hosts": []},
    "networkPolicy": {"listenPorts": [9181]},
}
ASKED = {"sidecar.authz/hosts": "items.example.com"}
SIDECAR, ENVOY = "authz", "authz-envoy"


@pytest.fixture(scope="module")
def guarded(cluster: Cluster, helm3: Helm, chart: str) -> Iterator[Release]:
    names = [cluster.create_namespace(name) for name in (HERE, ELSEWHERE, ANOTHERS)]
    with release(helm3, cluster, chart, "guard", HERE, VALUES, ASKED) as ours:
        yield ours
    for name in names:
        cluster.delete_namespace(name)


@pytest.fixture(scope="module")
def injected(guarded: Release) -> Object:
    """A pod as it is stored, to be given again with something changed in it."""
    return as_manifest(guarded.create(pod(ASKED)).stored)


@pytest.fixture(scope="module")
def running(guarded: Release) -> Iterator[str]:
    """The name of a pod that runs with its sidecar."""
    made = guarded.create(pod(ASKED), real=True)
    assert not made.why, made.why
    yield "items"
    guarded.api.remove("pods", HERE, "items")


def refused(made: Created, *words: str) -> None:
    assert made.why, "it was let in"
    assert "ValidatingAdmissionPolicy 'guard-authz-guard" in made.why, made.why
    for word in words:
        assert word in made.why


def test_a_pod_as_it_was_injected_may_be_given_again(guarded: Release, injected: Object) -> None:
    assert guarded.create(injected).why == ""


Change = Callable[[Object], Any]


def mine(made: Object) -> Object:
    """Return the application's container."""
    found = named(made["spec"]["containers"], "application")
    assert isinstance(found, dict)
    return found


def ours(made: Object, name: str = SIDECAR) -> Object:
    """Return a container of the sidecar's."""
    found = named(made["spec"]["initContainers"], name)
    assert isinstance(found, dict)
    return found


def _mount(name: str) -> Change:
    return lambda made: mine(made).update(volumeMounts=[{"name": name, "mountPath": "/mine"}])


def _volume(name: str, **source: Any) -> Change:
    def change(made: Object) -> None:
        made["spec"]["volumes"] = [each for each in made["spec"]["volumes"] if each["name"] != name]
        made["spec"]["volumes"].append({"name": name, **source})

    return change


def _writer(made: Object) -> None:
    """Write Envoy's configuration anew after it was written."""
    mounts = [{"name": "authz-run", "mountPath": "/run/authz"}]
    writer = {"name": "writer", "image": "x", "command": ["sh"], "volumeMounts": mounts}
    made["spec"]["initContainers"].insert(1, writer)


def _swapped(made: Object) -> None:
    containers = made["spec"]["initContainers"]
    containers[1], containers[2] = containers[2], containers[1]


def _ordinary(made: Object) -> None:
    """Move Envoy to the ordinary containers."""
    envoy = made["spec"]["initContainers"].pop()
    del envoy["restartPolicy"]
    made["spec"]["containers"].append(envoy)


def _port(**port: Any) -> Change:
    return lambda made: mine(made).update(ports=[{"containerPort": 8080, **port}])


def _overlaid(made: Object) -> None:
    """Lay an empty file over a policy: what a container says at its end is mounted into it."""
    ours(made).update(terminationMessagePath="/etc/authz/policies/deny.yaml")


def _claimed(made: Object) -> None:
    """Have a device given to the sidecar, with the mounts and variables that its driver likes."""
    made["spec"]["resourceClaims"] = [{"name": "device", "resourceClaimName": "mine"}]
    ours(made)["resources"]["claims"] = [{"name": "device"}]


def _once(made: Object) -> None:
    for field in ("restartPolicy", "startupProbe", "livenessProbe", "readinessProbe"):
        del ours(made)[field]


MORE = [{"name": "AUTHZ_POLICIES", "value": "/mine"}]
ATTACKS: dict[str, tuple[Change, str]] = {
    "another image": (lambda made: ours(made).update(image="mine"), "`authz` differs in image"),
    "another image of Envoy": (
        lambda made: ours(made, ENVOY).update(image="mine"),
        "`authz-envoy` differs in image",
    ),
    "another image that prepares": (
        lambda made: ours(made, "authz-init").update(image="m"),
        "`authz-init` differs",
    ),
    "other arguments": (lambda made: ours(made, "authz-init")["args"].append("--edge"), "differs in args"),
    "another command": (lambda made: ours(made).update(command=["sh", "-c"]), "differs in command"),
    "one more variable": (
        lambda made: ours(made)["env"].append({"name": "LD_PRELOAD", "value": "x"}),
        "in env",
    ),
    "another setting": (lambda made: ours(made).update(env=MORE), "differs in env"),
    "variables from elsewhere": (
        lambda made: ours(made).update(envFrom=[{"configMapRef": {"name": "mine"}}]),
        "differs in envFrom",
    ),
    "one more mount": (
        lambda made: ours(made)["volumeMounts"].append({"name": "authz-none", "mountPath": "/mine"}),
        "differs in volumeMounts",
    ),
    "a mount less": (lambda made: ours(made)["volumeMounts"].pop(), "differs in volumeMounts"),
    "a command at the start": (
        lambda made: ours(made).update(lifecycle={"postStart": {"exec": {"command": ["sh"]}}}),
        "differs in lifecycle",
    ),
    "a probe that runs a command": (
        lambda made: ours(made).update(startupProbe={"exec": {"command": ["sh"]}}),
        "differs in startupProbe",
    ),
    "no probe": (lambda made: ours(made).pop("readinessProbe"), "differs in readinessProbe"),
    "more rights": (
        lambda made: ours(made)["securityContext"].update(runAsUser=0, runAsNonRoot=False),
        "differs in securityContext",
    ),
    "no security at all": (lambda made: ours(made).pop("securityContext"), "differs in securityContext"),
    "another directory": (lambda made: ours(made).update(workingDir="/mine"), "differs in workingDir"),
    "a terminal": (lambda made: ours(made).update(stdin=True, tty=True), "`authz` differs in"),
    "a policy overlaid": (_overlaid, "differs in terminationMessagePath"),
    "a device claimed": (_claimed, "`authz` differs in resources"),
    "a port moved": (
        lambda made: ours(made, ENVOY)["ports"][0].update(containerPort=8080),
        "differs in ports",
    ),
    "one start only": (_once, "`authz` differs in"),
    "no Envoy": (lambda made: made["spec"]["initContainers"].pop(), "`initContainers`: the names"),
    "Envoy first": (_swapped, "`initContainers`: the names"),
    "Envoy an ordinary container": (_ordinary, "the names `authz` and `authz-*` belong to the sidecar"),
    "one more of our names": (
        lambda made: made["spec"]["containers"].append({"name": "authz-helper", "image": "x"}),
        "`containers`: the names",
    ),
    "a writer of Envoy's configuration": (_writer, "mounts a volume `authz-*`"),
    "the pepper mounted": (_mount("authz-secrets"), "mounts a volume `authz-*`"),
    "the last good set mounted": (_mount("authz-state"), "mounts a volume `authz-*`"),
    "the socket mounted": (_mount("authz-run"), "mounts a volume `authz-*`"),
    "policies from elsewhere": (
        _volume("authz-policies", configMap={"name": "mine"}),
        "volumes named `authz-*`",
    ),
    "policies from the node": (
        _volume("authz-policies", hostPath={"path": "/tmp/mine"}),
        "volumes named `authz-*`",
    ),
    "a pepper of their own": (
        _volume("authz-secrets", secret={"secretName": "mine"}),
        "volumes named `authz-*`",
    ),
    "one more volume of our names": (_volume("authz-more", emptyDir={}), "volumes named `authz-*`"),
    "the node's network": (lambda made: made["spec"].update(hostNetwork=True), "`hostNetwork`"),
    "the node's processes": (lambda made: made["spec"].update(hostPID=True), "`hostPID`"),
    "the node's memory": (lambda made: made["spec"].update(hostIPC=True), "`hostIPC`"),
    "processes shared": (
        lambda made: made["spec"].update(shareProcessNamespace=True),
        "`shareProcessNamespace`",
    ),
    "Envoy's port name": (_port(name="authz-http"), "names a port `authz-*`"),
    "Envoy's port": (_port(containerPort=9180), "at which the sidecar or its Envoy listens"),
    "a port of other Envoys": (_port(containerPort=9181), "at which the sidecar or its Envoy listens"),
    "a port of the node": (_port(hostPort=80), "the application's port is a `hostPort`"),
    "the sidecar's port": (_port(containerPort=9192), "at which the sidecar or its Envoy listens"),
}


@pytest.mark.parametrize(("change", "words"), ATTACKS.values(), ids=ATTACKS.keys())
def test_what_was_injected_cannot_be_changed(
    guarded: Release, injected: Object, change: Change, words: str
) -> None:
    changed = copy.deepcopy(injected)
    change(changed)
    refused(guarded.create(changed), words)


def test_a_container_declared_before_injection_is_no_way_around_it(guarded: Release) -> None:
    empty = {"name": SIDECAR, "image": "mine", "restartPolicy": "Always"}
    refused(guarded.create(pod(ASKED, initContainers=[empty])), "`initContainers`: the names")


BAD: dict[str, tuple[dict[str, str], str]] = {
    "no hosts": (
        {"sidecar.authz/hosts": ""},
        "`sidecar.authz/hosts` is missing, and the release has no default: write",
    ),
    "hosts with spaces": ({"sidecar.authz/hosts": "a, b"}, "says `a, b`: write the hosts"),
    "hosts that are an option": ({"sidecar.authz/hosts": "--edge"}, "says `--edge`: write the hosts"),
    "quotes and CEL": ({"sidecar.authz/hosts": '" + variables.x + "'}, 'says `" + variables.x + "`'),
    "a line after it": ({"sidecar.authz/hosts": "a.example\n"}, "says `a.example `: write the hosts"),
    "what a terminal obeys": (
        {"sidecar.authz/hosts": "\x1b[31mred"},
        "says `(characters that cannot be shown)`: write the hosts",
    ),
    "a host that is none": ({"sidecar.authz/hosts": "a..example"}, "says `a..example`: write the hosts"),
    "two lines": ({"sidecar.authz/hosts": "a\nb"}, "says `a b`: write the hosts"),
    "a long text": ({"sidecar.authz/hosts": "-" * 9000}, "says `" + "-" * 80 + "...`: write the hosts"),
    "our own notation": ({"sidecar.authz/hosts": "${port}"}, "says `${port}`: write the hosts"),
    "no port": ({"sidecar.authz/port": "0"}, "`sidecar.authz/port` says `0`: write the port"),
    "a port too high": ({"sidecar.authz/port": "65536"}, "`sidecar.authz/port` says `65536`"),
    "words for a port": ({"sidecar.authz/port": "8080 --edge"}, "`sidecar.authz/port` says"),
    "the sidecar's port": ({"sidecar.authz/port": "9192"}, "two listen at one port"),
    "Envoy's port": ({"sidecar.authz/port": "9180"}, "two listen at one port"),
    "a port that is open": (
        {"sidecar.authz/port": "9181"},
        "network policies open to everybody (9180, 9181)",
    ),
    "a port that is closed": (
        {"sidecar.authz/listen-port": "1234"},
        "`sidecar.authz/listen-port` says `1234`",
    ),
    "hops": ({"sidecar.authz/trusted-hops": "-1"}, "`sidecar.authz/trusted-hops` says `-1`"),
    "too many hops": ({"sidecar.authz/trusted-hops": "17"}, "`sidecar.authz/trusted-hops` says `17`"),
    "a misspelled one": (
        {"sidecar.authz/polices": "strict"},
        "nobody reads annotation `sidecar.authz/polices`: after `sidecar.authz/` stands one of cpu,",
    ),
    "no such policies": (
        {"sidecar.authz/policies": "mine"},
        "`sidecar.authz/policies` says `mine`: write the name",
    ),
    "policies by path": ({"sidecar.authz/policies": "../mine"}, "`sidecar.authz/policies` says"),
    "memory": ({"sidecar.authz/memory": "much"}, "`sidecar.authz/memory` says `much`: write an amount"),
    "Envoy's memory": ({"sidecar.authz/envoy-memory": "-1Gi"}, "`sidecar.authz/envoy-memory` says `-1Gi`"),
    "the sidecar's cpu": ({"sidecar.authz/cpu": "1e3"}, "`sidecar.authz/cpu` says `1e3`"),
    "cpu": ({"sidecar.authz/envoy-cpu": "all"}, "`sidecar.authz/envoy-cpu` says `all`: write an amount"),
}


@pytest.mark.parametrize(("annotations", "words"), BAD.values(), ids=BAD.keys())
def test_an_annotation_that_does_not_fit_is_refused_with_a_sentence(
    guarded: Release, annotations: dict[str, str], words: str
) -> None:
    refused(guarded.create(pod({**ASKED, **annotations})), words)


@pytest.mark.parametrize("word", ["yes", "True", ""])
def test_a_label_that_is_neither_true_nor_false_is_refused(guarded: Release, word: str) -> None:
    refused(guarded.create(pod(ASKED, label=word)), 'write "true" or "false"')
    refused(guarded.create(service(label=word)), 'write "true" or "false"')


def test_a_pod_that_asks_where_nobody_is_served_is_refused(guarded: Release) -> None:
    refused(guarded.create(pod(ASKED), ELSEWHERE), "release `guard` in namespace `guard-here` does not serve")
    refused(guarded.create(service(), ELSEWHERE), "release `guard` in namespace `guard-here` does not serve")
    assert guarded.create(pod(label=None), ELSEWHERE).why == ""
    assert guarded.create(service(label="false"), ELSEWHERE).why == ""


def _label(word: str | None) -> Object:
    return {"metadata": {"labels": {LABEL: word}}}


def test_a_pod_that_runs_keeps_its_label_and_its_images(guarded: Release, running: str) -> None:
    refused(guarded.change("pods", running, _label(None)), "stays on a pod")
    refused(guarded.change("pods", running, _label("false")), "stays on a pod")
    for name in (SIDECAR, ENVOY):
        image = {"spec": {"initContainers": [{"name": name, "image": "mine"}]}}
        refused(guarded.change("pods", running, image), "images of the sidecar stay")


def test_a_label_does_not_change_with_a_status_or_a_binding(guarded: Release, running: str) -> None:
    for word in (None, "false"):
        refused(guarded.change("pods", running, _label(word), below="/status"), "with the status of a pod")
    assert guarded.change("pods", running, {"status": {"message": "well"}}, below="/status").why == ""
    naked = pod(ASKED, label=None, name="naked")
    assert not guarded.create(naked, real=True).why
    refused(guarded.change("pods", "naked", _label("true"), below="/status"), "with the status of a pod")
    guarded.api.remove("pods", HERE, "naked", 0)


def test_a_binding_brings_no_label(guarded: Release) -> None:
    waiting = pod(ASKED, name="waiting", schedulerName="nobody")
    assert not guarded.create(waiting, real=True).why
    path = f"/api/v1/namespaces/{HERE}/pods/waiting/binding?dryRun=All"
    binding = {"apiVersion": "v1", "kind": "Binding", "target": {"kind": "Node", "name": "kwok"}}
    labelled = {**binding, "metadata": {"name": "waiting", **_label("false")["metadata"]}}
    refused(read(guarded.api.ask("POST", path, labelled)), "its binding to a node")
    assert guarded.api.ask("POST", path, {**binding, "metadata": {"name": "waiting"}}).status == 201
    guarded.api.remove("pods", HERE, "waiting", 0)


def test_all_else_of_a_pod_that_runs_may_change(guarded: Release, running: str) -> None:
    image = {"spec": {"containers": [{"name": "application", "image": "items:2"}]}}
    for change in (image, {"metadata": {"labels": {"more": "yes"}, "finalizers": ["a.example/b"]}}):
        assert guarded.change("pods", running, change).why == ""


def test_a_pod_cannot_ask_once_it_runs(guarded: Release) -> None:
    late = pod(ASKED, label=None)
    late["metadata"]["name"] = "late"
    assert not guarded.create(late, real=True).why
    refused(guarded.change("pods", "late", _label("true")), "the sidecar was not put in")
    guarded.api.remove("pods", HERE, "late")


def test_a_debugging_container_sees_nothing_of_the_sidecar(guarded: Release, running: str) -> None:
    def debug(**more: Any) -> Created:
        container = {"name": "debug", "image": "x", **more}
        change = {"spec": {"ephemeralContainers": [container]}}
        return guarded.change("pods", running, change, below="/ephemeralcontainers")

    mounts = [{"name": "authz-secrets", "mountPath": "/mine"}]
    refused(debug(volumeMounts=mounts), "mounts a volume `authz-*`")
    refused(debug(targetContainerName=SIDECAR), "would see the processes of the sidecar")
    assert debug(targetContainerName="application").why == ""


TWO = [{"name": "web", "port": 80}, {"name": "metrics", "port": 9090}]


def test_a_service_that_does_not_say_its_port_is_refused(guarded: Release) -> None:
    refused(
        guarded.create(service(ports=TWO)), "which port of the Service leads to the application is not clear"
    )
    refused(guarded.create(service(ports=TWO, annotations={PORT_KEY: "none"})), "is not clear")
    assert guarded.create(service(ports=TWO, annotations={PORT_KEY: "web"})).why == ""
    refused(guarded.create(service(ports=[{"port": 53, "protocol": "UDP"}])), "is not TCP")


def test_nothing_in_the_policies_puzzles_the_api_server(guarded: Release) -> None:
    for kind in ("validatingadmissionpolicy", "mutatingadmissionpolicy"):
        for policy in guarded.cluster.list(kind, selector="app.kubernetes.io/instance=guard"):
            assert "expressionWarnings" not in str(policy.get("status")), policy["metadata"]["name"]


def test_a_large_pod_costs_less_than_an_expression_may(guarded: Release) -> None:
    large = pod({**ASKED, "note": "x" * 100_000, "sidecar.authz/hosts": ",".join(["items.example.com"] * 64)})
    large["metadata"]["name"] = "large"
    container = {**mine(large), "env": [{"name": f"E{number}", "value": "x" * 50} for number in range(100)]}
    container["volumeMounts"] = [{"name": f"v{number}", "mountPath": f"/v{number}"} for number in range(50)]
    large["spec"]["volumes"] = [{"name": f"v{number}", "emptyDir": {}} for number in range(50)]
    large["spec"]["containers"] = [{**container, "name": f"c{number}"} for number in range(40)]
    for each in large["spec"]["containers"][1:]:
        del each["ports"], each["livenessProbe"]
    made = guarded.create(large)
    assert not made.why, made.why
    assert guarded.create(as_manifest(made.stored)).why == ""


GIT = {"git": {"enabled": True, "repository": "https://git.example.com/policies.git"}}
ANOTHER = {"image": {"tag": "another"}, "sidecar": {"hosts": ["*"]}}


def test_a_second_release_and_its_next_version(
    guarded: Release, cluster: Cluster, helm4: Helm, chart: str
) -> None:
    with release(helm4, cluster, chart, "second", ANOTHERS, {**ANOTHER, "policies": GIT}) as second:
        made = second.create(pod(), real=True)
        assert ours(made.stored)["image"] == "authz:another"
        assert ours(guarded.create(pod(ASKED, name="more")).stored)["image"] != "authz:another"
        words = ("upgrade", "second", chart, "-n", ANOTHERS, "--values=-")
        helm4(*words, given=json.dumps(ANOTHER))
        once = pod(name="once")

        def renewed() -> bool:
            containers = second.create(once).stored.get("spec", {}).get("initContainers", ())
            return [each["name"] for each in containers] == list(INJECTED)

        cluster.until(renewed, "the next version to be in force")
        # What runs is as the last version made it, and somebody has to be able to finish it.
        assert second.change("pods", "items", {"metadata": {"finalizers": ["a.example/b"]}}).why == ""
        again = as_manifest(made.stored)
        again["metadata"]["name"] = "again"
        assert "`initContainers`: the names" in second.create(again).why
        second.api.remove("pods", ANOTHERS, "items", grace_s=0)


def test_a_guard_that_is_not_exact_takes_what_another_version_made(
    guarded: Release, injected: Object, cluster: Cluster, helm4: Helm, chart: str
) -> None:
    older = copy.deepcopy(injected)
    ours(older).update(image="authz:older")
    with release(helm4, cluster, chart, "loose", ANOTHERS, {**ANOTHER, "guard": {"exact": False}}) as loose:
        older["metadata"].update(name="older", namespace=ANOTHERS)
        assert loose.create(older).why == ""
        mine(older).update(volumeMounts=[{"name": "authz-secrets", "mountPath": "/mine"}])
        assert "mounts a volume `authz-*`" in loose.create(older).why
