from __future__ import annotations

import pytest

from authz.limits.redis.keys import Keys
from authz.lookout.census import Census
from authz.lookout.naming import LATECOMERS, Directory
from authz.lookout.selection import Bucket, Selection
from authz.lookout.standing import Found, Match
from authz.model.limit import Store
from tests.support.buckets import FIRST, SECOND, census

KEYS = Keys("default")


@pytest.fixture(scope="module")
def everybody() -> Census:
    return census()


@pytest.fixture(scope="module")
def directory(everybody: Census) -> Directory:
    return Directory(everybody, KEYS)


def in_memory(*name: str | None) -> Found:
    digest = KEYS.digest(tuple(part or "" for part in name))
    return Found(name, digest, 1.0, 0, Store.MEMORY)


def in_redis(caller: tuple[str, ...], *name: str) -> Found:
    tag = KEYS.tag(caller or name)
    return Found(name[:1], KEYS.digest(name), 1.0, 0, Store.REDIS, tag=tag, key=b"k")


def whose(directory: Directory, found: Found) -> str:
    stands = directory.standing(found)
    assert stands is not None
    return stands.whose


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (("per-key", "example", FIRST.id), "key first"),
        (("per-key", "example", "goneGoneGone"), "key goneGoneGone"),
        (("per-customer", "example", "acme"), "customer acme"),
        (("shadow/per-customer", "example", "acme"), "customer acme"),
        (("per-method", "example", "acme", "GET"), "customer acme, GET"),
        (("per-network", "", "203.0.113.7/32"), "203.0.113.7"),
        (("per-network", "", "2001:db8::/64"), "2001:db8::/64"),
        (("all", "example", "all"), "everybody"),
        (("per-customer",), LATECOMERS),
        (("per-method", "example", "acme", "\x1b[31m"), "customer acme, \\x1b[31m"),
    ],
)
def test_a_bucket_in_memory_is_named_after_what_its_name_says(
    directory: Directory, name: Bucket, words: str
) -> None:
    assert whose(directory, in_memory(*name)) == words


def test_what_is_not_told_is_told_apart_by_its_digest(directory: Directory) -> None:
    found = in_memory("per-visit", "example", None)
    assert whose(directory, found) == f"? #{found.digest[:8]}"
    gone = in_memory("per-visit", None, None, None)  # the document was another then
    assert whose(directory, gone) == f"#{gone.digest[:8]}"


def test_a_long_value_is_cut(directory: Directory) -> None:
    assert whose(directory, in_memory("per-method", "example", "acme", "x" * 100)).endswith("xxx...")


def test_in_redis_keys_and_customers_are_known_by_what_is_hashed(directory: Directory) -> None:
    acme = ("customer", "example", "acme")
    assert whose(directory, in_redis(acme, "per-key", "example", SECOND.id)) == "key second"
    assert whose(directory, in_redis(acme, "per-customer", "example", "acme")) == "customer acme"
    assert whose(directory, in_redis(acme, "shadow/tried", "example", "acme")) == "customer acme"
    assert whose(directory, in_redis((), "all", "example", "all")) == "everybody"


def test_in_redis_the_rate_is_that_of_whom_it_is(directory: Directory) -> None:
    found = in_redis(("customer", "example", "acme"), "per-key", "example", SECOND.id)
    stands = directory.standing(found)
    assert stands is not None
    assert stands.rate.burst_tokens == 4.0
    assert stands.bucket == ("per-key", "example", SECOND.id)


def test_in_redis_a_customer_is_known_by_its_tag_and_of_others_the_hash_alone(directory: Directory) -> None:
    acme = in_redis(("customer", "example", "acme"), "per-method", "example", "acme", "GET")
    assert whose(directory, acme) == f"customer acme, #{acme.digest[:8]}"
    network = in_redis(("network", "203.0.113.7/32"), "per-network", "", "203.0.113.7/32")
    assert whose(directory, network) == f"#{network.digest[:8]}"


def test_a_limit_that_the_set_has_not_is_nobodys(directory: Directory) -> None:
    assert directory.standing(in_memory("gone", "example", "a")) is None


def test_where_there_are_several_name_spaces_a_customer_is_told_with_its_own() -> None:
    more = "kind: IdentityProvider\nmetadata: {name: more}\nspec: {apiKey: {in: [{header: x-more}]}}"
    assert whose(Directory(census(more), KEYS), in_memory("per-customer", "example", "acme")) == (
        "customer example/acme"
    )


def test_what_the_sidecar_tells_fills_in_what_was_not_known(everybody: Census, directory: Directory) -> None:
    (target, *_) = Selection(everybody, "per-method").of_key("first")
    found = in_memory("per-method", "example", None, "GET")
    stands = directory.of(Match(found, target, theirs=True))
    assert (stands.bucket, stands.whose) == (("per-method", "example", "acme", "GET"), "customer acme, GET")
    late = directory.of(Match(in_memory("per-method"), target, theirs=False))
    assert (late.whose, late.shared) == (LATECOMERS, True)
