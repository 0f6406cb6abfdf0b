from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from authz.model.address import Address, TcpAddress, UnixAddress
from authz.model.errors import ConfigError
from authz.proxy import choices as chosen

LISTEN = TcpAddress("127.0.0.1", 8080)
SOCKET = UnixAddress(Path("/run/authz.sock"))
PLAIN = chosen.EnvoyChoices(listen=LISTEN, upstream=TcpAddress("app", 3000), authz=(SOCKET,))


def test_a_listener_is_an_address_and_a_port() -> None:
    assert chosen.listener("[::1]:9901", "--admin") == TcpAddress("::1", 9901)


@pytest.mark.parametrize("text", ["localhost:8080", "unix:/run/x", "8080", "127.0.0.1:0", "127.0.0.1:70000"])
def test_a_listener_that_cannot_be_bound_is_refused_by_its_flag(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--listen: "):
        chosen.listener(text, "--listen")


def test_an_upstream_may_be_a_name() -> None:
    assert chosen.is_name(chosen.server("app.internal:3000", "--upstream"))


def test_a_sidecar_may_be_a_socket() -> None:
    assert chosen.sidecar("unix:/run/authz.sock") == SOCKET
    assert not chosen.is_name(SOCKET)


def test_a_socket_is_named_by_its_absolute_path_since_envoy_runs_elsewhere() -> None:
    with pytest.raises(ConfigError, match="not an absolute path"):
        chosen.sidecar("unix:run/authz.sock")


@pytest.mark.parametrize(
    ("wrong", "flag"),
    [
        (replace(PLAIN, authz=()), "--authz"),
        (replace(PLAIN, authz=(SOCKET, SOCKET)), "--authz"),
        (replace(PLAIN, authz=(SOCKET, TcpAddress("sidecar", 1))), "--authz"),
        (replace(PLAIN, body_bytes=chosen.MAX_BODY_BYTES + 1), "--body-bytes"),
        (replace(PLAIN, body_bytes=-1), "--body-bytes"),
        (replace(PLAIN, trusted_hops=-1), "--trusted-hops"),
        (replace(PLAIN, timeout_ms=0), "--timeout-ms"),
        (replace(PLAIN, upgrades=("h2c",)), "--upgrade"),
    ],
)
def test_choices_that_do_not_go_together_are_refused_by_their_flag(
    wrong: chosen.EnvoyChoices, flag: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{flag}: "):
        chosen.check(wrong)


def test_choices_that_go_together_are_returned() -> None:
    several = replace(PLAIN, authz=(SOCKET, TcpAddress("10.0.0.1", 1)), body_bytes=1, upgrades=("websocket",))
    assert chosen.check(several) is several


# --- TLS to the sidecar

CA, CERT, KEY = Path("/tls/ca.crt"), Path("/tls/e.crt"), Path("/tls/e.key")
FAR = (TcpAddress("authz.internal", 9443),)


def test_flags_about_tls_go_together() -> None:
    assert chosen.sidecar_tls(None, None, None, None, FAR) is None
    assert chosen.sidecar_tls(CA, None, None, None, FAR) == chosen.SidecarTls(CA)
    assert chosen.sidecar_tls(CA, CERT, KEY, "authz.test", FAR) == chosen.SidecarTls(
        CA, CERT, KEY, "authz.test"
    )


@pytest.mark.parametrize(
    ("flags", "authz", "words"),
    [
        ((None, CERT, KEY, None), FAR, "--authz-cert: there is no --authz-ca"),
        ((None, None, None, "x"), FAR, "--authz-server-name: there is no --authz-ca"),
        ((CA, CERT, None, None), FAR, "one goes with the other"),
        ((CA, None, KEY, None), FAR, "one goes with the other"),
        ((Path("ca.crt"), None, None, None), FAR, "--authz-ca: `ca.crt` is not an absolute path"),
        ((CA, None, None, None), (SOCKET, *FAR), "a Unix socket never speaks TLS"),
    ],
)
def test_flags_about_tls_that_do_not_are_refused(
    flags: tuple[Path | None, Path | None, Path | None, str | None],
    authz: tuple[Address, ...],
    words: str,
) -> None:
    with pytest.raises(ConfigError, match=words):
        chosen.sidecar_tls(*flags, authz)
