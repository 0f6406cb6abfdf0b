"""Who connects: the direct peer, or what a trusted proxy says."""

from __future__ import annotations

import pytest

from authz.model.request import NOWHERE, Client
from authz.model.site import Listener
from authz.request.client import locate

PEER = "10.0.0.1"


def address(forwarded: bytes | None, hops: int = 1, *, appended: bool = False, peer: str = PEER) -> str:
    return locate(peer, 40000, forwarded, Listener(trusted_hops=hops, xff_appended=appended)).address


def test_without_trusted_hops_the_peer_is_the_client_whatever_headers_say() -> None:
    assert locate(PEER, 40000, b"203.0.113.7", Listener()) == Client(
        PEER, "10.0.0.1/32", 40000, 4, 0x0A000001
    )
    assert address(b"203.0.113.7", 0, appended=True) == PEER


@pytest.mark.parametrize(
    ("hops", "appended", "expected"),
    [
        (1, False, "4.4.4.4"),
        (2, False, "3.3.3.3"),
        (4, False, "1.1.1.1"),
        (5, False, PEER),
        (1, True, "3.3.3.3"),
        (3, True, "1.1.1.1"),
        (4, True, PEER),
    ],
)
def test_entries_count_from_the_right(hops: int, appended: bool, expected: str) -> None:
    assert address(b"1.1.1.1, 2.2.2.2,3.3.3.3 ,\t4.4.4.4", hops, appended=appended) == expected


@pytest.mark.parametrize("forwarded", [None, b"", b"  "])
def test_a_request_that_came_past_the_proxies_is_its_peers(forwarded: bytes | None) -> None:
    assert address(forwarded) == PEER


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (b"203.0.113.7:51000", "203.0.113.7"),
        (b"2001:db8::1", "2001:db8::1"),
        (b"[2001:db8::1]", "2001:db8::1"),
        (b"[2001:DB8:0::1]:443", "2001:db8::1"),
        (b"::ffff:203.0.113.7", "203.0.113.7"),
        (b"[::ffff:cb00:7107]:1", "203.0.113.7"),
        (b"fe80::1%eth0", "fe80::1"),
    ],
)
def test_an_entry_may_carry_a_port_and_brackets(entry: bytes, expected: str) -> None:
    assert address(b"1.1.1.1, " + entry) == expected


@pytest.mark.parametrize(
    "entry",
    [
        *(
            b"unknown",
            b"_hidden",
            b"-",
            b"1.2.3",
            b"1.2.3.256",
            b"01.2.3.4",
            b"1.2.3.4:",
            b"1.2.3.4:x",
            b"1.2.3.4/8",
        ),
        *(b"[1.2.3.4]", b"[::1", b"::1]", b"[::1]x", b"[::1]:", b"[]", b"\xff", b"1.2.3.4\x00", b"localhost"),
        *("１.2.3.4".encode(), b"1.2.3.4 5.6.7.8", b"a" * 10_000, b"1.2.3.4:" + b"9" * 6, b'"1.2.3.4"'),
    ],
)
def test_an_entry_that_is_no_address_is_nowhere_and_never_the_proxy(entry: bytes) -> None:
    assert locate(PEER, 1, b"1.1.1.1," + entry, Listener(trusted_hops=1)) == NOWHERE


def test_an_empty_entry_counts() -> None:
    assert address(b"1.1.1.1,,2.2.2.2", 1) == "2.2.2.2"
    assert address(b"1.1.1.1,,2.2.2.2", 2) == ""
    assert address(b"1.1.1.1,,2.2.2.2", 3) == "1.1.1.1"


def test_ipv6_clients_are_grouped_by_64_bits() -> None:
    found = locate("2001:db8:1:2:3:4:5:6", 7, None, Listener())
    assert found == Client(
        "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", 7, 6, 0x20010DB8000100020003000400050006
    )


def test_mapped_ipv4_is_ipv4() -> None:
    assert locate("::ffff:10.0.0.1", 7, None, Listener()) == Client(PEER, "10.0.0.1/32", 7, 4, 0x0A000001)


@pytest.mark.parametrize("peer", ["", "/run/x.sock", "@abstract", "x" * 100_000, "not an address"])
def test_a_peer_without_an_address_is_nowhere(peer: str) -> None:
    assert locate(peer, 0, None, Listener()) == NOWHERE


def test_an_endless_header_is_read_from_the_right_only() -> None:
    assert address(b"1.1.1.1," * 20_000 + b"2.2.2.2") == "2.2.2.2"
