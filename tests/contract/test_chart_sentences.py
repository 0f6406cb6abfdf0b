"""Values that cannot work are refused, each by a sentence: what, why, what to set."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest

from tests.support import chart
from tests.support.chart import CHART, HELMS

_FAIL = re.compile(r"fail (?:\(printf )?\"((?:[^\"\\]|\\.)*)\"")
_TO_DO = re.compile(
    r"(?i)\b(set|take|give|make|let|write|leave|call|put|try)\b|such as|a-z, 0-9|sha256:|docs/"
)
_SERVICE = {"envoy": "gateway", "deployment": "service"}
_ASKED = {**_SERVICE, "service": {"tls": {"existingSecret": "t", "clients": ["*"]}}}
_GATEWAY = {"name": "public", "namespace": "edge"}
_PEPPER = "a-pepper-of-tests-and-of-nothing-else"
_DOCUMENT = "kind: Policy"


def _set(**fields: object) -> dict[str, Any]:
    return {"policies": {"sets": {"default": fields}}}


def _git(**fields: object) -> dict[str, Any]:
    return {"policies": {"git": {"enabled": True, "repository": "https://git.example.com/p.git", **fields}}}


# What templates/validate refuses: values, and the words by which the sentence is known.
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"deployment": "service"}, "`deployment: service` has no Envoy in the pods"),
    (
        {"deployment": "service", "envoy": "istio"},
        "`deployment: service` has none there; set `deployment: sidecar`",
    ),
    ({"envoy": "gateway"}, "set `deployment: service` and `service.tls`"),
    (_SERVICE, "set `service.tls.existingSecret` to a Secret with tls.crt, tls.key and ca.crt"),
    ({**_SERVICE, "service": {"tls": {"existingSecret": "t"}}}, "`service.tls.clients` is empty"),
    ({"fullnameOverride": "a\nb: c"}, '`fullnameOverride` is "a\\nb: c", and names of objects begin with it'),
    ({"nameOverride": "Items"}, '`nameOverride` is "Items", and names of objects begin with it'),
    ({"image": {"repository": "x\n      hostNetwork: true"}}, "`image.repository` has "),
    ({"image": {"pullSecrets": ["a", "b: c"]}}, '`image.pullSecrets` has "b: c", which is no name'),
    ({"envoyProxy": {"upgrades": ["a b"]}}, '`envoyProxy.upgrades` has "a b", which is no name'),
    ({"namespaces": ["Shop"]}, '`namespaces` has "Shop", which no namespace is called'),
    ({"sidecar": {"hosts": ["https://items.example.com"]}}, '"https://items.example.com", which is no host'),
    ({"sidecar": {"hosts": ["items.example.com:8080"]}}, '"items.example.com:8080", which is no host'),
    ({"sidecar": {"hosts": ["a,b"]}}, '"a,b", which is no host'),
    ({"image": {"digest": "sha256:abc"}}, '`image.digest` is "sha256:abc", which is no digest'),
    (
        {"sidecar": {"settings": {"API_KEY_SALT": _PEPPER}}},
        "`sidecar.settings` has API_KEY_SALT, which is secret",
    ),
    (
        {"sidecar": {"settings": {"AUTHZ_OPS": "off"}}},
        "`sidecar.settings` has AUTHZ_OPS, which the chart sets",
    ),
    ({"sidecar": {"settings": {"LOG_LEVEL": "debug"}}}, "from `sidecar.logLevel`; set that"),
    ({"sidecar": {"settings": {"limit_headers": "off"}}}, '"limit_headers", which is no setting'),
    ({"sidecar": {"settings": {"AUTHZ_LIMIT_HEADER": "off"}}}, '"AUTHZ_LIMIT_HEADER", which is no setting'),
    ({"sidecar": {"resources": {"limits": {"memory": "1TB"}}}}, '"1TB" is what pods get that do not say'),
    ({"sidecar": {"port": 9180}}, "port 9180 is `sidecar.port`, where applications listen"),
    ({"networkPolicy": {"openPorts": [8080]}}, "requests would go past Envoy"),
    ({"networkPolicy": {"listenPorts": [9193]}}, "port 9193 is where metrics are"),
    ({"sidecar": {"port": 9192}}, "`sidecar.port` is 9192, where the sidecar or Envoy tells its metrics"),
    (_git(repository=""), "`policies.git.repository` empty"),
    (_git(repository="rules"), '`policies.git.repository` is "rules", which git takes for a directory'),
    (_git(path="/sets"), '`policies.git.path` is "/sets"; set a directory inside the repository'),
    (_git(path="a/../.."), "without / before it and without .."),
    ({"policies": {"sets": {"default": None}}}, "`policies.sets` is empty, and pods choose one of them"),
    ({"policies": {"sets": {"Default": {}}}}, '`policies.sets` has "Default", which no set can be called'),
    (
        {"policies": {"sets": {"helm-test": {}}}},
        '`policies.sets` has "helm-test", which no set can be called',
    ),
    (_set(files={"a.yaml": _DOCUMENT}, existingConfigMap="b"), "has both `files` and `existingConfigMap`"),
    (
        {"policies": {**_git()["policies"], **_set(existingConfigMap="b")["policies"]}},
        "says that they are in Git",
    ),
    (
        _set(files={"a.json": _DOCUMENT}),
        '`policies.sets.default.files` has "a.json", which the sidecar would not',
    ),
    (_set(files={"a": _DOCUMENT}), "write files.items\\.yaml=PATH"),
    (
        _set(files={"a.yaml": "policies/a.yaml"}),
        '`policies.sets.default.files` has "a.yaml" without a document',
    ),
    (
        {"keys": {"existingSecret": "k", "pepper": _PEPPER}},
        "`keys.existingSecret` and `keys.pepper` are both set",
    ),
    ({"keys": {"previousPepper": _PEPPER}}, "`keys.previousPepper` is set and `keys.pepper` is not"),
    ({"keys": {"pepper": "x" * 31}}, "`keys.pepper` has 31 bytes, and at least 32 random ones"),
    ({"keys": {"pepper": _PEPPER, "previousPepper": "y"}}, "`keys.previousPepper` has 1 bytes"),
    (
        {"redis": {"existingSecret": "r", "url": "redis://r"}},
        "`redis.existingSecret`, `redis.url` are all set",
    ),
    ({"redis": {"url": "redis.example.com:6379"}}, "`redis.url` is no address of a Redis; write redis://"),
    (
        {"redis": {"development": {"enabled": True, "password": "a@b"}}},
        "must have 8 letters and digits or more",
    ),
    ({"envoy": "istio", "istio": {"provider": "Authz"}}, '`istio.provider` is "Authz", which a mesh'),
    ({"envoy": "istio", "sidecar": {"workers": 2}}, "`sidecar.workers` is 2, and a mesh asks at one"),
    (_ASKED, "`gateway.gateways` is empty, so nothing would ask the service"),
    ({**_ASKED, "gateway": {"gateways": [_GATEWAY]}}, "`gateway.tls.clientSecret` is empty"),
    (
        {
            **_ASKED,
            "gateway": {
                "gateways": [_GATEWAY],
                "tls": {"clientSecret": "c"},
                "contextExtensions": {"a b": "c"},
            },
        },
        '`gateway.contextExtensions` has "a b", which no rule could read',
    ),
]

# What values.schema.json refuses, in Helm's own words. It tells of all faults at once.
UNSHAPED: list[tuple[dict[str, Any], list[str]]] = [
    (
        {
            "injections": "policy",
            "injection": "initializer",
            "envoy": "linkerd",
            "deployment": "daemonset",
            "namespaces": "shop",
            "sidecar": {"port": 70000, "workers": 0, "resources": {"request": {}}},
            "policies": {"sets": {"default": {"file": {}}}},
            "keys": {"salt": _PEPPER},
            "service": {"port": 443},
            "guard": {"enabled": "yes"},
            "image": {"pullPolicy": "Sometimes"},
            "monitoring": {"rules": {"labels": {"release": 1}}},
        },
        [
            "additional properties 'injections' not allowed",
            "at '/injection': value must be one of 'policy', 'webhook', 'none'",
            "at '/envoy': value must be one of 'managed', 'istio', 'gateway'",
            "at '/deployment': value must be one of 'sidecar', 'service'",
            "at '/namespaces': got string, want array",
            "at '/sidecar/port': maximum: got 70,000, want 65,535",
            "at '/sidecar/workers': minimum: got 0, want 1",
            "at '/sidecar/resources': additional properties 'request' not allowed",
            "at '/policies/sets/default': additional properties 'file' not allowed",
            "at '/keys': additional properties 'salt' not allowed",
            "at '/service/port': minimum: got 443, want 1,024",
            "at '/guard/enabled': got string, want boolean",
            "at '/image/pullPolicy': value must be one of 'IfNotPresent', 'Always', 'Never'",
            "at '/monitoring/rules/labels/release': got number, want string",
        ],
    ),
    (
        {
            "namespaces": ["shop", "shop"],
            "sidecar": {"port": "8080", "settings": {"AUTHZ_HOSTS": []}},
            "guard": {"enabled": None},
        },
        [
            "at '/namespaces': items at 0 and 1 are equal",
            "at '/sidecar/port': got string, want integer",
            "at '/sidecar/settings/AUTHZ_HOSTS': got array",
            "at '/guard': missing property 'enabled'",
        ],
    ),
]

# What a cluster is too old for.
TOO_OLD: list[tuple[str, dict[str, Any], str]] = [
    (
        "1.28.9",
        {},
        "this cluster is Kubernetes v1.28.9, and the chart needs 1.29 or newer; take a newer one; without",
    ),
    (
        "1.35.3",
        {},
        "needs Kubernetes 1.36 for MutatingAdmissionPolicy, and this cluster is v1.35.3; set `injection",
    ),
    ("1.29.1", {"injection": "webhook"}, "the guard needs Kubernetes 1.30 for ValidatingAdmissionPolicy"),
]


@pytest.fixture(autouse=True, scope="module")
def _helms() -> None:
    chart.needed()


@cache
def _refusal(number: int) -> tuple[int, str, str]:
    return chart.template("helm4", given=REFUSED[number][0])


@cache
def _age(number: int) -> tuple[int, str, str]:
    version, given, _ = TOO_OLD[number]
    return chart.template("helm4", given=given, version=version)


@pytest.mark.parametrize("number", range(len(REFUSED)), ids=lambda number: REFUSED[number][1])
def test_what_cannot_work_is_refused_by_a_sentence(number: int) -> None:
    code, out, err = _refusal(number)
    assert (code, out) == (1, "")
    assert REFUSED[number][1] in err
    assert "templates/validate/validate.yaml" in err, "something was rendered before it was refused"


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize(("given", "words"), UNSHAPED, ids=["one", "two"])
def test_what_has_the_wrong_shape_is_refused_by_the_schema(
    given: dict[str, Any], words: list[str], helm: str
) -> None:
    code, out, err = chart.template(helm, given=given)
    assert (code, out) == (1, "")
    assert [each for each in words if each not in err] == [], err
    assert err.count("- at ") - err.count("validation failed") == len(words), err


@pytest.mark.parametrize("number", range(len(TOO_OLD)), ids=lambda number: TOO_OLD[number][0])
def test_a_cluster_that_is_too_old_is_named_with_what_is_needed(number: int) -> None:
    code, _, err = _age(number)
    assert (code, TOO_OLD[number][2] in err) == (1, True), err
    assert "--kube-version 1.37" in err


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("version", ["v1.36.0-rc.1", "v1.36.2-gke.100", "v1.36.1+k3s1"])
def test_a_vendors_version_is_as_new_as_it_says(version: str, helm: str) -> None:
    code, _, err = chart.template(helm, version=version)
    assert code == 0, err


def test_either_helm_says_the_same() -> None:
    given, words = REFUSED[0]
    assert words in chart.template("helm3", given=given)[2]


def test_every_sentence_of_the_templates_is_tried_and_says_what_to_do() -> None:
    """One that no case leads to is one that may never have been true."""
    said = [_refusal(number)[2] for number in range(len(REFUSED))]
    said += [_age(number)[2] for number in range(len(TOO_OLD))]
    sentences = [
        sentence.replace('\\"', '"').replace("\\\\", "\\")
        for path in sorted((CHART / "templates" / "validate").iterdir())
        for sentence in _FAIL.findall(path.read_text(encoding="utf-8"))
    ]
    assert len(sentences) > 25
    for sentence in sentences:
        pattern = re.compile(".*".join(re.escape(piece) for piece in re.split("%[sqd]", sentence)))
        assert any(pattern.search(text) for text in said), f"no case is refused by: {sentence}"
        assert _TO_DO.search(sentence), f"what to do? {sentence}"
