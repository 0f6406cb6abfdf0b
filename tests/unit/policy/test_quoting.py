"""Faults of YAML whose cause is a missing pair of quotes."""

from __future__ import annotations

import pytest

from authz.policy.quoting import quoting_hint
from authz.policy.yaml import parse

EXPRESSION = "put the whole expression after `when:` in quotes"
PATTERN = 'put the whole pattern with `{` in quotes, such as `"/items/{id}"`'
STAR = 'put a pattern that begins with `*` in quotes, such as `"*.example.com"`'


def last_fault(text: str) -> str:
    return parse(text.encode(), "f.yaml").faults[-1].what


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('a:\n  when: "items:read" in identity.scopes\n', EXPRESSION),
        ('a:\n  - when: request.headers["x"] == "a: b"\n', EXPRESSION),
        ("a: {name: b, when: 'a' in identity.scopes}\n", EXPRESSION),
        ("a:\n  when: !x && y\n", EXPRESSION),
        ('cost: "1" + 1\n', "put the whole expression after `cost:` in quotes"),
        ("paths: [/items/{id}]\n", PATTERN),
        ("rules: [{paths: [/a, /items/{id}/b], when: 'true'}]\n", PATTERN),
        ("paths:\n  - {id}/b\n", PATTERN),
        ("hosts: [{tenant}.example.com]\n", PATTERN),
        ("hosts: [*.example.com]\n", STAR),
        ("hosts:\n  - *.example.com\n", STAR),
        ("hosts: [*]\n", STAR),
    ],
)
def test_a_line_that_lacks_quotes_says_so(text: str, hint: str) -> None:
    fault = last_fault(text)
    assert fault.startswith("not well-formed YAML: ")
    assert fault.endswith(f": {hint}")


@pytest.mark.parametrize(
    "text",
    ["a: [1, 2", "a: b: c", "a: @x", 'a: ["/items/{id}", [}]', "when:\n  a: b: c\n", "a: [*b, c: d: e"],
)
def test_other_faults_are_not_explained_by_quotes(text: str) -> None:
    assert "quotes" not in last_fault(text)


def test_a_column_beyond_the_line_is_no_crash() -> None:
    assert quoting_hint("", 7) == ""
