"""The numbers of docs/limits.md are what buckets do."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from authz.limits.memory import MemoryLimiter
from authz.model.identity import ANONYMOUS
from authz.model.limit import Rate, Spend
from authz.policy.condition import Compiler
from authz.policy.evaluate import spend_of
from authz.policy.lint.lint import CODES, lint
from authz.policy.rule import LimitRule
from authz.policy.shape import RateSpec
from authz.policy.vocabulary import Facts
from authz.snapshot.build import Surroundings, build
from tests.support.facts import token
from tests.support.requests import request
from tests.support.spending import Wanting

PAGE = (Path(__file__).parents[2] / "docs/limits.md").read_text(encoding="utf-8")
DOCUMENTS = {
    f"{number}.yaml": block.encode()
    for number, block in enumerate(re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
}
US_PER_S = 1_000_000
_UNITS = {"ms": 1000, "s": US_PER_S}


def table(name: str) -> list[list[str]]:
    """Return the rows of a table that is marked by a comment."""
    lines = PAGE.partition(f"<!-- table: {name} -->\n")[2].splitlines()
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2 : lines.index("")] if line
    ]
    assert rows
    return rows


def rate_of(rate: str, burst: str) -> Rate:
    return RateSpec(rate=rate, burst=int(burst)).to_rate()


@dataclass
class Greedy:
    """Somebody who takes what it can, from buckets that are full at first."""

    now_us: int = 0
    limiter: MemoryLimiter = field(init=False)

    def __post_init__(self) -> None:
        self.limiter = MemoryLimiter(lambda: self.now_us)

    def ask(self, *spends: Spend) -> Wanting:
        check = Wanting(*spends)
        self.limiter.spend([check], lambda _: None)
        return check

    def takes(self, spend: Spend, until_us: int) -> int:
        """Return how many pass until then; it returns as soon as it is told to."""
        passed = 0
        while self.now_us <= until_us:
            check = self.ask(spend)
            assert check.spent is not None
            if check.passed:
                passed += 1
            else:
                self.now_us += check.spent[0].retry_ms * 1000
        return passed


def spend(rate: Rate, limit: str = "l", value: str = "k", cost: float = 1.0) -> Spend:
    return Spend(limit, (limit, "", value), rate, cost)


@pytest.mark.parametrize("row", table("greedy"), ids=" ".join)
def test_what_a_greedy_caller_gets(row: list[str]) -> None:
    rate = rate_of(row[0], row[1])
    for column, seconds in ((2, 0), (3, 1), (4, 60), (5, 3600)):
        if rate.rate_per_s * seconds > 10_000:  # long to play through, and even: a minute showed it
            assert int(row[column]) == rate.burst_tokens + rate.rate_per_s * seconds
        else:
            assert Greedy().takes(spend(rate), seconds * US_PER_S) == int(row[column]), seconds


@pytest.mark.parametrize("row", table("greedy"), ids=" ".join)
def test_when_an_empty_bucket_has_a_token_and_is_full(row: list[str]) -> None:
    rate, greedy = rate_of(row[0], row[1]), Greedy()
    greedy.takes(spend(rate), 0)
    wait, full = (int(number) * _UNITS[unit] for number, unit in map(str.split, row[6:8]))
    greedy = Greedy()
    for _ in range(int(rate.burst_tokens)):
        assert greedy.ask(spend(rate)).passed
    refused = greedy.ask(spend(rate)).spent
    assert refused is not None
    assert refused[0].retry_ms * 1000 == wait
    for now_us, passes in ((full - 1, False), (full, True)):
        greedy.now_us = now_us
        assert greedy.ask(spend(rate, cost=rate.burst_tokens)).passed is passes


def test_keys_of_one_customer_share_what_it_has() -> None:
    limits = {one.name: one for one in build(DOCUMENTS, Surroundings(), 0).loaded.limits}
    key, customer = (limits[name].spec.to_rate() for name in ("per-key", "per-customer"))
    greedy = Greedy()
    left = []
    for name, asks, passes, refused_by in table("nested"):
        asked = [
            greedy.ask(spend(key, "per-key", name), spend(customer, "per-customer")) for _ in range(int(asks))
        ]
        assert sum(check.passed for check in asked) == int(passes)
        assert asked[-1].spent is not None
        assert [one.limit for one in asked[-1].spent if not one.passed] == [refused_by]
        left.append(asked[-1].spent[0].remaining)
    assert left == [0, 0, 100]
    assert "still holds 100 tokens" in " ".join(PAGE.split())


@pytest.mark.parametrize("row", table("cost"), ids=" ".join)
def test_what_a_cost_makes_of_a_burst(row: list[str]) -> None:
    source, said = row[0].strip("`").strip("\"'"), row[1]
    count = int(said.split()[0])
    asked = request("POST" if "POST" in said else "GET", size=10_240 if "KiB" in said else 0)
    limit = LimitRule("l", (), Rate(1.0, 100.0), cost=Compiler().number(source))
    wanted = spend_of(limit, Facts(asked, token(), {}))
    assert isinstance(wanted, Spend)
    greedy = Greedy()
    assert [greedy.ask(wanted).passed for _ in range(count + 1)] == [True] * count + [False]


def test_name_spaces_never_meet_not_even_in_what_is_no_customers() -> None:
    assert "callers of two name spaces, and callers without a credential, have" in " ".join(PAGE.split())
    by_network = LimitRule("l", (Compiler().text("client.network"),), Rate(1.0, 1.0))
    spends = [
        spend_of(by_network, Facts(request(), who, {}))
        for who in (token(namespace="one"), token(namespace="other"), ANONYMOUS)
    ]
    assert len({one.bucket for one in spends if isinstance(one, Spend)}) == 3


@pytest.mark.parametrize("row", table("parts"), ids=" ".join)
def test_what_each_process_has_in_an_outage(row: list[str]) -> None:
    (limit,) = [
        one for one in build(DOCUMENTS, Surroundings(), 0).loaded.limits if one.name == "per-customer"
    ]
    processes = int(row[0])
    part = limit.spec.to_rate().share(processes)
    assert f"{part.rate_per_s:g}/s" == row[1]
    assert [f"{part.burst_tokens:g}", f"{processes * Greedy().takes(spend(part), 0)}"] == row[2:]


def test_a_debt_keeps_its_meaning_when_the_rate_changes() -> None:
    for rate_per_s, wait_s in ((100.0, 0.5), (10.0, 5.0)):
        greedy = Greedy()
        for _ in range(50):
            assert greedy.ask(spend(Rate(100.0, 50.0))).passed
        for now_us, passes in ((wait_s * US_PER_S - 1, False), (wait_s * US_PER_S, True)):
            greedy.now_us = int(now_us)
            assert greedy.ask(spend(Rate(rate_per_s, 50.0), cost=50.0)).passed is passes


def test_the_set_of_the_page_is_clean_and_the_warnings_it_names_exist() -> None:
    loaded = build(DOCUMENTS, Surroundings(), 0).loaded
    assert {warning.code for warning in lint(loaded)} == {"no-tests"}
    for code in ("bucket-of-choice", "limit-never-refuses", "store-error-outvoted"):
        assert code in CODES
        assert f"`{code}`" in PAGE


def test_the_set_of_the_page_may_be_served_from_a_cluster() -> None:
    build(DOCUMENTS, Surroundings(clustered=True), 0)
