"""The Kustomize overlay renders, twice alike, with either Helm, and a cluster takes what it renders."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from authz.proxy.process import program
from tests.kube.cluster import Cluster, run
from tests.kube.tools import KUBERNETES, tool

OVERLAY = Path(__file__).parents[2] / "charts" / "kustomize" / "overlays" / "production"
NAMESPACES = ("authz-system", "items")


def _rendered(helm: str) -> str:
    said = run(
        [
            *(tool("kubectl"), "kustomize", "--enable-helm", f"--helm-command={tool(helm)}"),
            *(f"--helm-kube-version={KUBERNETES}", str(OVERLAY)),
        ]
    )
    assert said.code == 0, said.text
    return said.out


@pytest.fixture(scope="module")
def namespaces(cluster: Cluster) -> tuple[str, ...]:
    return tuple(cluster.create_namespace(name) for name in NAMESPACES)


@pytest.mark.parametrize("helm", ["helm3", "helm4"])
def test_a_cluster_takes_what_the_overlay_renders(
    cluster: Cluster, namespaces: tuple[str, ...], helm: str
) -> None:
    text = _rendered(helm)
    assert text == _rendered(helm)
    said = cluster.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", given=text)
    made = [one for one in yaml.safe_load_all(text) if one]
    assert said.out.count("serverside-applied (server dry run)") == len(made) > 5
    assert {one["metadata"].get("namespace") for one in made} <= {None, *namespaces}


def test_policies_keep_their_name_so_that_running_sidecars_see_a_change() -> None:
    made = [one for one in yaml.safe_load_all(_rendered("helm3")) if one and one["kind"] == "ConfigMap"]
    names = {(one["metadata"]["namespace"], one["metadata"]["name"]) for one in made}
    assert ("items", "items-policies") in names


def test_its_policies_are_good() -> None:
    said = run([program("authz"), "policy", "validate", str(OVERLAY / "policies")])
    assert said.code == 0, said.text
