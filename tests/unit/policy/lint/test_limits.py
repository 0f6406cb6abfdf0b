"""Limits that are not what they seem."""

from __future__ import annotations

import pytest

from authz.policy.condition import Compiler
from authz.policy.lint.limits import about_limits
from tests.support.documents import PER_KEY, PROVIDER, document, key, loaded, place_of_mark, policy

COMPILER = Compiler()


def limit(spec: str, name: str = "l") -> str:
    return document("Limit", name, f"{{{spec}}}")


def spending(*limits: str, name: str = "items", more: str = "") -> str:
    return policy(f"effect: allow, identity: [keys], limits: [{', '.join(limits)}]{more}", name)


def told(*documents: str) -> list[str]:
    """Return code and place of each warning; the first document stands first in its file."""
    found = about_limits(loaded(*documents), COMPILER)
    return [f"{one.code} {one.place.line}:{one.place.column}" for one in found]


def one(code: str, marked: str, *others: str) -> bool:
    """Whether that is all that is told, at the mark."""
    _, line, column = place_of_mark(marked).split(":")
    return told(marked.replace("§", ""), PROVIDER, *others) == [f"{code} {line}:{column}"]


KEYED = "per: [identity.key_id]"


@pytest.mark.parametrize(
    ("cost", "counts"), [("0", False), ("0.0", False), ("1", True), ("0.001", True), ("size(params)", True)]
)
def test_a_cost_of_nothing_refuses_nobody(cost: str, counts: bool) -> None:
    marked = limit(f"{KEYED}, rate: 5/s, cost: §'{cost}'")
    assert one("limit-never-refuses", marked, spending("l")) is not counts


@pytest.mark.parametrize(
    ("cost", "fails"),
    [("request.size", True), ("request.size > 0 ? request.size : 1", False), ("size(request.body)", False)],
)
def test_a_body_of_unknown_size_has_no_cost(cost: str, fails: bool) -> None:
    marked = limit(f"{KEYED}, rate: 5000/s, cost: §'{cost}'")
    assert one("expression-can-fail", marked, spending("l")) is fails


@pytest.mark.parametrize(
    ("rate", "burst", "short"),
    [
        ("100/s", "99", True),
        ("100/s", "100", False),
        ("600/min", "9", True),
        ("600/min", "10", False),
        ("60/h", "1", False),
    ],
)
def test_a_bucket_holds_a_seconds_worth(rate: str, burst: str, short: bool) -> None:
    marked = limit(f"{KEYED}, rate: {rate}, burst: §{burst}")
    assert one("burst-below-rate", marked, spending("l")) is short
    tier = limit(f"{KEYED}, rate: 1/s, tiers: [{{when: 'true', rate: {rate}, burst: §{burst}}}]")
    assert one("burst-below-rate", tier, spending("l")) is short


@pytest.mark.parametrize(
    ("per", "chosen"),
    [
        ('request.headers[?"x"].orValue("")', True),
        ('request.header_values[?"x"].orValue(["a"])[0]', True),
        ('request.query[?"q"].orValue(["a"])[0]', True),
        ("request.id", True),
        ("string(request.size)", True),
        ('identity.key_id + request.headers[?"x"].orValue("")', True),
        ('request.headers[?"x"].orValue("") == "a" ? "a" : "b"', False),
        ('request.headers[?"x"].orValue("") == "a" ? request.id : "b"', True),
        ('string("x" in request.headers)', False),
        ("request.url_path", False),
        ("request.host", False),
        ("client.address", False),
        ('params[?"id"].orValue("none")', False),
    ],
)
def test_a_bucket_of_the_clients_choice_is_told(per: str, chosen: bool) -> None:
    marked = limit(f"per: [§'{per}'], rate: 5/s")
    assert one("bucket-of-choice", marked, spending("l")) is chosen


