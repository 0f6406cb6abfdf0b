from __future__ import annotations

import os
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from click import unstyle

from authz.cli.limits_text import as_json, table, verdict, where_of, without_buckets
from authz.lookout.standing import NEVER, Found, Standing
from authz.model.limit import OnStoreError, Rate, Store
from tests.support.buckets import FIRST, census

NOW = datetime(2026, 6, 1, 12, 0, 0, 500_000, tzinfo=UTC)
EVERYBODY = census()


def row(
    wait_s: float = 0.0,
    debt: float | None = 1.0,
    *,
    store: Store = Store.REDIS,
    worker: int = -1,
    limit: str = "per-key",
    whose: str = "key first",
    rate: Rate = Rate(100 / 60, 100.0, 60),  # noqa: B008 - a frozen value
) -> Standing:
    bucket = (limit, "example", FIRST.id)
    found = Found(bucket, "digest", debt, 0, store, worker)
    return Standing(bucket, whose, rate, debt, 99, 0.6, wait_s, found)


def lines(*rows: Standing) -> list[str]:
    return [unstyle(line) for line in table(rows)]


def test_a_table_says_whose_how_much_and_for_how_long() -> None:
    assert lines(row(), row(12.3, 100.0, whose="key second")) == [
        "LIMIT    WHOSE       RATE     LEFT    DEBT  FULL IN  REFUSES",
        "per-key  key first   100/min  99/100  1     0.6 s    no",
        "per-key  key second  100/min  99/100  100   0.6 s    13 s",
    ]


def test_where_a_bucket_is_stands_there_if_there_is_more_than_one_place() -> None:
    told = lines(row(store=Store.MEMORY, worker=0), row(store=Store.OUTAGE, worker=1))
    assert told[0].endswith("REFUSES  WHERE")
    assert told[1].endswith("no       worker 0")
    assert told[2].endswith("no       outage, worker 1")
    assert lines(row(), row(store=Store.OUTAGE))[2].endswith("no       outage")
    assert not lines(row(store=Store.MEMORY))[0].endswith("WHERE")


def test_what_is_no_bucket_and_what_never_passes_are_said() -> None:
    assert lines(row(NEVER, None))[1].split()[3:] == ["100/min", "?/100", "not", "a", "bucket", "?", "all"]
    assert lines(row(NEVER))[1].endswith("always")


def test_on_a_narrow_terminal_less_is_said_of_whose_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((80, 24)))
    monkeypatch.setattr(sys.stdout, "fileno", lambda: 1, raising=False)
    told = lines(row(whose="customer " + "x" * 100))
    assert max(map(len, told)) == 80
    assert "xxx... " in told[1]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.01, "0.1 s"),
        (9.94, "10 s"),
        (10.1, "11 s"),
        (120, "120 s"),
        (121, "3 min"),
        (7200, "120 min"),
        (7201, "3 h"),
        (172_801, "3 d"),
    ],
)
def test_a_time_is_rounded_up_in_the_unit_that_says_most(seconds: float, text: str) -> None:
    assert lines(row(seconds))[1].endswith(f"  {text}")


def test_a_verdict_names_the_bucket_and_the_moment_never_before_the_truth() -> None:
    (line,) = map(unstyle, verdict([row(12.3), row()], NOW, whole=True))
    assert line == "refused by `per-key` (key first) in redis: until 2026-06-01T12:00:13Z, for 13 s"
    (even,) = map(unstyle, verdict([row(0.5)], NOW, whole=True))
    assert "until 2026-06-01T12:00:01Z, for 0.5 s" in even


def test_what_a_sidecar_has_for_an_outage_refuses_only_there_while_redis_answers() -> None:
    kept = row(12.3, store=Store.OUTAGE)
    (line,) = map(unstyle, verdict([kept], NOW, whole=True))
    assert line.endswith("for 13 s, where redis does not decide")
    assert "where" not in unstyle(next(iter(verdict([kept], NOW, whole=False))))


def test_a_verdict_without_refusals_is_good_only_where_everything_was_seen() -> None:
    assert [unstyle(line) for line in verdict([row()], NOW, whole=True)] == [
        "nothing here refuses a request now"
    ]
    assert [*verdict([row()], NOW, whole=False)] == [
        "redis cannot be read; here is what the sidecar has for a time without it"
    ]


def test_limits_that_have_no_bucket_without_redis_say_what_they_do() -> None:
    local = EVERYBODY.limits["per-key"]
    deny = replace(local, name="money", on_store_error=OnStoreError.DENY)
    allow = replace(local, name="lax", on_store_error=OnStoreError.ALLOW)
    assert [*without_buckets([local, deny, deny, allow])] == [
        "a sidecar without redis refuses everything by `money` (`onStoreError`)",
        "a sidecar without redis refuses nothing by `lax` (`onStoreError`)",
    ]


def test_a_bucket_in_shadow_refuses_nobody() -> None:
    shadow = row(12.0, limit="shadow/per-key")
    assert [unstyle(line) for line in verdict([shadow], NOW, whole=True)] == [
        "nothing here refuses a request now"
    ]
    assert lines(shadow)[1].startswith("per-key (shadow)")


def test_what_is_no_bucket_and_what_costs_too_much_have_verdicts_of_their_own() -> None:
    broken, never = map(unstyle, verdict([row(NEVER, None), row(NEVER)], NOW, whole=True))
    assert broken.startswith("broken: `per-key` ")
    assert "is no bucket" in broken
    assert "always" in never


def test_json_says_the_same_to_machines() -> None:
    told = as_json(row(12.25, 100.0, store=Store.MEMORY, worker=1), EVERYBODY.limits["per-key"], NOW)
    assert told == {
        "limit": "per-key",
        "whose": "key first",
        "customers": "example",
        "per": {"identity.key_id": FIRST.id},
        "store": "memory",
        "digest": "digest",
        "worker": 1,
        "rate_per_s": 100 / 60,
        "burst": 100.0,
        "refuses": True,
        "remaining": 99,
        "debt": 100.0,
        "full_in_s": 0.6,
        "refuses_for_s": 12.25,
        "refuses_until": "2026-06-01T12:00:13Z",
    }


def test_json_leaves_out_what_there_is_not() -> None:
    assert "per" not in as_json(row(), None, NOW)
    assert as_json(row(limit="shadow/per-key"), None, NOW)["shadow"] is True
    assert as_json(row(NEVER), None, NOW)["never"] is True
    broken = as_json(row(NEVER, None), None, NOW)
    assert broken["unreadable"] is True
    assert "debt" not in broken
    nowhere = Standing(("per-key", "", "x"), "x", Rate(1.0, 1.0), 0.0, 1, 0.0, 0.0, None, shared=True)
    assert "store" not in as_json(nowhere, None, NOW)
    assert as_json(nowhere, None, NOW)["shared"] is True
    assert where_of(nowhere) == ""
