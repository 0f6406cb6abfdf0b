from __future__ import annotations

from pathlib import Path

import pytest

from authz.model.address import TcpAddress, UnixAddress, parse_address
from authz.model.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:/run/authz/authz.sock", UnixAddress(Path("/run/authz/authz.sock"))),
        ("unix:here.sock", UnixAddress(Path("here.sock"))),
        ("127.0.0.1:9192", TcpAddress("127.0.0.1", 9192)),
        ("localhost:0", TcpAddress("localhost", 0)),
        ("[::1]:9192", TcpAddress("::1", 9192)),
    ],
)
def test_an_address_reads_and_writes_back_alike(text: str, address: object) -> None:
    parsed = parse_address(text)
    assert parsed == address
    assert str(parsed) == text


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "no port"),
        ("unix:", "no usable path"),
        ("unix:/a\x00b", "no usable path"),
        ("unix:/" + "a" * 107, "108 bytes"),
        ("localhost", "no port"),
        (":9192", "127.0.0.1 or 0.0.0.0"),
        ("::1:9192", "brackets"),
        ("http://localhost:80", "leave the scheme out"),
        ("[nonsense]:1", "IPv6"),
        ("a b:1", "host"),
        ("host:http", "port"),
        ("host:65536", "port"),
        ("host:-1", "port"),
        ("host:1\n", "port"),
    ],
)
def test_a_bad_address_is_one_line_that_says_what_is_wrong(text: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint) as raised:
        parse_address(text)
    assert "\n" not in str(raised.value)
    assert "\x00" not in str(raised.value)
