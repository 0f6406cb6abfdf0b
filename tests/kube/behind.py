"""A real sidecar and an application behind the real Envoy, which a control plane's resources have set up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from authz.proxy.process import Child, Plan, http_get, program
from authz.proxy.upstream import Upstream
from tests.support.proxy import envoy_complaint
from tests.support.redis import free_ports

# What is a volume in a cluster is a folder here.
_VOLUMES = {"AUTHZ_POLICIES": "policies", "AUTHZ_STATE": "state"}


class Ports(NamedTuple):
    """Where each listens, on the loopback."""

    listens: int
    admin: int
    checks: int
    ops: int
    application: int


class Behind(NamedTuple):
    """What runs.

    Args:
        port: where Envoy takes requests.
    """

    port: int
    sidecar: Child
    application: Upstream


@contextmanager
def behind(
    home: Path, policy: str, told: Mapping[str, str], envoy: Callable[[Ports], str]
) -> Iterator[Behind]:
    """Start all three.

    Args:
        policy: the sidecar's documents.
        told: what the chart tells the sidecar.
        envoy: makes the bootstrap.
    """
    for folder in _VOLUMES.values():
        (home / folder).mkdir()
    (home / "policies" / "all.yaml").write_text(policy)
    with ExitStack() as stack:
        application = stack.enter_context(Upstream())
        listens, admin, checks, ops = free_ports(4)
        ports = Ports(listens, admin, checks, ops, application.port)
        config = home / "envoy.json"
        config.write_text(envoy(ports))
        assert envoy_complaint(config) == ""
        here = {"AUTHZ_LISTEN": f"127.0.0.1:{ports.checks}", "AUTHZ_OPS": f"127.0.0.1:{ports.ops}"}
        moved = {name: str(home / folder) for name, folder in _VOLUMES.items()}
        env = {**told, **moved, **here, "AUTHZ_DRAIN_S": "0", "AUTHZ_DEBUG": "off"}
        serve = Plan("the sidecar", [program("authz"), "serve"], home / "log", home / "out", env)
        sidecar = stack.enter_context(Child(serve))
        sidecar.wait_until(lambda: _answers(ports.ops))
        words = [program("envoy"), "-c", str(config), "--concurrency", "1", "--disable-hot-restart"]
        running = stack.enter_context(Child(Plan("Envoy", words, home / "envoy.log", home / "envoy.out")))
        running.wait_until(lambda: _answers(ports.admin))
        yield Behind(ports.listens, sidecar, application)


def _answers(port: int) -> bool:
    return (http_get(port, "/ready") or (0, b""))[0] == 200
