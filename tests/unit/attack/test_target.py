"""Where the suite may be pointed, and which doors that opens."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import authz.attack
from authz.attack.aim import Aim
from authz.attack.case import Wire
from authz.attack.target import Target, allowed_address, opened
from authz.model.address import TcpAddress, parse_address
from authz.model.errors import ConfigError

AIM = Aim(b"a.test", b"/admin")
HERE = TcpAddress("127.0.0.1", 1)


@pytest.mark.parametrize("text", ["127.0.0.1:80", "localhost:80", "[::1]:80", "unix:/run/authz.sock"])
def test_this_machine_may_be_attacked(text: str) -> None:
    assert allowed_address(text, "") == parse_address(text)


@pytest.mark.parametrize("consent", ["", "other.example", "example", "yes"])
def test_nobody_else_may_be_but_the_one_who_is_named(consent: str) -> None:
    with pytest.raises(ConfigError, match=r"--authorized-for shop\.example"):
        allowed_address("shop.example:443", consent)
    assert allowed_address("shop.example:443", "shop.example") == TcpAddress("shop.example", 443)


def test_each_address_opens_its_wires() -> None:
    with opened(Target(envoy=HERE, versions=(Wire.HTTP1,)), AIM) as doors:
        assert list(doors) == [Wire.HTTP1]
    with opened(Target(envoy=HERE, check=HERE), AIM) as doors:
        assert list(doors) == list(Wire)


def test_tls_is_checked_against_a_file_that_exists(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match="no certificate can be read"),
        opened(Target(envoy=HERE, tls=True, ca=tmp_path / "none.pem"), AIM),
    ):
        pass


def test_commands_that_repeat_a_case_name_the_scheme() -> None:
    assert Target(envoy=HERE).url == "http://127.0.0.1:1"
    assert Target(envoy=HERE, tls=True).url == "https://127.0.0.1:1"
    assert Target(check=HERE).url == ""


@pytest.fixture
def without_h2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h2.config", None)
    for name in ("authz.attack.http2", "authz.attack.exchange"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.delattr(authz.attack, name.rpartition(".")[2], raising=False)


@pytest.mark.usefixtures("without_h2")
def test_without_its_library_http2_is_refused_in_one_line_and_frames_are_left_out() -> None:
    with pytest.raises(ConfigError, match="pip install h2"), opened(Target(envoy=HERE), AIM):
        pass
    with opened(Target(check=HERE), AIM) as doors:
        assert list(doors) == [Wire.RAW, Wire.JOINED]
