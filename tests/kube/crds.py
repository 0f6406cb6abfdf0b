"""What Istio, Gateway API and Envoy Gateway tell an API server of their objects: their own files, unchanged.

They come out of pinned Go modules, whose hashes the checksum database of Go vouches for, into Go's own cache.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.kube import tools
from tests.kube.cluster import Cluster, run

ENVOY_GATEWAY = "1.9.1"
ISTIO = "1.31.1"


class Source(NamedTuple):
    """Where definitions stand: a module, its version, and files or folders in it."""

    module: str
    version: str
    files: tuple[str, ...]


_CRDS = "charts/gateway-helm/charts/crds/crds"
OF_ISTIO = Source("istio.io/api", ISTIO, ("kubernetes/customresourcedefinitions.gen.yaml",))
OF_ENVOY_GATEWAY = Source(
    "github.com/envoyproxy/gateway",
    ENVOY_GATEWAY,
    (f"{_CRDS}/gatewayapi-crds.yaml", f"{_CRDS}/generated"),  # the first are those of Gateway API
)


@contextmanager
def installed(cluster: Cluster, source: Source) -> Iterator[None]:
    """Teach an API server what a source defines; leaving takes it away with all its objects."""
    root = _module(source)
    files = [word for name in source.files for word in ("-f", str(root / name))]
    cluster.kubectl("apply", "--server-side", *files)
    try:
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *files)
        yield
    finally:
        cluster.kubectl("delete", "--wait=false", *files)


def _module(source: Source) -> Path:
    """Return the folder of a module, fetched where it was not."""
    said = run(["go", "mod", "download", "-json", f"{source.module}@v{source.version}"])
    if said.code:
        tools.missing(f"`{source.module}` cannot be fetched: {said.err or said.out}")
    return Path(json.loads(said.out)["Dir"])
