"""The chart as Helm renders it: golden, twice the same, labelled, hardened, and no secret in the open."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts.authz.code.__main__ import main as write
from charts.authz.code.files import files
from charts.authz.code.values import rows
from tests.support import chart
from tests.support.chart import CHART, CI, HELMS, VARIANTS, Object
from tests.support.prometheus import ROOT, promtool

EITHER = pytest.mark.parametrize("helm", HELMS)
EACH = pytest.mark.parametrize("variant", VARIANTS)
_MARKS = (
    "pepper-that-nobody-may-see-anywhere",
    "pepper-of-before-that-nobody-may-see",
    "passwordthatnobodymaysee",
)
_OURS = {"authz-init", "authz", "authz-envoy"}
_TOKENS = {"webhook", "watch"}  # the only ones that speak to the API server


@pytest.fixture(autouse=True, scope="module")
def _helms() -> None:
    chart.needed()


@cache
def _text(variant: str, helm: str = "helm4") -> str:
    code, out, err = chart.template(helm, chart.values_of(variant))
    assert code == 0, err
    return out


@cache
def _objects(variant: str) -> list[Object]:
    return chart.objects(_text(variant))


def _of_kind(variant: str, *kinds: str) -> list[Object]:
    return [made for made in _objects(variant) if made["kind"] in kinds]


def _named(made: Object) -> str:
    return f"{made['kind']} {made['metadata']['name']}"


def _pods(variant: str) -> Iterator[tuple[str, Object]]:
    """Every pod that comes of a render: whose it is, and its spec; what injection adds is one, too."""
    for made in _of_kind(variant, "Deployment"):
        yield made["metadata"]["labels"]["app.kubernetes.io/component"], made["spec"]["template"]["spec"]
    for made in _of_kind(variant, "Pod"):
        yield made["metadata"]["labels"]["app.kubernetes.io/component"], made["spec"]
    for made in _of_kind(variant, "ConfigMap"):
        if "injection.json" in made["data"]:
            yield "injected", json.loads(made["data"]["injection.json"])["pod"]["spec"]


def _containers(spec: Object) -> list[Object]:
    return [*spec.get("initContainers", ()), *spec["containers"]]


@EITHER
@EACH
def test_a_render_is_the_golden_one_with_either_helm(variant: str, helm: str) -> None:
    kept = (CI / f"{variant}-render.yaml").read_text(encoding="utf-8")
    assert chart.golden(_text(variant, helm)) == kept, "look at the difference: python -m tests.support.chart"


def test_each_variant_has_a_golden_render_and_the_reverse() -> None:
    assert {path.name.removesuffix("-render.yaml") for path in CI.glob("*-render.yaml")} == set(VARIANTS)
    assert {path.name.rpartition("-")[2] for path in CI.iterdir()} == {"render.yaml", "values.yaml"}


@EACH
def test_no_account_of_ours_may_create_anything(variant: str) -> None:
    # A Secret that somebody creates may ask for the token of any account of its namespace.
    rules = [rule for role in _of_kind(variant, "Role", "ClusterRole") for rule in role["rules"]]
    assert {verb for rule in rules for verb in rule["verbs"]} <= {"get", "list", "patch"}
    assert all("resourceNames" in rule for rule in rules if rule["verbs"] != ["list"])


@EACH
def test_rendered_twice_it_is_the_same_bytes(variant: str) -> None:
    assert chart.template("helm4", chart.values_of(variant))[1] == _text(variant)


@EITHER
@EACH
def test_helm_has_nothing_to_say_against_it(variant: str, helm: str) -> None:
    words = ("lint", "--strict", f"--kube-version={chart.NEW_ENOUGH}", str(CHART), chart.values_of(variant))
    code, out, err = chart.run(helm, *words)
    assert (code, "[WARNING]" in out) == (0, False), out + err


def test_what_is_generated_is_what_the_code_writes(tmp_path: Path) -> None:
    made = files(ROOT)
    for name, content in made.items():
        assert (ROOT / name).read_text(encoding="utf-8") == content, f"{name}: run `make schema`"
    there = {path.relative_to(ROOT).as_posix() for path in (CHART / "files").rglob("*") if path.is_file()}
    written = {f"charts/authz/files/{name}.yaml" for name in ("nothing-allowed", "helm-test")}
    assert there - written == {name for name in made if name.startswith("charts/authz/files/")}
    for name in ("charts/authz/values.yaml", "charts/authz/README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "charts/monitoring").symlink_to(ROOT / "charts/monitoring")
    write(tmp_path)
    for name, content in made.items():
        assert (tmp_path / name).read_text(encoding="utf-8") == content


def test_every_value_is_explained_once() -> None:
    found = rows((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert [row.place for row in found if len(row.meaning) < 8] == []
    assert len({row.place for row in found}) == len(found)


def test_no_template_makes_anything_up() -> None:
    for path in (CHART / "templates").rglob("*"):
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        for word in (
            "randAlpha",
            "randNumeric",
            "genCA",
            "genSigned",
            "genPrivateKey",
            "lookup ",
            "now ",
            "uuidv4",
        ):
            assert f"{{{{ {word}" not in text, f"{path}: {word}"
            assert f"({word}" not in text, f"{path}: {word}"


@EACH
def test_every_object_says_whose_it_is_and_where(variant: str) -> None:
    fullname = "gate" if variant == "everything" else "authz"
    for made in _objects(variant):
        meta = made["metadata"]
        standard = {f"app.kubernetes.io/{each}" for each in ("name", "instance", "component", "version")}
        wanted = standard | {"app.kubernetes.io/managed-by", "app.kubernetes.io/part-of", "helm.sh/chart"}
        assert wanted <= set(meta["labels"]), _named(made)
        assert meta["labels"]["app.kubernetes.io/managed-by"] == "Helm"
        assert meta["name"] == fullname or meta["name"].startswith(f"{fullname}-"), _named(made)
        assert "namespace" in meta or meta["name"].endswith(".authz-system"), _named(made)


@EACH
def test_what_selects_pods_selects_what_no_upgrade_changes(variant: str) -> None:
    for made in _of_kind(variant, "Deployment"):
        selector = made["spec"]["selector"]["matchLabels"]
        assert {each.rpartition("/")[2] for each in selector} == {"name", "instance", "component"}
        assert selector.items() <= made["spec"]["template"]["metadata"]["labels"].items()
        # A new chart that changes nothing of a pod starts no new ones.
        assert "helm.sh/chart" not in made["spec"]["template"]["metadata"]["labels"]


@EACH
def test_every_container_of_ours_may_do_nothing_but_run(variant: str) -> None:
    for whose, spec in _pods(variant):
        for container in _containers(spec):
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, (whose, container["name"])
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert security["readOnlyRootFilesystem"] is True
            assert security["runAsNonRoot"] is True
            user = 65533 if container["name"].startswith("authz-git") else 65532  # git-sync's own
            assert security["runAsUser"] == security["runAsGroup"] == user
            assert security["seccompProfile"] == {"type": "RuntimeDefault"}
            assert "privileged" not in security
            assert {"requests", "limits"} <= set(container["resources"]), (whose, container["name"])
            assert "memory" in container["resources"]["limits"]
        for field in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
            assert not spec.get(field)
        assert not any("hostPath" in volume for volume in spec.get("volumes", ()))


@EACH
def test_nobody_gets_a_token_who_does_not_speak_to_the_api_server(variant: str) -> None:
    for whose, spec in _pods(variant):
        if whose == "injected":
            place = "/var/run/secrets/kubernetes.io/serviceaccount"
            for container in _containers(spec):
                assert [m["name"] for m in container["volumeMounts"] if m["mountPath"] == place] == [
                    "authz-none"
                ]
        elif whose not in _TOKENS:
            assert spec["automountServiceAccountToken"] is False, whose
    for made in _of_kind(variant, "ServiceAccount"):
        component = made["metadata"]["labels"]["app.kubernetes.io/component"]
        assert component in _TOKENS or made["automountServiceAccountToken"] is False


@EACH
def test_no_list_has_a_key_twice_which_server_side_apply_refuses(variant: str) -> None:
    for whose, spec in _pods(variant):
        assert _once([each["name"] for each in spec.get("volumes", ())]), whose
        assert _once([each["name"] for each in _containers(spec)]), whose
        for container in _containers(spec):
            assert _once([each["name"] for each in container.get("env", ())])
            assert _once([each["mountPath"] for each in container.get("volumeMounts", ())])
            assert _once([(each["containerPort"], each["protocol"]) for each in _ports(container)])
    for made in _objects(variant):
        for rule in made.get("spec", {}).get("ingress", ()) if made["kind"] == "NetworkPolicy" else ():
            assert _once([json.dumps(each) for each in rule["ports"]])


def _ports(container: Object) -> list[Object]:
    return [{"protocol": "TCP", **each} for each in container.get("ports", ())]


def _once(names: list[Any]) -> bool:
    return len(set(names)) == len(names)


@EITHER
def test_a_secret_stands_in_secrets_alone(helm: str) -> None:
    given = {
        "keys": {"pepper": _MARKS[0], "previousPepper": _MARKS[1]},
        "redis": {"development": {"enabled": True, "password": _MARKS[2]}},
        "monitoring": {"dashboards": {"enabled": True}, "rules": {"enabled": True}},
    }
    code, out, err = chart.template(helm, given=given)
    assert code == 0, err
    hidden = [base64.b64encode(mark.encode()).decode()[:24] for mark in _MARKS]
    seen = set()
    for made in chart.objects(out):
        text = json.dumps(made)
        told = [mark for mark in (*_MARKS, *hidden) if mark in text]
        assert not told or made["kind"] == "Secret", f"{_named(made)}: {told}"
        if made["kind"] == "Secret":
            plain = b"".join(base64.b64decode(value) for value in made["data"].values()).decode()
            seen |= {mark for mark in _MARKS if mark in plain}
    assert seen == set(_MARKS)


@pytest.mark.parametrize("variant", sorted({*VARIANTS} - {"gateway", "istio"}))  # those have other Envoys
def test_an_injected_pod_is_reached_through_its_envoy_alone(variant: str) -> None:
    found = [
        made for made in _of_kind(variant, "NetworkPolicy") if made["metadata"]["name"].endswith("-pods")
    ]
    told = yaml.safe_load((CI / f"{variant}-values.yaml").read_text(encoding="utf-8"))
    served = told.get("namespaces", ["authz-system"])
    assert sorted(made["metadata"]["namespace"] for made in found) == sorted(served)
    for made in found:
        assert made["spec"]["podSelector"] == {"matchLabels": {"sidecar.authz/inject": "true"}}
        assert made["spec"]["policyTypes"] == ["Ingress"]
        everybody = [rule for rule in made["spec"]["ingress"] if "from" not in rule]
        ports = [port["port"] for rule in everybody for port in rule["ports"]]
        assert ports == ([8443, 8444, 9090] if variant == "everything" else [9180])
        assert told.get("sidecar", {}).get("port", 8080) not in ports
        metrics = [rule for rule in made["spec"]["ingress"] if "from" in rule]
        assert [[port["port"] for port in rule["ports"]] for rule in metrics] == [[9192, 9193]]


def test_the_ports_that_a_pod_may_choose_are_those_that_are_open() -> None:
    listen = _injection("everything")["variables"]["listenPort"]
    assert (listen["pattern"], listen["default"]) == ("^(8443|8444)$", "8443")
    assert "networkPolicy.listenPorts" in listen["message"]


def _injection(variant: str) -> Object:
    (made,) = [one for one in _of_kind(variant, "ConfigMap") if "injection.json" in one["data"]]
    told: Object = json.loads(made["data"]["injection.json"])
    return told


def test_each_alert_links_to_a_runbook_that_there_is(tmp_path: Path) -> None:
    rules = _of_kind("everything", "PrometheusRule")
    assert [made["metadata"]["name"] for made in rules] == ["gate-alerts", "gate-rules"]
    for made in rules:
        path = tmp_path / made["metadata"]["name"]
        path.write_text(yaml.safe_dump(made["spec"]), encoding="utf-8")
        code, said = promtool("check", "rules", str(path))
        assert code == 0, said
    alerts = [rule for group in rules[0]["spec"]["groups"] for rule in group["rules"]]
    assert len(alerts) > 30
    for rule in alerts:
        assert rule["annotations"]["runbook_url"] == f"https://docs.example.com/runbooks/{rule['alert']}.md"
        assert (ROOT / "docs" / "runbooks" / f"{rule['alert']}.md").is_file()


def test_the_dashboards_are_those_of_the_monitoring_and_link_to_the_same_runbooks() -> None:
    found = {
        name: text
        for made in _of_kind("everything", "ConfigMap")
        for name, text in made["data"].items()
        if name.startswith("authz-")
    }
    sources = {f"authz-{path.name}": path for path in (ROOT / "charts/monitoring/dashboards").iterdir()}
    assert set(found) == set(sources)
    for name, text in found.items():
        plain = sources[name].read_text(encoding="utf-8").rstrip("\n")
        assert text == plain.replace(
            "https://example.com/authz/docs/runbooks", "https://docs.example.com/runbooks"
        )


@EACH
def test_the_pods_that_are_scraped_have_the_ports_that_are_named(variant: str) -> None:
    for made in _of_kind(variant, "PodMonitor"):
        ports = {
            port["name"] for _, spec in _pods(variant) for one in _containers(spec) for port in _ports(one)
        }
        assert {each["port"] for each in made["spec"]["podMetricsEndpoints"]} <= ports


def test_one_service_for_all_is_replaced_without_a_moment_of_nobody() -> None:
    (made,) = [one for one in _of_kind("gateway", "Deployment") if one["metadata"]["name"] == "authz-service"]
    spec, pod = made["spec"], made["spec"]["template"]["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert pod["terminationGracePeriodSeconds"] >= 5 + 10 + 5 + 10
    (container,) = pod["containers"]
    assert {"startupProbe", "livenessProbe", "readinessProbe", "lifecycle"} <= set(container)
    assert pod["topologySpreadConstraints"]
    assert pod["affinity"]["podAntiAffinity"]
    (budget,) = _of_kind("gateway", "PodDisruptionBudget")
    assert budget["spec"]["selector"] == spec["selector"]
    assert (budget["spec"]["maxUnavailable"], spec["replicas"]) == (1, 2)


def test_what_a_hash_in_the_open_tells_of_a_secret_is_too_little_to_guess_it_by() -> None:
    for variant in VARIANTS:
        for made in _of_kind(variant, "Deployment"):
            for name, digits in made["spec"]["template"]["metadata"].get("annotations", {}).items():
                assert not name.startswith("checksum/") or len(digits) == 5


def test_one_service_for_all_has_its_policies_and_secrets_where_it_runs() -> None:
    given = {
        "namespaces": ["shop"],
        "redis": {"url": "redis://r:6379"},
        "keys": {"existingSecret": "", "pepper": "x" * 32},
    }
    code, out, err = chart.template("helm4", chart.values_of("gateway"), given=given)
    assert code == 0, err
    made = {(one["kind"], one["metadata"]["name"]): one["metadata"] for one in chart.objects(out)}
    pod = next(one for one in chart.objects(out) if one["kind"] == "Deployment")["spec"]["template"]["spec"]
    maps = {("ConfigMap", each["configMap"]["name"]) for each in pod["volumes"] if "configMap" in each}
    projected = next(each["projected"]["sources"] for each in pod["volumes"] if "projected" in each)
    secrets = {("Secret", each["secret"]["name"]) for each in projected}
    assert len(secrets) == 2
    assert {made[each]["namespace"] for each in maps | secrets} == {"authz-system"}
