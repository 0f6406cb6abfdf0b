"""Each listener gets the front that serves it, and metrics add up what several know of certificates."""

from __future__ import annotations

from pathlib import Path

import pytest

from authz.config.settings import Settings, load
from authz.model.address import parse_address
from authz.model.errors import ConfigError
from authz.record.facts import TlsFacts
from authz.transport.grpcio import GrpcioFront
from authz.transport.native import NativeFront
from authz.wiring.fronts import make_front, tls_facts
from tests.support.certificates import ENVOY, Authority
from tests.support.fronts import FakeFront


@pytest.fixture
def flags(tmp_path: Path) -> dict[str, object]:
    ca = Authority()
    cert, key = ca.server().written(tmp_path, "server")
    return {"tls_cert": cert, "tls_key": key, "tls_client_ca": ca.written(tmp_path), "tls_clients": [ENVOY]}


def _settings(flags: dict[str, object], **more: object) -> Settings:
    return load({**flags, **more}, {})


@pytest.mark.parametrize(
    ("transport", "address", "kind"),
    [
        ("native", "unix:/run/a.sock", NativeFront),
        ("native", "127.0.0.1:9191", GrpcioFront),
        ("grpcio", "unix:/run/a.sock", GrpcioFront),
        ("grpcio", "127.0.0.1:9191", GrpcioFront),
    ],
)
def test_tls_is_served_by_grpcio_and_sockets_by_what_was_said(
    flags: dict[str, object], transport: str, address: str, kind: type
) -> None:
    front = make_front(parse_address(address), _settings(flags, transport=transport), lambda: True)
    assert type(front) is kind
    secured = isinstance(front, GrpcioFront) and front._tls is not None
    assert secured == address.startswith("127")


def test_plain_tcp_is_served_by_what_was_said() -> None:
    address = parse_address("127.0.0.1:9191")
    assert type(make_front(address, load({}, {}), lambda: True)) is NativeFront
    assert type(make_front(address, load({"transport": "grpcio"}, {}), lambda: True)) is GrpcioFront


def test_a_certificate_that_cannot_be_used_makes_no_front(flags: dict[str, object]) -> None:
    Path(str(flags["tls_key"])).write_text("none")
    with pytest.raises(ConfigError, match="holds no private key"):
        make_front(parse_address("127.0.0.1:9191"), _settings(flags), lambda: True)


def test_what_fronts_know_of_certificates_is_added_up() -> None:
    class Known(FakeFront):
        def tls_facts(self) -> TlsFacts:
            return TlsFacts({"server": 7.0}, {"accepted": 2}, 3)

    assert tls_facts([FakeFront(), Known(), Known()]) == TlsFacts({"server": 7.0}, {"accepted": 4}, 6)
    assert tls_facts([FakeFront()]) == TlsFacts()
