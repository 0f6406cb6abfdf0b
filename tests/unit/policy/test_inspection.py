"""What is read off an expression at load: names, traps, and what has no bound."""

from __future__ import annotations

import time

import pytest

from authz.policy.condition import ExpressionFault
from authz.policy.inspection import Inspection
from tests.support.facts import COMPILER, condition, facts


def inspection(source: str) -> Inspection:
    return condition(source).inspection


def refused(source: str) -> str:
    with pytest.raises(ExpressionFault) as caught:
        COMPILER.condition(source)
    return str(caught.value)


def test_names_are_those_that_are_read() -> None:
    found = inspection('request.method == "GET" && identity.labels.tier == "gold" && "identity.kind" != ""')
    assert found.names == {"request.method", "identity.labels"}


# --- has


@pytest.mark.parametrize(
    "source",
    [
        "has(identity.anonymous)",
        "has( identity.anonymous )",
        "has\n(\nidentity\n.\nanonymous\n)",
        "has(\r\nidentity.anonymous)",
        "has((identity.anonymous))",
        "has((identity).anonymous)",
        "has(.identity.anonymous)",
        "has(identity.`anonymous`)",
        '"//" == "x" || has( // note\n identity.anonymous)',
        "'é😀' == 'x' || has((identity.anonymous))",
        "identity.anonymous || !has(identity.anonymous)",
        "[1].exists(x, has(identity.anonymous))",
        "has(request.headers)",
        "has(client.address)",
    ],
)
def test_has_on_a_variable_is_refused_however_it_is_spelled(source: str) -> None:
    assert "asks nothing" in refused(source)


@pytest.mark.parametrize(
    "source",
    [
        "has(identity.labels.tier)",
        "has((identity.labels).tier)",
        "has(identity.claims.a.b)",
        "(identity.anonymous)",
        "((identity.anonymous))",
        "[1].exists(x, (identity.anonymous))",
        "'has(identity.anonymous)' != ''",
        "true // has(identity.anonymous)",
        "!(identity.anonymous)",
        "(context)['x'] == 'a'",
    ],
)
def test_what_only_looks_like_it_is_accepted(source: str) -> None:
    condition(source)


# --- what multiplies work


@pytest.mark.parametrize(
    "source",
    [
        "request.segments.exists(a, request.segments.exists(b, a == b))",
        "request.segments.filter(a, a != '').exists(b, b == 'x')",
        "request.segments.exists(a, [a].map(b, b).size() > 1)",
        "{'k': request.segments.all(a, true)}.exists(k, k == 'k')",
        "request.segments.map(a, request.segments.all(b, b == a)).size() > 0",
    ],
)
def test_a_comprehension_inside_another_is_refused(source: str) -> None:
    assert "comprehension inside another" in refused(source)


@pytest.mark.parametrize(
    "source",
    [
        "request.segments.exists(a, a + a == 'x')",
        "request.segments.map(a, a + 'x').size() > 0",
        "request.segments.all(a, [a] + [a] == [])",
        "request.segments.all(a, bytes(a) + b'x' == b'')",
        "request.segments.all(a, dyn(a) + dyn(a) == '')",
        "request.segments.exists(a, [a, a].join() == 'x')",
        "request.segments.exists(a, a.replace('a', 'bb') == 'x')",
        "request.segments.exists(a, '%s%s'.format([a, a]) == 'x')",
        "(request.segments + request.segments).exists(a, a == 'x')",
    ],
)
def test_a_concatenation_inside_a_comprehension_is_refused(source: str) -> None:
    assert "concatenation inside a comprehension" in refused(source)


@pytest.mark.parametrize(
    "source",
    [
        "request.segments.map(a, a == 'x').size() > 0",
        "request.segments.filter(a, a == 'x').size() > 0",
        "request.segments.map(a, a != '', a).size() > 0",
        "request.segments.exists_one(a, a == 'x')",
        "request.segments.all(a, size(a) + 1 > 2)",
        "request.segments.exists(a, a == 'x') || request.segments.exists(a, a == 'y')",
        "request.headers.exists(name, name.startsWith('x-'))",
        "request.method + request.host == ''",
        "identity.claims.a + identity.claims.b == 3",
    ],
)
def test_loops_and_concatenations_for_themselves_are_fine(source: str) -> None:
    condition(source)


def test_gathering_is_told_from_asking() -> None:
    assert inspection("request.segments.filter(a, a == 'x').size() > 0").heavy
    assert inspection("request.segments.map(a, a == 'x').size() > 0").heavy
    assert not inspection("request.segments.exists(a, a == 'x')").heavy
    assert not inspection("request.segments.all(a, a == 'x')").heavy


@pytest.mark.parametrize(
    "step",
    [
        "a.matches('^a+$')",
        "a in request.header_values['x']",
        "request.headers['x'].contains(a)",
        "request.header_values['x'] == request.header_values['y']",
        "size(request.url_path) > 1",
        "a.charAt(1) == 'x'",
        "identity.claims[a] == 1",
    ],
)
def test_a_step_that_costs_more_than_its_element_is_heavy(step: str) -> None:
    assert inspection(f"request.segments.all(a, {step})").heavy


