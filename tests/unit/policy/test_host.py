from __future__ import annotations

import re

import pytest
from hypothesis import given

from authz.policy.host import HostPattern, parse_host
from tests.support.hosts import HOST_PATTERNS, HOSTS, host_matches


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("*", HostPattern("any", "", "")),
        ("api.example.com", HostPattern("exact", "api.example.com", "")),
        ("localhost", HostPattern("exact", "localhost", "")),
        ("127.0.0.1", HostPattern("exact", "127.0.0.1", "")),
        ("[2001:db8::1]", HostPattern("exact", "[2001:db8::1]", "")),
        ("xn--bcher-kva.example", HostPattern("exact", "xn--bcher-kva.example", "")),
        ("*.example.com", HostPattern("suffix", "example.com", "")),
        ("{tenant}.items.example.com", HostPattern("capture", "items.example.com", "tenant")),
    ],
)
def test_a_host_pattern_is_read(text: str, pattern: HostPattern) -> None:
    assert parse_host(text) == pattern


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("API.example.com", "write `api.example.com`"),
        ("api.example.com.", "write `api.example.com`"),
        ("api.example.com:443", "write `api.example.com`"),
        ("*.Example.com", "write `*.example.com`"),
        ("{t}.Example.com", "write `{t}.example.com`"),
        ("[2001:DB8::1]", "write `[2001:db8::1]`"),
        ("[2001:db8:0::1]:443", "write `[2001:db8::1]`"),
        ("bücher.example", "write the `xn--` form"),
        ("api*.example.com", "a wildcard is the whole first label"),
        ("api.*.com", "a wildcard is the whole first label"),
        ("a.{t}.com", "a wildcard is the whole first label"),
        ("*.*.com", "a wildcard is the whole first label"),
        ("{t}x.example.com", "write `{name}.example.com`"),
        ("{}.example.com", "write `{name}.example.com`"),
        ("{1a}.example.com", "write `{name}.example.com`"),
        ("{t}", "write `{name}.example.com`"),
        ("*.", "is no host"),
        ("{t}.", "is no host"),
        ("", "is no host"),
        ("a..b", "is no host"),
        (".a", "is no host"),
        ("-a.b", "is no host"),
        ("a b", "is no host"),
        ("a,b", "is no host"),
        ("user@a", "is no host"),
        ("https://a/", "is no host"),
        ("a" * 64, "is no host"),
        (".".join(["a" * 60] * 5), "is no host"),
        ("[::1", "is no host"),
        ("[1.2.3.4]", "is no host"),
        ("[fe80::1%eth0]", "is not written as hosts are compared"),
    ],
)
def test_what_is_no_canonical_host_is_refused_with_what_mends_it(text: str, mended: str) -> None:
    with pytest.raises(ValueError, match=re.escape(mended)):
        parse_host(text)


def test_the_two_wildcards_rank_alike() -> None:
    assert parse_host("*.x.org").rank == parse_host("{n}.x.org").rank
    assert parse_host("*.x.org").rank != parse_host("x.org").rank


@given(HOST_PATTERNS, HOSTS)
def test_a_pattern_matches_what_the_contract_says(pattern: HostPattern, host: str) -> None:
    assert pattern.matches(host) == (host_matches(pattern, host) is not None)
