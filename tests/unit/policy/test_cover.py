from __future__ import annotations

from itertools import product

import pytest

from authz.policy.cover import HostSet, host_covers, network_covers, path_covers, path_meets, peer_covers
from authz.policy.host import parse_host
from authz.policy.path import PathPattern, parse_path

HOSTS = ["*", "a.x", "b.a.x", "x", "*.x", "*.a.x", "{n}.x", "{n}.a.x", "*.y"]
REAL_HOSTS = ["x", "a.x", "b.x", "b.a.x", "c.a.x", "d.c.a.x", "q.y", "z"]
PATHS = ["/", "/**", "/a", "/*", "/{n}", "/a/**", "/a/*", "/a/b", "/*/b", "/{n}/**", "/a/b/**"]
REAL_PATHS = ["/", "/a", "/c", "/a/b", "/c/b", "/a/c", "/a/b/c", "/c/d/e"]


def matches(pattern: PathPattern, path: str) -> bool:
    segments = path[1:].split("/") if path != "/" else []
    if len(segments) < len(pattern.segments) or (not pattern.rest and len(segments) != len(pattern.segments)):
        return False
    return all(own in (None, other) for own, other in zip(pattern.segments, segments, strict=False))


@pytest.mark.parametrize(("one", "other"), list(product(HOSTS, HOSTS)))
def test_hosts_cover_and_meet_as_requests_show(one: str, other: str) -> None:
    wide, narrow = parse_host(one), parse_host(other)
    of_wide = {host for host in REAL_HOSTS if wide.matches(host)}
    of_narrow = {host for host in REAL_HOSTS if narrow.matches(host)}
    assert host_covers(wide, narrow) is (of_narrow <= of_wide)
    known = HostSet()
    known.add([wide])
    assert known.meets(narrow) is bool(of_wide & of_narrow)


def test_an_empty_set_of_hosts_meets_nobody() -> None:
    assert not HostSet().meets(parse_host("*"))
    assert not HostSet().meets(parse_host("a.x"))


@pytest.mark.parametrize(("one", "other"), list(product(PATHS, PATHS)))
def test_paths_cover_and_meet_as_requests_show(one: str, other: str) -> None:
    wide, narrow = parse_path(one), parse_path(other)
    of_wide = {path for path in REAL_PATHS if matches(wide, path)}
    of_narrow = {path for path in REAL_PATHS if matches(narrow, path)}
    assert path_covers(wide, narrow) is (of_narrow <= of_wide)
    assert path_meets(wide, narrow) is bool(of_wide & of_narrow)


@pytest.mark.parametrize(
    ("wide", "narrow", "covers"),
    [
        ("10.0.0.0/8", "10.1.0.0/16", True),
        ("10.1.0.0/16", "10.0.0.0/8", False),
        ("::/0", "10.0.0.0/8", False),
        ("0.0.0.0/0", "2001:db8::/32", False),
        ("2001:db8::/32", "2001:db8:1::/48", True),
    ],
)
def test_networks_cover_what_is_inside(wide: str, narrow: str, covers: bool) -> None:
    assert network_covers(wide, narrow) is covers


@pytest.mark.parametrize(
    ("wide", "narrow", "covers"),
    [
        ("spiffe://p/a", "spiffe://p/a", True),
        ("spiffe://p/*", "spiffe://p/a", True),
        ("spiffe://p/*", "spiffe://p/a/b", False),
        ("spiffe://p/a", "spiffe://p/*", False),
        ("spiffe://p/*", "spiffe://q/a", False),
        ("spiffe://p/*", "spiffe://p/*", True),
    ],
)
def test_workloads_cover_one_segment(wide: str, narrow: str, covers: bool) -> None:
    assert peer_covers(wide, narrow) is covers
