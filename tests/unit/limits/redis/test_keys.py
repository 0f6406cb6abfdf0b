from __future__ import annotations

import re

import pytest

from authz.limits.redis.keys import Keys
from tests.support.spending import spend


def test_a_key_says_keyspace_limit_and_nothing_that_a_client_wrote() -> None:
    name = Keys("prod").name(spend("per-key", "s3cret value\n")).decode()
    assert re.fullmatch(r"authz:prod:\{[\w-]{11}\}:per-key:[\w-]{22}", name)


def test_names_last_since_a_bucket_that_is_renamed_is_full() -> None:
    assert Keys("prod").name(spend()) == b"authz:prod:{gw5srx6oCNw}:per-key:O9Lg9O7IOd0sGzLWOCC0Tw"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (spend(value="a"), spend(value="b")),
        (spend("per-key"), spend("per-customer")),
        (spend()._replace(bucket=("l", "ab", "c")), spend()._replace(bucket=("l", "a", "bc"))),
        (spend()._replace(bucket=("l", "a", "b")), spend()._replace(bucket=("l", "a_b"))),
        (spend()._replace(bucket=("l", "", "x")), spend()._replace(bucket=("l", "x", ""))),
    ],
)
def test_two_buckets_never_have_one_name(one: object, other: object) -> None:
    keys = Keys("prod")
    assert keys.name(one) != keys.name(other)  # type: ignore[arg-type]  # spends, by the parameters above


def test_keyspaces_never_meet() -> None:
    one, other = Keys("staging").name(spend()).decode(), Keys("production").name(spend()).decode()
    assert one.split(":")[2:] != other.split(":")[2:]


def test_buckets_of_one_caller_share_a_tag_and_those_of_two_do_not() -> None:
    keys = Keys("prod")
    mine, same = spend("per-key", "k1"), spend("per-customer", "acme")
    other = spend("per-key", "k2")._replace(caller=("customer", "ns", "globex"))
    assert _tag(keys.name(mine)) == _tag(keys.name(same)) != _tag(keys.name(other))


def test_the_bucket_of_a_key_that_gets_another_customer_lies_with_that_ones() -> None:
    keys, mine = Keys("prod"), spend("per-key", "k1")
    moved = mine._replace(caller=("customer", "ns", "globex"))
    theirs = spend("per-customer", "globex")._replace(caller=moved.caller)
    assert _tag(keys.name(mine)) != _tag(keys.name(moved)) == _tag(keys.name(theirs))
    assert keys.name(moved) == Keys("prod").name(moved)


def test_a_bucket_of_nobody_lies_where_its_own_name_says() -> None:
    keys = Keys("prod")
    one, other = (spend("per-host", host)._replace(caller=()) for host in ("a.example", "b.example"))
    assert _tag(keys.name(one)) != _tag(keys.name(other))


def test_a_bucket_in_shadow_is_another_and_says_so() -> None:
    keys = Keys("prod")
    shadow = spend()._replace(bucket=("shadow/per-key", "ns", "k1"))
    assert b":shadow.per-key:" in keys.name(shadow)
    assert keys.name(shadow) != keys.name(spend())


def test_what_is_no_text_in_utf_8_has_a_name_too() -> None:
    assert Keys("prod").name(spend(value="\udcff"))


def test_names_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("authz.limits.redis.keys._KNOWN_MAX", 10)
    keys = Keys("prod")
    names = {keys.name(spend(value=str(number))) for number in range(100)}
    assert len(names) == 100
    assert len(keys._known) <= 10


def _tag(name: bytes) -> bytes:
    return name[name.index(b"{") : name.index(b"}")]
