"""Which Site speaks about a host, against the plain reading of the contract."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.model.site import DEFAULT_SITE, Site
from authz.policy.host import HostPattern, parse_host
from authz.policy.sites import SiteIndex
from tests.support.hosts import HOST_PATTERNS, HOSTS, host_matches


def index(*patterns: HostPattern) -> SiteIndex:
    sites = SiteIndex()
    for number, pattern in enumerate(patterns):
        sites.add(pattern, Site(name=f"s{number}"))
    return sites


def naive(patterns: list[HostPattern], host: str) -> str:
    """Exact, then the longest suffix, then every host."""
    matching = [
        (pattern.kind == "exact", len(pattern.host), f"s{number}")
        for number, pattern in enumerate(patterns)
        if host_matches(pattern, host) is not None
    ]
    return max(matching, default=(False, 0, ""))[2]


@settings(max_examples=300, deadline=None)
@given(st.lists(HOST_PATTERNS, max_size=6, unique_by=lambda pattern: pattern.rank), HOSTS)
def test_the_most_specific_site_speaks_alone(patterns: list[HostPattern], host: str) -> None:
    assert index(*patterns).of(host).name == naive(patterns, host)


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("a.b.c", "exact"),
        ("x.b.c", "suffix"),
        ("x.y.b.c", "suffix"),
        ("b.c", "any"),
        ("one.d", "capture"),
        ("two.one.d", "any"),
        ("d", "any"),
        ("", "any"),
        (".", "any"),
    ],
)
def test_exact_then_suffix_then_any(host: str, site: str) -> None:
    sites = SiteIndex()
    for name, text in (("exact", "a.b.c"), ("suffix", "*.b.c"), ("capture", "{n}.d"), ("any", "*")):
        sites.add(parse_host(text), Site(name=name))
    assert sites.of(host).name == site


def test_without_a_site_the_defaults_speak() -> None:
    assert SiteIndex().of("a.b") is DEFAULT_SITE
    assert index(parse_host("*.c")).of("a.b") is DEFAULT_SITE


@pytest.mark.parametrize("host", ["." * 60_000, "a." * 30_000 + "c", "a" * 60_000])
def test_a_hostile_host_costs_next_to_nothing(host: str) -> None:
    """Refusals look for a Site too, by a host that could not be read."""
    sites = index(parse_host("*.c"), parse_host("{n}.d"))
    began = time.process_time()
    for _ in range(20):
        assert sites.of(host) is DEFAULT_SITE
    assert time.process_time() - began < 0.1
