"""The whole scene on one machine: a sample application, the sidecar, and the real Envoy between."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from authz.model.address import TcpAddress, UnixAddress
from authz.model.errors import NotStarted
from authz.proxy.bootstrap import written
from authz.proxy.choices import EnvoyChoices
from authz.proxy.process import Child, Plan, free_port, http_get, program
from authz.proxy.upstream import Upstream

_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Scene:
    """What to build.

    Args:
        directory: where sockets, configuration and logs go; its path is short, since a socket's is bounded.
        policies: directories of documents.
        pepper: API_KEY_SALT of the sidecar.
        hosts: what the sidecar's listener is bound to; empty for every host.
        serve: further arguments of `authz serve`.
        env: further variables of the sidecar.
        envoy: changes the choices about Envoy before they are written.
        edit: changes the written bootstrap: tests ask what happens behind an Envoy that is set up worse.
    """

    directory: Path
    policies: tuple[Path, ...]
    pepper: str
    hosts: tuple[str, ...] = ()
    serve: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    envoy: Callable[[EnvoyChoices], EnvoyChoices] = lambda choices: choices
    edit: Callable[[str], str] = str


@dataclass(frozen=True, slots=True)
class Stage:
    """What is running."""

    scene: Scene
    upstream: Upstream
    sidecar: Child
    envoy: Child
    port: int  # of Envoy's listener
    admin_port: int  # of Envoy's admin listener
    ops_port: int  # of the sidecar's health, readiness and metrics

    @property
    def records(self) -> Path:
        """The file that the sidecar's decision records go to."""
        return self.sidecar.plan.output

    @property
    def access_log(self) -> Path:
        """The file that Envoy's access log goes to."""
        return self.envoy.plan.output


def new_pepper() -> str:
    """Return a pepper for one run: 64 random hex digits."""
    return secrets.token_hex(32)


@contextmanager
def staged(scene: Scene) -> Iterator[Stage]:
    """Start everything, wait until it is ready, and end everything on the way out.

    Raises:
        NotStarted: a part does not come up.
    """
    with ExitStack() as stack:
        upstream = stack.enter_context(Upstream())
        ops_port = free_port()
        sidecar = stack.enter_context(start_sidecar(scene, ops_port))
        envoy, ports = start_envoy(scene, upstream.port, stack)
        yield Stage(scene, upstream, sidecar, envoy, ports[0], ports[1], ops_port)


def socket_path(scene: Scene) -> Path:
    """Return where the sidecar answers checks."""
    return scene.directory / "authz.sock"


def start_sidecar(scene: Scene, ops_port: int) -> Child:
    """Start `authz serve` and wait until its policies are loaded.

    Raises:
        NotStarted: it does not become ready.
    """
    child = Child(
        Plan(
            name="the sidecar",
            command=[program("authz"), "serve", *_serve_arguments(scene, ops_port)],
            log=scene.directory / "sidecar.log",
            output=scene.directory / "records.jsonl",
            env={"API_KEY_SALT": scene.pepper, **scene.env},
        )
    )
    return _ready_or_stopped(child, lambda: _says_yes(ops_port, "/ready"))


def start_envoy(scene: Scene, upstream_port: int, stack: ExitStack) -> tuple[Child, tuple[int, int]]:
    """Start Envoy in front of the sidecar; return it with the ports of its listener and of its admin.

    Envoy chooses both ports itself, so two runs never quarrel about one.

    Raises:
        NotStarted: it does not become ready.
    """
    config = scene.directory / "envoy.yaml"
    config.write_text(scene.edit(written(envoy_choices(scene, upstream_port))), encoding="utf-8")
    admin_file = scene.directory / "envoy-admin"
    admin_file.unlink(missing_ok=True)
    child = stack.enter_context(Child(_envoy_plan(scene, config, admin_file)))
    child.wait_until(lambda: admin_file.is_file() and ":" in admin_file.read_text())
    admin_port = int(admin_file.read_text().rpartition(":")[2])
    child.wait_until(lambda: _says_yes(admin_port, "/ready"))
    return child, (_listener_port(admin_port), admin_port)


def envoy_choices(scene: Scene, upstream_port: int) -> EnvoyChoices:
    """Return the choices about Envoy; port 0 means that Envoy picks one."""
    return scene.envoy(
        EnvoyChoices(
            listen=TcpAddress(_LOOPBACK, 0),
            upstream=TcpAddress(_LOOPBACK, upstream_port),
            authz=(UnixAddress(socket_path(scene)),),
            admin=TcpAddress(_LOOPBACK, 0),
            # On a machine that runs everything at once a pause is likelier than an outage.
            timeout_ms=2000,
        )
    )


def _serve_arguments(scene: Scene, ops_port: int) -> Sequence[str]:
    arguments = ["--listen", f"unix:{socket_path(scene)}", "--ops", f"{_LOOPBACK}:{ops_port}"]
    arguments += ["--debug", f"unix:{scene.directory / 'debug.sock'}"]
    arguments += ["--state", str(scene.directory / "state")]
    for directory in scene.policies:
        arguments += ["--policies", str(directory)]
    for host in scene.hosts:
        arguments += ["--hosts", host]
    return [*arguments, *scene.serve]


def _envoy_plan(scene: Scene, config: Path, admin_file: Path) -> Plan:
    command = [program("envoy"), "--config-path", str(config), "--admin-address-path", str(admin_file)]
    # One thread: this machine runs the application, the sidecar and the clients too.
    command += ["--concurrency", "1"]
    # Hot restart claims shared memory by a number; two runs on one machine would quarrel about it.
    command += ["--disable-hot-restart", "--log-level", "warning"]
    # The access log is looked at while Envoy runs; by default it is written every ten seconds.
    command += ["--file-flush-interval-msec", "200"]
    directory = scene.directory
    return Plan("Envoy", command, log=directory / "envoy.log", output=directory / "access.jsonl")


def _ready_or_stopped(child: Child, ready: Callable[[], bool]) -> Child:
    try:
        child.wait_until(ready)
    except BaseException:
        child.stop()
        raise
    return child


def _says_yes(port: int, path: str) -> bool:
    reply = http_get(port, path)
    return reply is not None and reply[0] == 200


def _listener_port(admin_port: int) -> int:
    reply = http_get(admin_port, "/listeners?format=json")
    if reply is None:
        raise NotStarted("Envoy became ready and then stopped answering; look into its log")
    listeners = json.loads(reply[1])["listener_statuses"]
    return int(listeners[0]["local_address"]["socket_address"]["port_value"])


def short_directory(parent: Path | None = None) -> Path:
    """Return a new private directory whose path is short enough for sockets in it."""
    root = parent if parent and len(os.fspath(parent)) < 60 else None
    return Path(tempfile.mkdtemp(prefix="authz-", dir=root))
