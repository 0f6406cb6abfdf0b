"""Requests through the real Envoy: with authorization, and the same Envoy without."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from authz.bench.subjects import Server
from authz.model.address import TcpAddress, UnixAddress
from authz.proxy.bootstrap import written
from authz.proxy.choices import EnvoyChoices
from authz.proxy.process import Child, Plan, free_port, http_get, program

_FILTER = "envoy.filters.http.ext_authz"


def start(directory: Path, server: Server, stack: ExitStack, *, authorized: bool) -> tuple[Child, int]:
    """Start an Envoy that answers by itself; return it and its port.

    It answers directly, after its filters, so that no application behind it is part of the figure.
    """
    name = "with" if authorized else "without"
    port, admin = free_port(), free_port()
    choices = EnvoyChoices(
        listen=TcpAddress("127.0.0.1", port),
        upstream=TcpAddress("127.0.0.1", 1),
        authz=(UnixAddress(server.socket),),
        admin=TcpAddress("127.0.0.1", admin),
    )
    config = directory / f"envoy-{name}.yaml"
    config.write_text(_answering(written(replace(choices, timeout_ms=2000)), authorized=authorized))
    command = [program("envoy"), "--config-path", str(config), "--concurrency", "1"]
    command += ["--disable-hot-restart", "--log-level", "error"]
    plan = Plan("Envoy", command, directory / f"envoy-{name}.log", Path("/dev/null"))
    child = stack.enter_context(Child(plan))
    child.wait_until(lambda: (http_get(admin, "/ready") or (0,))[0] == 200)
    return child, port


def _answering(bootstrap: str, *, authorized: bool) -> str:
    """Change the generated bootstrap: routes answer directly; one side has no authorization."""
    tree: Any = yaml.safe_load(bootstrap)
    chain = tree["static_resources"]["listeners"][0]["filter_chains"][0]
    manager = chain["filters"][0]["typed_config"]
    for route in manager["route_config"]["virtual_hosts"][0]["routes"]:
        route.pop("route", None)
        route["direct_response"] = {"status": 200, "body": {"inline_string": "ok"}}
    if not authorized:
        manager["http_filters"] = [one for one in manager["http_filters"] if one["name"] != _FILTER]
    return str(yaml.safe_dump(tree))
