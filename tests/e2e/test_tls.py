"""Envoy asks the sidecar over mTLS: whoever may, and nobody else; and certificates are replaced meanwhile."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from authz.model.address import TcpAddress, UnixAddress
from authz.proxy.choices import EnvoyChoices, SidecarTls
from authz.proxy.process import free_port, http_get
from authz.proxy.stage import socket_path
from tests.support.certificates import ENVOY, Authority, Pair
from tests.support.proxy import KEYS, Live, another_envoy, eventually, live

pytestmark = pytest.mark.e2e
TRANSPORTS = ("native",)  # TLS is always served by grpcio


class Secured:
    """A sidecar that answers over mTLS, an Envoy that may ask it, and what both were given."""

    def __init__(self, app: Live, files: Path, port: int, ca: Authority) -> None:
        self.app, self.files, self.port, self.ca = app, files, port, ca

    def envoy(self, name: str, pair: Pair | None, expects: str = "authz.test") -> AbstractContextManager[int]:
        """Start another Envoy, which shows another certificate or expects another one."""
        cert, key = pair.written(self.files, name) if pair else (None, None)
        tls = SidecarTls(self.files / "ca.crt", cert, key, expects)
        return another_envoy(self.app, name, authz=(TcpAddress("127.0.0.1", self.port),), authz_tls=tls)


@pytest.fixture(scope="module")
def secured() -> Iterator[Secured]:
    with _secured() as made:
        yield made


@contextmanager
def _secured() -> Iterator[Secured]:
    with tempfile.TemporaryDirectory(prefix="authz-") as made:
        files, port, ca = Path(made), free_port(), Authority()
        ca.written(files)
        ca.server().written(files, "server")
        ca.vouch(ENVOY).written(files, "envoy")
        with live(KEYS, serve=_serve(files, port), envoy=_envoy(files, port)) as app:
            yield Secured(app, files, port, ca)


def _serve(files: Path, port: int) -> tuple[str, ...]:
    named = {"tls-cert": "server.crt", "tls-key": "server.key", "tls-client-ca": "ca.crt"}
    flags = [word for flag, name in named.items() for word in (f"--{flag}", str(files / name))]
    return ("--listen", f"127.0.0.1:{port}", *flags, "--tls-clients", "spiffe://prod/ns/web/sa/*")


def _envoy(files: Path, port: int) -> Callable[[EnvoyChoices], EnvoyChoices]:
    tls = SidecarTls(files / "ca.crt", files / "envoy.crt", files / "envoy.key", "authz.test")
    return lambda choices: replace(
        choices, authz=(TcpAddress("127.0.0.1", port),), authz_tls=tls, upgrades=("websocket",)
    )


def _metric(app: Live, name: str) -> float:
    page = http_get(app.stage.ops_port, "/metrics")
    lines = page[1].decode().splitlines() if page else []
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_over_mtls_a_request_is_allowed_or_refused(secured: Secured) -> None:
    app = secured.app
    assert app.send("GET", "/public/a")[0].status == 200
    reply, seen = app.send("GET", "/items")
    assert (reply.status, seen) == (401, [])
    assert app.send("GET", "/items", app.key())[0].status == 200


def test_a_socket_beside_it_is_served_too(secured: Secured) -> None:
    """By the native front, in the same process."""
    socket = UnixAddress(socket_path(secured.app.stage.scene))
    with another_envoy(secured.app, "plain", authz=(socket,)) as port:
        assert secured.app.send("GET", "/public/a", port=port)[0].status == 200


def test_a_stranger_of_the_same_mesh_gets_503_and_is_counted(secured: Secured) -> None:
    before = _metric(secured.app, "authz_strangers_total")
    with secured.envoy("stranger", secured.ca.vouch("spiffe://prod/ns/other/sa/x")) as port:
        reply, seen = secured.app.send("GET", "/public/a", port=port)
        assert (reply.status, seen) == (503, [])
    assert _metric(secured.app, "authz_strangers_total") > before
    assert "spiffe://prod/ns/other/sa/x" in secured.app.stage.sidecar.plan.log.read_text()


@pytest.mark.parametrize("who", ["nobody", "another mesh"])
def test_without_a_certificate_of_the_ca_nobody_passes(secured: Secured, who: str) -> None:
    pair = Authority().vouch(ENVOY) if who == "another mesh" else None
    with secured.envoy(who.replace(" ", "-"), pair) as port:
        reply, seen = secured.app.send("GET", "/public/a", port=port)
        assert (reply.status, seen) == (503, [])


def test_envoy_takes_no_certificate_that_names_another(secured: Secured) -> None:
    """Any client of the mesh could else answer in the sidecar's place."""
    with secured.envoy("misled", secured.ca.vouch(ENVOY), "other.test") as port:
        reply, seen = secured.app.send("GET", "/public/a", port=port)
        assert (reply.status, seen) == (503, [])


def test_certificates_are_replaced_while_requests_pass(secured: Secured) -> None:
    """Ours and the callers' CA at once: the old Envoy's connection goes on, a new one needs the new CA."""
    app, ca = secured.app, Authority()
    old = {name: (secured.files / name).read_bytes() for name in ("ca.crt", "server.crt", "server.key")}
    try:
        ca.server().written(secured.files, "server")
        ca.written(secured.files)
        reloads = 'authz_certificate_reloads_total{result="accepted"}'
        assert eventually(lambda: _metric(app, reloads) >= 1)
        assert app.send("GET", "/public/a")[0].status == 200
        with secured.envoy("renewed", ca.vouch(ENVOY)) as port:
            assert app.send("GET", "/public/a", port=port)[0].status == 200
        assert app.send("GET", "/public/a")[0].status == 200
    finally:
        for name, content in old.items():
            (secured.files / name).write_bytes(content)
