"""Who reaches a listener may ask about anybody: what would answer strangers is refused at the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from authz.config.settings import load
from authz.model.errors import ConfigError
from authz.wiring.reach import require_reachable
from tests.support.certificates import ENVOY, Authority

FAR, NEAR = "0.0.0.0:9443", "127.0.0.1:9443"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, object]:
    ca = Authority()
    cert, key = ca.server().written(tmp_path, "server")
    return {"tls_cert": cert, "tls_key": key, "tls_client_ca": ca.written(tmp_path), "tls_clients": [ENVOY]}


def check(listen: str, flags: dict[str, object]) -> None:
    require_reachable(load({"listen": [listen], **flags}, {}))


@pytest.mark.parametrize("clients", [ENVOY, "spiffe://prod/ns/web/sa/*", "*"])
def test_with_callers_named_the_world_may_connect(files: dict[str, object], clients: str) -> None:
    check(FAR, files | {"tls_clients": [clients]})


def test_without_callers_named_loopback_alone_is_served(files: dict[str, object]) -> None:
    server_only = {name: files[name] for name in ("tls_cert", "tls_key")}
    check(NEAR, server_only)
    with pytest.raises(ConfigError, match="whoever reaches it may ask about anybody"):
        check(FAR, server_only)


@pytest.mark.parametrize(
    ("left_out", "words"),
    [
        ("tls_key", "--tls-cert: there is no --tls-key"),
        ("tls_clients", "--tls-client-ca: a CA speaks for a whole mesh"),
        ("tls_client_ca", "--tls-clients: there is no --tls-client-ca"),
        ("tls_cert", "--tls-key: there is no --tls-cert"),
    ],
)
def test_flags_that_belong_together_are_named_together(
    files: dict[str, object], left_out: str, words: str
) -> None:
    del files[left_out]
    with pytest.raises(ConfigError, match=words):
        check(FAR, files)


def test_a_socket_alone_never_speaks_tls(files: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="a Unix socket never speaks TLS"):
        check("unix:/run/a.sock", files)


def test_a_certificate_that_cannot_be_used_is_told_before_anything_starts(files: dict[str, object]) -> None:
    Path(str(files["tls_cert"])).unlink()
    with pytest.raises(ConfigError, match="no such file"):
        check(FAR, files)
