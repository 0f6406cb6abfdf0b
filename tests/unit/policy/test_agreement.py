"""One header from two expressions on one host: found by look-ups, held to every host of a small universe."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.policy import agreement
from authz.policy.agreement import disagreements
from authz.policy.host import parse_host
from authz.policy.leaf import Ties
from tests.support.documents import document, loaded
from tests.support.hosts import HOST_PATTERNS, host_matches

# Every host of up to five labels out of two, and one that no pattern spells: what overlaps, overlaps here.
UNIVERSE = [".".join(labels) for size in range(1, 6) for labels in product("abxz", repeat=size)]


def policy(name: str, hosts: list[str], headers: str) -> str:
    listed = ", ".join(f'"{host}"' for host in hosts)
    rules = "[{name: r, effect: allow, identity: [anyone]}]"
    return document("Policy", name, f"{{hosts: [{listed}], rules: {rules}, onAllow: {{headers: {headers}}}}}")


def at_odds(*policies: str) -> list[str]:
    """Return the policies that are told to disagree with one before them."""
    faults = list(disagreements(loaded(*policies).policies))
    return [fault.what for fault in faults]


def _texts() -> st.SearchStrategy[list[str]]:
    spelled = HOST_PATTERNS.map(
        lambda pattern: {
            "any": "*",
            "exact": pattern.host,
            "suffix": f"*.{pattern.host}",
            "capture": f"{{h}}.{pattern.host}",
        }[pattern.kind]
    )
    return st.lists(spelled, min_size=1, max_size=2, unique=True)


def overlap(one: list[str], other: list[str]) -> bool:
    patterns = [[parse_host(text) for text in texts] for texts in (one, other)]
    hosts = [*UNIVERSE, *(pattern.host for each in patterns for pattern in each if pattern.kind == "exact")]
    return any(
        all(any(host_matches(pattern, host) is not None for pattern in each) for each in patterns)
        for host in hosts
    )


@settings(max_examples=150, deadline=None)
@given(_texts(), _texts())
def test_a_disagreement_is_told_exactly_where_a_host_is_common(one: list[str], other: list[str]) -> None:
    told = at_odds(policy("p", one, "{x-a: identity.key_id}"), policy("q", other, "{x-a: identity.subject}"))
    assert bool(told) is overlap(one, other)


def test_the_fault_names_header_and_policy() -> None:
    (told,) = at_odds(
        policy("p", ["a.x"], "{x-a: identity.key_id}"), policy("q", ["*.x"], "{x-a: identity.subject}")
    )
    assert told == "`x-a` is set from another expression by `p` on a common host: agree on one"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{x-a: identity.key_id}", "{x-a: ' identity.key_id '}"),
        ("{x-a: identity.key_id}", "{x-b: identity.subject}"),
    ],
)
def test_the_same_expression_or_another_header_is_no_disagreement(one: str, other: str) -> None:
    assert at_odds(policy("p", ["*"], one), policy("q", ["*"], other)) == []


@pytest.mark.parametrize("spelled", ["x_a", "x.a"])
def test_headers_that_an_upstream_may_take_for_one_are_one(spelled: str) -> None:
    (told,) = at_odds(
        policy("p", ["*"], "{x-a: identity.key_id}"), policy("q", ["*"], f"{{{spelled}: identity.subject}}")
    )
    assert told.startswith(f"`{spelled}` is set from another expression by `p`")


def test_of_three_policies_each_that_disagrees_is_told() -> None:
    told = at_odds(
        policy("p", ["a.x"], "{x-a: identity.key_id}"),
        policy("q", ["b.x"], "{x-a: identity.subject}"),
        policy("r", ["*.x"], "{x-a: identity.customer}"),
        policy("s", ["c.x"], "{x-a: identity.key_id}"),
    )
    assert len(told) == 1


def test_ten_times_the_policies_cost_about_ten_times_as_much() -> None:
    """Each with an expression of its own, on a host of its own: compared pairwise, 10,000 took minutes."""
    asked = 0

    class Counted(agreement._Hosts):
        def owner(self, ties: Ties) -> str:
            nonlocal asked
            asked += 1
            return super().owner(ties)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(agreement, "_Hosts", Counted)
        told = at_odds(*(policy(f"p{n}", [f"h{n}.test"], f"{{x-a: '\"{n}\"'}}") for n in range(100)))
    assert (told, asked) == ([], 100)
