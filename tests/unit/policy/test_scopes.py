"""No two Scopes speak for one directory, one name or one customer."""

from __future__ import annotations

import pytest

from authz.policy.load import load_lenient
from authz.policy.placement import Home
from authz.policy.scopes import MAX_SCOPES, Bounds, faults_among
from tests.support.documents import document, join
from tests.support.parts import scope


def told(*documents: str) -> list[str]:
    loaded, faults = load_lenient({"f.yaml": join(*documents).encode()}, home=Home.SCOPES)
    return [fault.what for fault in (*faults, *faults_among(loaded.scopes))]


def bounds(text: str) -> Bounds:
    loaded, faults = load_lenient({"f.yaml": text.encode()}, home=Home.SCOPES)
    assert faults == []
    return Bounds(loaded.scopes[0])


def test_scopes_that_share_nothing_are_fine() -> None:
    assert told(scope("items"), scope("orders", hosts="[items.example.com]")) == []


def test_a_name_stands_once() -> None:
    found = told(scope("a"), scope("a", directory="x", more=", names: [x]"))
    assert any("the name `a` is taken by" in fault for fault in found)


@pytest.mark.parametrize("other", ["teams/a", "teams", "teams/a/deep/er"])
def test_a_directory_is_one_scopes(other: str) -> None:
    (fault,) = told(scope("a"), scope("b", directory=other))
    assert "give each a directory of its own" in fault


def test_directories_that_only_begin_alike_are_two() -> None:
    assert told(scope("a"), scope("b", directory="teams/ab")) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("[x]", "[x]"),
        ("[x-*]", "[x-y]"),
        ("[x-*]", "[x-y-*]"),
        ('["*"]', "[y]"),
        ("[b]", '["*"]'),
        ('["*"]', '["*"]'),
    ],
)
def test_a_name_belongs_to_one_scope(one: str, other: str) -> None:
    for first, second in ((one, other), (other, one)):
        found = told(scope("a", f", names: {first}"), scope("b", f", names: {second}"))
        assert len(found) >= 1
        assert "belong to the scope" in found[0]


def test_of_two_scopes_named_alike_one_must_say_its_names() -> None:
    (fault,) = told(scope("items"), scope("items-eu"))
    assert "`items-eu`" in fault
    assert told(scope("items", ", names: [items, items-core-*]"), scope("items-eu")) == []


@pytest.mark.parametrize(
    ("one", "other"), [("[acme]", "[acme]"), ('["*"]', "[acme]"), ("[acme]", '["*"]'), ('["*"]', '["*"]')]
)
def test_the_document_of_a_customer_is_written_by_one_scope(one: str, other: str) -> None:
    a, b = scope("a", f", kinds: [Customer], customers: {one}"), scope("b", f", customers: {other}")
    assert told(a, b) == []
    (fault,) = told(a, b.replace("customers:", "kinds: [Customer], customers:"))
    assert "may write the Customer" in fault


def test_a_provider_is_written_by_one_scope() -> None:
    a = scope("a", ", kinds: [IdentityProvider], providers: [p]")
    (fault,) = told(a, scope("b", ", kinds: [IdentityProvider], providers: [q, p]"))
    assert "the scope `a` may write the IdentityProvider `p`" in fault


@pytest.mark.parametrize(
    "directory", ["..", "a/../b", "/a", "a/", "a//b", ".git", "a/.hidden", "", ".", "a\\\\b", "*"]
)
def test_a_directory_is_a_plain_path_below(directory: str) -> None:
    (fault,) = told(document("Scope", "a", f'{{directory: "{directory}", hosts: [a.example.com]}}'))
    assert "no directory below `--policies`" in fault


@pytest.mark.parametrize("more", [", kinds: [Scope]", ", kinds: []", ", names: [A]", ", customers: ['**']"])
def test_what_a_scope_says_is_checked(more: str) -> None:
    assert len(told(scope("a", more))) == 1


def test_only_scopes_stand_in_a_directory_of_scopes() -> None:
    found = told(scope("a"), document("Limit", "l", "{per: [identity.key_id], rate: 1/s}"))
    assert any("only Scopes stand in a directory of `--scopes`" in fault for fault in found)


def test_a_scope_elsewhere_is_an_error() -> None:
    for home in (Home.POLICIES, Home.OVERRIDES):
        _, faults = load_lenient({"f.yaml": scope("a").encode()}, home=home)
        assert len(faults) == 1
    _, (fault,) = load_lenient({"f.yaml": scope("a").encode()})
    assert str(fault).startswith("f.yaml:2:7: a Scope stands only in a directory of `--scopes`")


def test_scopes_are_bounded() -> None:
    many = [scope(f"s{number:04}") for number in range(MAX_SCOPES + 1)]
    assert told(*many) == [f"more than {MAX_SCOPES} scopes: join some"]


def test_what_a_scope_has_is_asked_of_its_bounds() -> None:
    one = bounds(scope("a", ", names: [a, x-*], providers: [p], customers: [acme]"))
    assert (one.names("a"), one.names("x-1"), one.names("a-1")) == (True, True, False)
    assert (one.provides("p"), one.provides("q")) == (True, False)
    assert (one.holds("acme"), one.holds("other")) == (True, False)
    every = bounds(scope("a", ', customers: ["*"]'))
    assert (every.holds("whoever"), every.provides("p")) == (True, False)
    assert (every.names("a"), every.names("a-b"), every.names("ab")) == (True, True, False)