def test_a_bucket_of_the_clients_choice_is_fine_beside_another_one() -> None:
    chosen = limit("per: [§request.id, identity.key_id], rate: 5/s")
    assert told(chosen.replace("§", ""), PROVIDER, PER_KEY, spending("l", "per-key")) == []
    assert one("bucket-of-choice", chosen, PER_KEY, spending("l", "per-key"), spending("l", name="other"))
    tried = limit(f"{KEYED}, rate: 5/s, mode: shadow", "tried")
    assert one("bucket-of-choice", chosen, tried, spending("l", "tried"))
    other = limit("per: [request.headers.x], rate: 50/s", "other")
    assert len(told(chosen.replace("§", ""), PROVIDER, other, spending("l", "other"))) == 2
    assert told(chosen.replace("§", "")) == []  # nobody spends it, as another warning says


@pytest.mark.parametrize(
    ("ours", "theirs", "outvoted"),
    [("allow", "deny", True), ("allow", "local", False), ("local", "deny", False), ("deny", "deny", False)],
)
def test_allowing_beside_denying_has_no_say_in_an_outage(ours: str, theirs: str, outvoted: bool) -> None:
    marked = limit(f"{KEYED}, rate: 5/s, onStoreError: §{ours}")
    other = limit(f"per: [identity.customer], rate: 50/s, onStoreError: {theirs}", "m")
    assert one("store-error-outvoted", marked, other, spending("l", "m")) is outvoted
    assert told(marked.replace("§", ""), PROVIDER, other, spending("l", "m"), spending("l", name="own")) == []


@pytest.mark.parametrize(
    ("inner", "outer", "dead"),
    [
        ("rate: 5/s", "rate: 4/s", True),
        ("rate: 5/s", "rate: 5/s", True),
        ("rate: 5/s", "rate: 6/s", False),
        ("rate: 5/s", "rate: 4/s, burst: 6", False),
        ("rate: 5/s, burst: 6", "rate: 5/s, burst: 6", True),
        ("rate: 5/s, cost: '2'", "rate: 4/s", False),
        ("rate: 5/s, mode: shadow", "rate: 4/s", False),
        ("rate: 5/s", "rate: 4/s, mode: shadow", False),
        ("rate: 5/s, tiers: [{when: 'true', rate: 1/s}]", "rate: 4/s", False),
    ],
)
@pytest.mark.parametrize("per", ["identity.key_id", "identity.customer, request.host"])
def test_an_inner_limit_that_holds_more_has_no_say(per: str, inner: str, outer: str, dead: bool) -> None:
    if "tiers" in inner:
        per = f"identity.key_id, {per}" if "key_id" not in per else per
    marked = limit(f"per: [{per}], {inner}").replace("name: l", "name: §l")
    other = limit(f"per: [identity.customer], {outer}", "m")
    assert one("limit-never-refuses", marked, other, spending("l", "m")) is dead
    plain = marked.replace("§", "")
    assert told(plain, PROVIDER, other, spending("l", "m"), spending("l", name="own")) == []
    override = document("Customer", "acme", "{customers: example, limits: {m: {rate: 50/s}}}")
    assert told(plain, PROVIDER, other, override, spending("l", "m")) == []


def test_of_two_limits_that_are_alike_one_is_told() -> None:
    alike = [limit("per: [identity.customer], rate: 5/s", name) for name in ("a", "b")]
    assert told(alike[1], alike[0], PROVIDER, spending("a", "b")) == ["limit-never-refuses 3:18"]


def test_a_tier_or_override_whose_bucket_is_too_small_for_the_cost_is_told() -> None:
    tier = limit(f"{KEYED}, rate: 100/s, cost: '10', tiers: [§{{when: 'true', rate: 9/s}}]")
    assert one("cost-exceeds-burst", tier, spending("l"))
    costly = limit(f"{KEYED}, rate: 100/s, cost: '10'")
    for override, small in (("{rate: 9/s}", True), ("{rate: 9/s, burst: 10}", False)):
        marked = key(more=f", limits: {{l: §{override}}}")
        assert one("cost-exceeds-burst", marked, costly, spending("l")) is small
