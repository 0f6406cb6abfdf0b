"""From whom is asked about to the buckets that they draw from: the very ones that a check draws from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from authz.lookout.census import Census
from authz.lookout.selection import Selection, Target, of_name
from authz.model.errors import ConfigError
from authz.model.limit import Spend
from authz.policy.evaluate import spend_of
from authz.policy.vocabulary import Facts
from tests.support.buckets import FIRST, OTHER, SECOND, census
from tests.support.requests import request


@pytest.fixture(scope="module")
def everybody() -> Census:
    return census()


def enforced(targets: list[Target]) -> dict[str, Target]:
    return {target.limit.name: target for target in targets if not target.in_shadow}


def test_a_key_draws_from_its_own_buckets_and_from_its_customers(everybody: Census) -> None:
    selection = Selection(everybody)
    found = enforced(selection.of_key("first"))
    assert {name: target.bucket[1:] for name, target in found.items()} == {
        "per-key": ("example", FIRST.id),
        "per-customer": ("example", "acme"),
        "per-method": ("example", "acme", None),
        "per-key-method": ("example", FIRST.id, None),
        "all": ("example", "all"),
    }
    assert [limit.name for limit in selection.beside] == ["per-network", "per-visit"]
    assert {name for name, target in found.items() if target.shared} == {"all"}
    assert {name for name, target in found.items() if target.loose} == {"per-key-method"}
    assert {name for name, target in found.items() if target.closed} == {"per-key", "per-customer", "all"}


@pytest.mark.parametrize("limit", ["per-key", "per-customer", "all"])
@pytest.mark.parametrize("key", [FIRST, SECOND, OTHER])
def test_bucket_rate_and_caller_are_those_of_a_check(everybody: Census, limit: str, key: object) -> None:
    identity = everybody.key(key.name).identity  # type: ignore[attr-defined]  # a MadeKey
    real = spend_of(everybody.limits[limit], Facts(request(), identity, {}))
    asked = enforced(Selection(everybody, limit).of_key(key.name))[limit].spend  # type: ignore[attr-defined]
    assert isinstance(real, Spend)
    assert isinstance(asked, Spend)
    assert asked == real._replace(on_store_error=asked.on_store_error)


def test_overrides_and_tiers_count(everybody: Census) -> None:
    found = enforced(Selection(everybody).of_key("second"))
    assert found["per-key"].rate.burst_tokens == 4.0
    assert found["per-customer"].rate.burst_tokens == 60.0


def test_each_limit_has_a_bucket_in_shadow_and_one_in_shadow_has_no_other(everybody: Census) -> None:
    found = Selection(everybody).of_key("first")
    assert {target.bucket[0] for target in found if target.limit.name == "per-key"} == {
        "per-key",
        "shadow/per-key",
    }
    assert {target.bucket[0] for target in found if target.limit.name == "tried"} == {"shadow/tried"}


def test_a_customer_has_the_buckets_of_its_keys_each_once(everybody: Census) -> None:
    found = Selection(everybody).of_customer("acme")
    assert len({target.bucket for target in found}) == len(found)
    keys = {target.bucket[2] for target in found if target.bucket[0] == "per-key"}
    assert keys == {FIRST.id, SECOND.id}
    assert [target.bucket for target in found if target.bucket[0] == "per-customer"] == [
        ("per-customer", "example", "acme")
    ]


def test_of_a_customer_without_keys_its_own_bucket_is_known(everybody: Census) -> None:
    found = enforced(Selection(everybody).of_customer("keyless"))
    assert found["per-customer"].bucket == ("per-customer", "example", "keyless")
    assert found["per-customer"].caller == ("customer", "example", "keyless")
    assert "per-key" not in found


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7/32"),
        ("2001:db8::1", "2001:db8::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7/32"),
    ],
)
def test_an_address_has_its_networks_buckets_in_every_name_space(
    everybody: Census, address: str, network: str
) -> None:
    selection = Selection(everybody)
    found = [target for target in selection.of_address(address) if target.limit.name == "per-network"]
    assert {target.bucket for target in found if not target.in_shadow} == {
        ("per-network", "", network),
        ("per-network", "example", network),
    }
    assert {target.caller for target in found} == {("network", network)}


@pytest.mark.parametrize("text", ["", "acme", "203.0.113", "203.0.113.7/32", "0x7f.1"])
def test_what_is_no_address_is_said(everybody: Census, text: str) -> None:
    with pytest.raises(ConfigError, match="is no IP address"):
        Selection(everybody).of_address(text)


def test_values_name_a_bucket_and_what_they_say_of_the_caller_counts(everybody: Census) -> None:
    (target, *_) = Selection(everybody, "per-method").of_values(["acme", "GET"], "example")
    assert target.bucket == ("per-method", "example", "acme", "GET")
    assert target.caller == ("customer", "example", "acme")
    (keyed, *_) = Selection(everybody, "per-key").of_values([SECOND.id])
    assert keyed.bucket == ("per-key", "example", SECOND.id)
    assert (keyed.caller, keyed.rate.burst_tokens) == (("customer", "example", "acme"), 4.0)
    (network, *_) = Selection(everybody, "per-network").of_values(["203.0.113.7/32"], "example")
    assert network.caller == ("network", "203.0.113.7/32")


def test_of_a_key_that_the_set_has_not_the_customer_is_not_known(everybody: Census) -> None:
    found = Selection(everybody, "per-key").of_values(["goneGoneGone"], "example")
    assert {target.bucket for target in found} == {
        ("per-key", "example", "goneGoneGone"),
        ("shadow/per-key", "example", "goneGoneGone"),
    }
    assert {(target.caller, target.spend) for target in found} == {(None, None)}


def test_a_long_value_is_hashed_as_in_a_check(everybody: Census) -> None:
    long = "x" * 500
    identity = replace(everybody.key("first").identity, namespace="")
    real = spend_of(
        everybody.limits["per-visit"], Facts(request(headers={"x-visit": long.encode()}), identity, {})
    )
    (target, *_) = Selection(everybody, "per-visit").of_values([long])
    assert isinstance(real, Spend)
    assert target.bucket == real.bucket


def test_other_than_one_value_for_each_of_per_is_said(everybody: Census) -> None:
    with pytest.raises(ConfigError, match=r"`identity.customer`, `request.method`; give a value for each"):
        Selection(everybody, "per-method").of_values(["acme"])


def test_a_name_that_a_store_tells_has_the_rate_of_whom_it_names(everybody: Census) -> None:
    limits = everybody.limits
    assert of_name(everybody, limits["per-key"], ("per-key", "example", SECOND.id)).rate.burst_tokens == 4.0
    assert of_name(everybody, limits["per-key"], ("per-key", "other", SECOND.id)).rate.burst_tokens == 2.0
    customer = of_name(everybody, limits["per-customer"], ("per-customer", "example", "acme"))
    assert customer.rate.burst_tokens == 60.0
    hidden = of_name(everybody, limits["per-visit"], ("per-visit", "example", None))
    assert not hidden.closed


def test_a_pattern_fits_what_it_does_not_contradict(everybody: Census) -> None:
    target = enforced(Selection(everybody).of_key("first"))["per-method"]
    assert target.fits(("per-method", "example", "acme", "GET"))
    assert target.fits(("per-method", None, "acme", None))
    assert not target.fits(("per-method", "example", "globex", "GET"))
    assert not target.fits(("per-method", "example", "acme"))


def test_everybodys_buckets_are_those_of_each_key_and_customer(everybody: Census) -> None:
    found = {target.bucket[2] for target in Selection(everybody, "per-customer").of_everybody()}
    assert found == {"acme", "globex", "keyless"}
    assert Selection(Census(census()._loaded), "per-visit").of_everybody() == []
