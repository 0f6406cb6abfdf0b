"""What metrics say of Redis, from what its limiter counts and how its connections stand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from authz.limits.redis.counts import Counts
from authz.limits.redis.session import LinkFacts, Unanswered, WatchedSession
from authz.limits.redis.spender import RedisLimiter
from authz.record.facts import Facts
from authz.record.metrics import Metrics
from authz.wiring.storefacts import Eviction, misset, store_facts, whole, why


def made(*links: LinkFacts) -> tuple[RedisLimiter, WatchedSession, Counts]:
    """A limiter and a session that only say how they stand."""
    counts = Counts()
    limiter = SimpleNamespace(counts=counts, waiting=3)
    session = SimpleNamespace(facts=links, generation=7)
    return cast("RedisLimiter", limiter), cast("WatchedSession", session), counts


def test_counts_and_connections_become_facts() -> None:
    up, down = LinkFacts("a", True, 2, "timeout"), LinkFacts("b", False, 0, "down")
    limiter, session, counts = made(up, up, down)
    counts.spent, counts.remembered, counts.alone, counts.coalesced = 5, 4, 3, 2
    counts.trip([[1], Unanswered("oom")], 300)
    facts = store_facts(limiter, session, Eviction())
    assert (facts.store, facts.coalesced, facts.waiting, facts.connects) == ("redis", 2, 3, 7)
    assert facts.checks == {"asked": 5, "remembered": 4, "alone": 3}
    assert facts.calls == {"answered": 1, "oom": 1}
    assert facts.links == {"up": 2, "down": 1}
    assert facts.evicts is None
    samples = Metrics([], Facts(store=lambda: facts)).samples()
    assert samples["authz_store_round_trip_seconds"][-1][1] == 0.0003


def test_what_is_handed_out_does_not_change_while_it_is_read() -> None:
    limiter, session, counts = made()
    facts = store_facts(limiter, session, Eviction())
    counts.trip([Unanswered("timeout")], 1)
    assert facts.calls == {}


@pytest.mark.parametrize(
    ("told", "may"), [([], None), ([False], False), ([True], True), ([False, True, False], True)]
)
def test_one_server_that_drops_buckets_is_enough(told: list[bool], may: bool | None) -> None:
    eviction = Eviction()
    for evicts in told:
        eviction.learn(evicts)
    assert eviction.may is may


@pytest.mark.parametrize(
    ("opened", "word", "told"),
    [
        (0, "wrongpass", True),
        (0, "noperm", True),
        (0, "tls", True),
        (0, "timeout", False),  # it may come back by itself
        (0, "loading", False),
        (0, "", False),
        (3, "wrongpass", False),  # it was well: whoever serves already goes on
    ],
)
def test_settings_that_never_reach_a_server_are_told_apart_from_one_that_is_away(
    opened: int, word: str, told: bool
) -> None:
    session = made(LinkFacts("redis:6379", False, opened, word))[1]
    assert misset(session) == (
        f"redis:6379 cannot be used ({word}): see REDIS_URL, and docs/redis.md" if told else ""
    )


def test_a_store_answers_if_each_of_its_servers_does() -> None:
    up, down = LinkFacts("a", True, 1, ""), LinkFacts("b", False, 1, "timeout")
    assert whole(made(up, up)[1])
    assert not whole(made(up, down)[1])


def test_what_is_wrong_with_servers_is_a_word_for_each_that_cannot_be_used() -> None:
    up, lost, odd = (
        LinkFacts("a", True, 2, "timeout"),
        LinkFacts("b", False, 0, "wrongpass"),
        LinkFacts("c", False, 0, ""),
    )
    assert why(made(up, lost, lost, odd)[1]) == " (wrongpass)"
    assert why(made(up, odd)[1]) == ""
