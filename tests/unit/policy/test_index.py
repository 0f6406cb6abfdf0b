"""The index against the plain reading of the matching grammar, on random patterns, hosts and paths."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from authz.model.request import Request
from authz.policy.host import HostPattern, parse_host
from authz.policy.index import HostView, Index
from authz.policy.path import PathPattern, parse_path
from authz.policy.rule import Rule
from tests.support.facts import rule
from tests.support.hosts import HOST_PATTERNS, HOSTS, host_matches
from tests.support.requests import request

_SEGMENTS = st.sampled_from(["a", "b", "a%2F", "*", "{p}"])
_REST = st.sampled_from(["", "/**"])
PATHS = st.lists(st.sampled_from(["a", "b", "a%2F", "c"]), max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)


@st.composite
def _path_patterns(draw: st.DrawFn) -> PathPattern:
    parts = draw(st.lists(_SEGMENTS, max_size=3))
    named = [part.replace("{p}", f"{{p{at}}}") for at, part in enumerate(parts)]
    return parse_path(("/" + "/".join(named) + draw(_REST)).replace("//", "/"))


PATH_PATTERNS = _path_patterns()
PLACED = st.lists(
    st.tuples(
        st.lists(HOST_PATTERNS, min_size=1, max_size=2), st.lists(PATH_PATTERNS, min_size=1, max_size=3)
    ),
    max_size=6,
)
Placed = Sequence[tuple[Sequence[HostPattern], Sequence[PathPattern]]]
Found = set[tuple[str, tuple[tuple[str, str], ...]]]  # rule, its captures


def path_matches(pattern: PathPattern, segments: tuple[str, ...]) -> dict[str, str] | None:
    """Match segment by segment; None where it does not."""
    if len(segments) < len(pattern.segments) or (len(segments) > len(pattern.segments) and not pattern.rest):
        return None
    pairs = zip(pattern.segments, segments, strict=False)
    if any(literal is not None and literal != segment for literal, segment in pairs):
        return None
    return {name: segments[at] for name, at in pattern.captures}


def naive(placed: Placed, asked: Request) -> Found:
    """Try every rule under every pattern."""
    found = set()
    for number, (hosts, paths) in enumerate(placed):
        for host in hosts:
            for path in paths:
                by_host = host_matches(host, asked.host)
                by_path = path_matches(path, asked.segments)
                if by_host is not None and by_path is not None:
                    found.add((f"r{number}", tuple(sorted({**by_host, **by_path}.items()))))
    return found


def build(placed: Placed) -> Index:
    index = Index()
    for number, (hosts, paths) in enumerate(placed):
        made = rule(f"r{number}")
        for host in hosts:
            index.add(made, host, paths)
            index.name_providers(host, [f"provider-of-r{number}"])
    index.seal()
    return index


@settings(max_examples=300, deadline=None)
@given(PLACED, HOSTS, PATHS)
def test_candidates_are_those_that_match_one_by_one(placed: Placed, host: str, path: str) -> None:
    index, asked = build(placed), request(host=host, path=path)
    found = index.candidates(index.view(host), asked)
    named = {(one.rule.name.rule, tuple(sorted(one.params.items()))) for one in found}
    assert named == naive(placed, asked)


@settings(max_examples=200, deadline=None)
@given(PLACED, HOSTS)
def test_a_host_names_the_providers_of_every_policy_that_speaks_about_it(placed: Placed, host: str) -> None:
    expected = {
        f"provider-of-r{number}"
        for number, (hosts, _) in enumerate(placed)
        if any(host_matches(pattern, host) is not None for pattern in hosts)
    }
    assert build(placed).view(host).providers == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(PATH_PATTERNS, min_size=1, max_size=8), PATHS)
def test_paths_match_one_by_one(patterns: list[PathPattern], path: str) -> None:
    placed = [([parse_host("*")], [pattern]) for pattern in patterns]
    index, asked = build(placed), request(path=path)
    found = {one.rule.name.rule for one in index.candidates(index.view("h"), asked)}
    assert found == {
        f"r{number}"
        for number, pattern in enumerate(patterns)
        if path_matches(pattern, asked.segments) is not None
    }


def one(made: Rule, *hosts: str, path: str = "/**") -> Index:
    index = Index()
    for host in hosts:
        index.add(made, parse_host(host), [parse_path(path)])
    index.seal()
    return index


def test_an_empty_index_finds_nothing() -> None:
    index = Index()
    assert index.candidates(index.view("a.b"), request()) == []
    index.seal()
    assert index.candidates(index.view(""), request()) == []


def test_a_rule_asks_for_its_methods() -> None:
    index = one(rule(methods=frozenset({"GET"})), "*")
    assert index.candidates(index.view("h"), request("HEAD"))
    assert not index.candidates(index.view("h"), request("POST"))


def test_a_grpc_rule_asks_for_grpc() -> None:
    index = one(rule(methods=frozenset({"POST"}), grpc=True), "*")
    assert index.candidates(index.view("h"), request("POST", grpc=True))
    assert not index.candidates(index.view("h"), request("POST"))


def test_a_rule_under_two_patterns_of_a_host_is_found_under_each() -> None:
    index = one(rule(), "{tenant}.x", "a.x", "*.x", path="/{id}")
    found = index.candidates(index.view("a.x"), request(host="a.x", path="/7"))
    assert [dict(each.params) for each in found] == [{"id": "7"}, {"id": "7"}, {"id": "7", "tenant": "a"}]


def test_captures_that_no_expression_asks_for_are_not_made() -> None:
    index = one(rule(params=False), "{tenant}.x", path="/{id}")
    first, second = (
        index.candidates(index.view("a.x"), request(host="a.x", path=path)) for path in ("/7", "/8")
    )
    assert first[0] is second[0]
    assert dict(first[0].params) == {}


def test_many_wildcards_take_few_steps() -> None:
    """Steps are bounded by the patterns, not by the ways to match: 2**20 of them here."""
    patterns = [
        parse_path("/" + "/".join("*" if at == skip else "a" for at in range(20))) for skip in range(20)
    ]
    index = build([([parse_host("*")], [pattern]) for pattern in patterns])
    found = index.candidates(index.view("h"), request(path="/" + "/".join("a" * 20)))
    assert len(found) == 20


@settings(max_examples=200, deadline=None)
@given(PLACED, PLACED, HOSTS, PATHS)
def test_a_successor_is_as_if_built_from_nothing_and_leaves_the_one_before_alone(
    first: Placed, second: Placed, host: str, path: str
) -> None:
    """All that stood there goes but the first policy, and others come."""

    def found(index: Index, view: HostView) -> list[str]:
        named = [one.rule.name.rule for one in index.candidates(view, asked)]
        return sorted([*named, *view.providers])

    asked = request(host=host, path=path)
    before = Index()
    made = [rule(f"r{number}") for number in range(len(first))]
    for one, (hosts, paths) in zip(made, first, strict=True):
        _place(before, one, hosts, paths)
    before.seal()
    then = found(before, before.view(host))
    after = Index(before)
    for one, (hosts, paths) in list(zip(made, first, strict=True))[1:]:
        for pattern in dict.fromkeys(hosts):
            for each in dict.fromkeys(paths):
                after.remove({one}, pattern, each)
        for pattern in hosts:
            after.name_providers(pattern, [f"of-{one.name.rule}"], -1)
    later = [rule(f"s{number}") for number in range(len(second))]
    for one, (hosts, paths) in zip(later, second, strict=True):
        _place(after, one, hosts, paths)
    after.seal()
    fresh = Index()
    for one, (hosts, paths) in [*list(zip(made, first, strict=True))[:1], *zip(later, second, strict=True)]:
        _place(fresh, one, hosts, paths)
    fresh.seal()
    assert found(after, after.view(host)) == found(fresh, fresh.view(host))
    assert found(before, before.view(host)) == then


def test_what_is_lost_with_an_index_is_what_its_successor_does_not_share() -> None:
    before = Index()
    for host in ("a.example", "b.example"):
        for path in ("/one/x", "/one/*", "/two/**"):
            before.add(rule(path[1:4]), parse_host(host), [parse_path(path)])
    before.seal()
    assert list(before.lost(before)) == []
    after = Index(before)
    after.add(rule("new"), parse_host("a.example"), [parse_path("/one/y")])
    after.seal()
    assert len(list(before.lost(after))) == 2  # of one host: its root, and `/one`
    assert len(list(after.lost(before))) == 3
    assert len(list(before.lost(Index()))) == 2 * 5


def _place(index: Index, one: Rule, hosts: Sequence[HostPattern], paths: Sequence[PathPattern]) -> None:
    for host in hosts:
        index.add(one, host, paths)
        index.name_providers(host, [f"of-{one.name.rule}"])
