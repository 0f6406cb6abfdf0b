"""What Envoy Gateway makes of the chart: its own translation, kept, so that who does not touch it needs none.

`egctl` takes seven minutes to build, which no run of the tests is to spend. So what it said of the chart
stands in `golden/envoy-gateway.json`, beside a digest of what it was asked; a test fails where the chart
renders anything else. Then `python -m tests.kube.tools egctl` builds it, and `python -m
tests.kube.translation` asks anew; where it is built, a test asks it every time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from tests.kube.cluster import Helm, run
from tests.kube.tools import KUBERNETES, TOOLS

_HERE = Path(__file__).parent
_CHART = _HERE.parents[1] / "charts" / "authz"
_SCENE = _HERE / "golden" / "gateway-scene.yaml"
KEPT = _HERE / "golden" / "envoy-gateway.json"
RELEASE, HOME, EDGE = "t", "authz", "edge"
VALUES = {
    "envoy": "gateway",
    "deployment": "service",
    "service": {"tls": {"existingSecret": "authz-tls", "clients": ["*"]}},
    "gateway": {
        "gateways": [{"name": "public", "namespace": EDGE}],
        "tls": {"clientSecret": "authz-client"},
        "bodyBytes": 1024,
        "contextExtensions": {"tier": "public"},
    },
}
# What a translator reads; a Deployment is not among it.
_READ = frozenset(
    ("SecurityPolicy", "ClientTrafficPolicy", "EnvoyProxy", "BackendTLSPolicy", "ReferenceGrant", "Service")
)
Made = dict[str, Any]


def rendered(helm: Helm) -> list[Made]:
    """Return what the chart renders for the scene."""
    words = ("-n", HOME, "-f", "-", "--kube-version", KUBERNETES)
    text = helm("template", RELEASE, str(_CHART), *words, given=yaml.safe_dump(VALUES)).out
    return [one for one in yaml.safe_load_all(text) if one]


def question(made: list[Made]) -> str:
    """Return what a translator is asked, as YAML: the scene, and of the chart what it reads of that."""
    ours = [
        {**{key: one[key] for key in ("apiVersion", "kind", "spec")}, "metadata": _named(one["metadata"])}
        for one in made
        if one["kind"] in _READ
    ]
    for one in ours:
        if one["kind"] == "Service":
            one["spec"]["clusterIP"] = "10.0.0.8"
    return f"{_SCENE.read_text(encoding='utf-8')}---\n{yaml.safe_dump_all(ours)}"


def _named(metadata: Made) -> Made:
    return {key: metadata[key] for key in ("name", "namespace")}


def digest(asked: str) -> str:
    """Return the digest under which an answer is kept."""
    return hashlib.sha256(asked.encode()).hexdigest()


def translated(asked: str, program: str) -> list[Made]:
    """Ask Envoy Gateway's own translator; return what it gives Envoy, without Envoy's bootstrap.

    Raises:
        AssertionError: it could not make anything of it.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "given.yaml"
        path.write_text(asked, encoding="utf-8")
        words = ("x", "translate", "--from", "gateway-api", "--to", "xds", "-t", "all", "-o", "json")
        said = run([program, *words, "-f", str(path)])
    assert said.code == 0, said.text
    (dump,) = json.loads(said.out)["xds"].values()
    return list(_dynamic(dump["configs"]))


def _dynamic(configs: list[Made]) -> Iterator[Made]:
    for part in configs:
        if not part["@type"].endswith("BootstrapConfigDump"):
            yield part


def kept() -> Made:
    """Return what is kept: `asked`, a digest, and `made`."""
    found = json.loads(KEPT.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def main() -> None:
    """Ask anew, and keep the answer."""
    egctl = TOOLS["egctl"]
    with TemporaryDirectory() as folder:
        asked = question(rendered(Helm("helm3", Path(folder))))
    answer = {"asked": digest(asked), "made": translated(asked, str(egctl.path("egctl")))}
    KEPT.write_text(json.dumps(answer, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
