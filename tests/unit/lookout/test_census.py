from __future__ import annotations

import pytest

from authz.lookout.census import Census
from authz.model.errors import ConfigError
from tests.support.buckets import FIRST, OTHER, SECOND, census

ELSEWHERE = """
kind: IdentityProvider
metadata: {name: elsewhere}
spec: {apiKey: {in: [{header: x-other-key}]}}
---
kind: Customer
metadata: {name: acme}
spec: {customers: elsewhere}
"""


@pytest.fixture(scope="module")
def everybody() -> Census:
    return census()


def test_a_key_goes_by_the_name_of_its_document_or_by_its_id(everybody: Census) -> None:
    assert everybody.key("first") is everybody.key(FIRST.id)
    assert everybody.key("second").id == SECOND.id


def test_customers_are_those_of_documents_and_of_keys(everybody: Census) -> None:
    found = {name: sorted(one.key_id for one in held) for (_, name), held in everybody.customers.items()}
    assert found == {"acme": sorted([FIRST.id, SECOND.id]), "globex": [OTHER.id], "keyless": []}


def test_a_customer_is_somebody_of_whom_only_its_document_speaks(everybody: Census) -> None:
    acme = everybody.somebody(("example", "acme"))
    assert (acme.customer, acme.key_id, acme.limits["per-customer"].burst_tokens) == ("acme", "", 60.0)
    assert everybody.somebody(("example", "nobody")).limits == {}


def test_limits_are_whole_whatever_shares_them_and_those_in_shadow_are_known(everybody: Census) -> None:
    assert everybody.limits["per-key"].rate.burst_tokens == 2.0
    assert everybody.tried == {"tried"}
    assert [limit.name for limit in everybody.chosen("per-key")] == ["per-key"]
    assert len(list(everybody.chosen(""))) == 8


@pytest.mark.parametrize(
    ("kind", "name", "hint"),
    [
        ("key", "frist", "--key: this set has no ApiKey `frist`: did you mean `first`?"),
        ("key", "\x1b[31m", "--key: this set has no ApiKey `\\x1b[31m`: `authz key list` shows them"),
        ("customer", "acm", "--customer: this set has no customer `acm`: did you mean `acme`?"),
        ("limit", "per-kye", "--limit: this set has no Limit `per-kye`: did you mean `per-key`?"),
    ],
)
def test_who_is_not_there_is_said_with_who_may_be_meant(
    everybody: Census, kind: str, name: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        everybody.customer(name, "") if kind == "customer" else getattr(everybody, kind)(name)
    assert str(raised.value) == hint


def test_a_customer_of_two_name_spaces_is_asked_for_by_one() -> None:
    both = census(ELSEWHERE)
    with pytest.raises(ConfigError, match=r"--customers: elsewhere, example"):
        both.customer("acme", "")
    assert both.customer("acme", "elsewhere") == ("elsewhere", "acme")
    assert both.customer("globex", "") == ("example", "globex")
    with pytest.raises(ConfigError, match=r"no customer `globex`: .* in the name space `elsewhere`"):
        both.customer("globex", "elsewhere")
