from __future__ import annotations

import pytest

from authz.policy.condition import Compiler
from authz.policy.hazard import hazards, only_denies, shape, tree_of

COMPILER = Compiler()


def found(source: str) -> list[str]:
    tree = tree_of(COMPILER.condition(source))
    assert tree is not None
    return [hazard.what for hazard in hazards(tree)]


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("int(request.id) > 1", "`int(...)` of a text"),
        ("double(request.id) > 1.0", "`double(...)` of a text"),
        ("timestamp(request.id) < request.time", "`timestamp(...)` of a text"),
        ("duration(request.id) < duration('1s')", "`duration(...)` of a text"),
        ("int(identity.claims.level) > 1", "`int(...)` of a text"),
        ("request.size / client.port == 1", "a division by zero"),
        ("request.size % 0 == 1", "a division by zero"),
        ("request.segments[1] == 'x'", "an index beyond the end"),
        ("request.id.split(',')[0] == 'x'", "an index beyond the end"),
        ("request.headers[params.x] == 'a'", "a key that a map may not have"),
        ('request.headers[?"x"].value() == "a"', "`.value()` of what is not there"),
        ("request.id.charAt(3) == 'a'", "`charAt` beyond the end"),
        ("request.id.substring(3) == 'a'", "`substring` beyond the end"),
    ],
)
def test_what_can_fail_is_found(source: str, what: str) -> None:
    (only,) = found(source)
    assert only.startswith(what)


@pytest.mark.parametrize(
    "source",
    [
        "request.id.matches('^[0-9]+$') && int(request.id) > 1",
        "int('7') > request.size",
        "int(request.time) > 1",
        "client.port != 0 && request.size / client.port == 1",
        "request.size / 1024 == 1",
        "1.0 / double(request.size) > 0.5",
        "size(request.segments) > 1 && request.segments[1] == 'x'",
        "request.segments.size() > 1 && request.segments[1] == 'x'",
        "params.x in request.headers && request.headers[params.x] == 'a'",
        'request.headers[?"x"].hasValue() && request.headers[?"x"].value() == "a"',
        "request.id.size() > 3 && request.id.charAt(3) == 'a'",
        '"a" in identity.scopes',
    ],
)
def test_what_is_asked_about_first_is_guarded(source: str) -> None:
    assert found(source) == []


def test_a_plain_variable_has_no_tree_and_cannot_fail() -> None:
    assert tree_of(COMPILER.text("identity.customer")) is None


@pytest.mark.parametrize(
    ("source", "denies"),
    [
        ('request.method != "PUT"', True),
        ('!("x" in identity.scopes)', True),
        ('request.method != "PUT" && !(client.port == 1)', True),
        ('request.method != "PUT" && client.port == 1', False),
        ('request.id != ""', False),
        ("request.size != -1", False),
        ("request.size != 0", False),
        ("identity.scopes != []", False),
        ("identity.claims.x != null", False),
        ("!identity.anonymous", False),
        ("client.port == 1", False),
    ],
)
def test_a_condition_of_negations_alone_is_told_from_one_that_asks(source: str, denies: bool) -> None:
    tree = tree_of(COMPILER.condition(source))
    assert tree is not None
    assert only_denies(tree.expr) is denies


def test_two_spellings_of_one_expression_have_one_shape() -> None:
    shapes = [
        shape(tree.expr)
        for one in ("1<2", " 1  <  2 ", "1 < 3")
        if (tree := tree_of(COMPILER.condition(one)))
    ]
    assert shapes[0] == shapes[1] != shapes[2]
