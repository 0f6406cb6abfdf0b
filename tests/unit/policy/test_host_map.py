"""A host has the values of every pattern that matches it."""

from __future__ import annotations

import pytest

from authz.policy.host import parse_host
from authz.policy.host_map import HostMap, OwnedHeaders

PATTERNS = ("a.b.c", "*.b.c", "{n}.b.c", "*.c", "*")


def made(*patterns: str) -> HostMap[str]:
    found: HostMap[str] = HostMap()
    for pattern in patterns:
        found.add(parse_host(pattern), pattern)
    return found


@pytest.mark.parametrize("host", ["a.b.c", "x.b.c", "x.y.b.c", "b.c", "c", "d", "[::1]", ""])
def test_it_finds_what_the_patterns_match(host: str) -> None:
    assert sorted(made(*PATTERNS).of(host)) == sorted(p for p in PATTERNS if parse_host(p).matches(host))


def test_an_empty_map_is_false() -> None:
    assert not made()
    for pattern in PATTERNS:
        assert made(pattern)


def test_a_host_longer_than_any_pattern_costs_nothing() -> None:
    assert made("*.c").of("a." * 30_000 + "c") == []


def test_headers_are_owned_everywhere_or_on_the_hosts_of_their_scopes() -> None:
    scopes: HostMap[frozenset[str]] = HostMap()
    one, other = frozenset({"one"}), frozenset({"other"})
    scopes.add(parse_host("*.a.c"), one)
    scopes.add(parse_host("x.a.c"), other)
    owned = OwnedHeaders(frozenset({"all"}), scopes)
    assert owned.of("b.c") == {"all"}
    assert owned.of("y.a.c") == {"all", "one"}
    assert owned.of("x.a.c") == {"all", "one", "other"}
    assert owned.of("x.a.c") is owned.of("x.a.c")