@pytest.mark.parametrize(
    "step",
    [
        "a == 'x'",
        "a in ['x', 'y']",
        "a in identity.scopes",
        "a.startsWith('x') || !a.endsWith('y') && a.contains('z')",
        "a != request.method",
        "a.lowerAscii() == identity.labels[?'x'].orValue('')",
        "size(a) + 1 > 2",
        "int(a) < 5",
    ],
)
def test_a_step_that_only_compares_is_light(step: str) -> None:
    assert not inspection(f"request.segments.all(a, {step})").heavy


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("request.segments.all(a, request.headers['x'].split(a).size() > 1)", "`split`"),
        ("request.segments.all(a, 'x' in request.url_path.split('/'))", "`split`"),
        ("request.segments.all(a, string(request.body).contains(a))", "`request.body`"),
        ("request.segments.all(a, request.method.matches(a))", "literal"),
        ("request.headers['x'].split(',').all(a, a.matches('^a$'))", "`split`"),
        ("request.url_path.matches(request.headers['x'])", "`matches`"),
        ("request.method.matches('^' + request.url_path)", "`matches`"),
    ],
)
def test_what_a_client_could_multiply_is_refused(source: str, word: str) -> None:
    assert word in refused(source)


def test_a_split_of_the_element_and_a_pattern_of_the_caller_are_fine() -> None:
    condition("request.header_values['x'].all(a, a.split(':').size() == 2)")
    condition("request.url_path.matches(identity.labels['path'])")


def test_gathering_from_a_split_is_refused_and_asking_is_not() -> None:
    assert "`split`" in refused("request.headers.x.split(',').filter(a, a == 'x').size() > 0")
    condition("request.headers[?'x'].orValue('').split(',').exists(a, a == 'x')")


@pytest.mark.parametrize(
    "source",
    [
        "request.method.replace('', 'aa').replace('', 'aa') == ''",
        "strings.quote(strings.quote(request.method)) == ''",
        "[request.method.replace('a', 'b'), 'x'].join() == ''",
        "request.method.replace(request.host.replace('a', 'b'), 'c') == ''",
        "'%s%s'.format([strings.quote(request.method), 'x']) == ''",
    ],
)
def test_growing_what_has_grown_is_refused(source: str) -> None:
    assert "already made longer" in refused(source)


def test_a_chain_that_would_fill_the_memory_is_refused_at_once() -> None:
    began = time.process_time()
    refused("request.method" + ".replace('', 'aa')" * 24 + " == ''")
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    "source",
    [
        "request.method.replace('a', request.host) == ''",
        "request.method.replace('a', '" + "b" * 17 + "') == ''",
        "request.segments.join(request.host) == ''",
        "request.segments.join('" + "b" * 17 + "') == ''",
    ],
)
def test_what_is_put_in_again_and_again_is_short_and_written(source: str) -> None:
    assert "at most 16 characters" in refused(source)


def test_one_replacement_and_one_join_are_fine() -> None:
    condition("request.host.replace('.', '-') == ''")
    condition("request.host.replace('.', '-', 1) == ''")
    condition("request.segments.join('/') == ''")
    condition("request.segments.join() == ''")
    condition("'%s:%s'.format([request.method, request.host]) == ''")


# --- what deserves a warning in a deny rule


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ('request.headers["x"] == "a"', ("request.headers['x']",)),
        ('request.headers.x == "a"', ("request.headers['x']",)),
        ('identity.labels.tier == "a" || params.id == "b"', ("identity.labels['tier']", "params['id']")),
        ('"x" in request.headers && request.headers["x"] == "a"', ()),
        ('has(request.headers.x) && request.headers["x"] == "a"', ()),
        ('"y" in request.headers && request.headers["x"] == "a"', ("request.headers['x']",)),
        ('"x" in request.query && request.headers["x"] == "a"', ("request.headers['x']",)),
        ('request.headers[?"x"].orValue("") == "a"', ()),
        ('request.headers.?x.orValue("") == "a"', ()),
        ('request.segments[0] == "a"', ()),
        ("true", ()),
    ],
)
def test_an_access_that_nothing_guards_is_told(source: str, told: tuple[str, ...]) -> None:
    assert inspection(source).unguarded == told


@pytest.mark.parametrize(
    ("source", "compares"),
    [
        ('request.headers["x"] == "blocked"', True),
        ('"blocked" != request.headers["x"]', True),
        ("request.headers.x == 'blocked'", True),
        ('request.headers[?"x"].orValue("") == "blocked"', True),
        ('request.headers.?x.orValue("") != "blocked"', True),
        ('request.headers[?"x"].value() == "blocked"', True),
        ('request.headers[?"x"] == optional.of("blocked")', True),
        ('"blocked" in request.header_values["x"]', False),
        ('request.header_values[?"x"].orValue([]) == ["blocked"]', False),
        ('request.headers["x"].startsWith("legacy/")', False),
        ('identity.labels["x"] == "blocked"', False),
        ('request.method == "GET"', False),
    ],
)
def test_a_comparison_with_a_header_is_told(source: str, compares: bool) -> None:
    assert inspection(source).compares_header is compares


def test_every_shape_of_a_tree_is_walked() -> None:
    shapes = "{'a': [identity.key_id, {'b': request.method}.b], 'c': []}"
    source = shapes + ".exists(k, k == client.address) ? true : false"
    names = {"identity.key_id", "request.method", "client.address"}
    assert inspection(source).names == names
    assert condition(source).holds(facts()) is not None
