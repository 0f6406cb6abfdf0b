"""One cluster for all tests of Kubernetes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kube import cluster as clusters

CHART = Path(__file__).parents[2] / "charts" / "authz"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[clusters.Cluster]:
    """A real API server, its controllers and a node. All share it: whoever makes something removes it."""
    with clusters.cluster(tmp_path_factory.mktemp("kube")) as ours:
        yield ours


@pytest.fixture(scope="session")
def helm3(cluster: clusters.Cluster) -> clusters.Helm:
    """Helm 3 on that cluster."""
    return clusters.Helm("helm3", cluster.home, cluster)


@pytest.fixture(scope="session")
def helm4(cluster: clusters.Cluster) -> clusters.Helm:
    """Helm 4 on that cluster."""
    return clusters.Helm("helm4", cluster.home, cluster)


@pytest.fixture(scope="session", params=["helm3", "helm4"])
def helm(request: pytest.FixtureRequest, cluster: clusters.Cluster) -> clusters.Helm:
    """Either Helm: the test runs with both."""
    return clusters.Helm(request.param, cluster.home, cluster)


@pytest.fixture(scope="session")
def chart() -> str:
    """Where the chart is."""
    return str(CHART)
