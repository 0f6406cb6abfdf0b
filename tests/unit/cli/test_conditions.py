from __future__ import annotations

import pytest

from authz.cli import conditions
from authz.policy.condition import Compiler, ExpressionFault
from authz.policy.vocabulary import VOCABULARY


@pytest.fixture(scope="module")
def compiler() -> Compiler:
    return Compiler()


@pytest.mark.parametrize("source", [source for source, _ in conditions.EXAMPLES])
def test_an_example_compiles_and_fails_for_no_missing_key(compiler: Compiler, source: str) -> None:
    inspection = compiler.condition(source).inspection
    assert [access for access in inspection.unguarded if not access.startswith("params")] == []
    assert not inspection.compares_header


@pytest.mark.parametrize(("source", "field"), [(source, field) for source, field, _ in conditions.VALUES])
def test_an_example_of_a_value_compiles_in_its_field(compiler: Compiler, source: str, field: str) -> None:
    if field == "`cost`":
        compiler.number(source)
    else:
        compiler.text(source)


def test_every_variable_has_its_row() -> None:
    rows = list(conditions.variables())
    assert [row[0].strip("`") for row in rows] == list(VOCABULARY)
    assert all(all(row) for row in rows)


@pytest.mark.parametrize(
    "call",
    [
        '"a".charAt(0) == "a"',
        '"%s".format(["a"]) == "a"',
        '"a".indexOf("a") == 0',
        '["a"].join("-") == "a"',
        '"A".lowerAscii() == "a"',
        '"a".replace("a", "b") == "b"',
        '"ab".reverse() == "ba"',
        '"a,b".split(",").size() == 2',
        '"abc".substring(1) == "bc"',
        '" a".trim() == "a"',
        '"a".upperAscii() == "A"',
    ],
)
def test_the_string_functions_that_the_page_names_are_there(compiler: Compiler, call: str) -> None:
    compiler.condition(call)


@pytest.mark.parametrize(
    "source",
    [
        "true" + " || true" * 1200,
        "[" * 33 + "1" + "]" * 33 + " == []",
        "identity.scopes.exists(a, identity.scopes.exists(b, a == b))",
        'identity.scopes.exists(a, a + "x" == "y")',
        'identity.scopes.exists(a, a.replace("x", "y") == "y")',
        'request.host.split(".").map(part, part.size()) == [1]',
        '["a"].join("-").replace("a", "b") == "b"',
        'request.host.replace("a", request.url_path) == "b"',
    ],
)
def test_what_the_page_says_has_no_bound_is_refused(compiler: Compiler, source: str) -> None:
    with pytest.raises(ExpressionFault):
        compiler.condition(source)
