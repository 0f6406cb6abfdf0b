"""One look in every store, and what is said besides."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from authz.limits.redis.keys import Keys
from authz.lookout.in_sidecar import Told
from authz.lookout.looking import Look, Lookout
from authz.lookout.naming import Directory
from authz.lookout.selection import Selection, Target
from authz.lookout.standing import Found, Match, Standing
from authz.model.errors import ConfigError
from authz.model.limit import Store
from tests.support.buckets import FIRST, census

EVERYBODY = census()
DIRECTORY = Directory(EVERYBODY, Keys("default"))
REVISION = EVERYBODY.revision


class Sidecar:
    """Finds what it is told to hold."""

    def __init__(self, *held: Found, told: Told | None = None, gone: bool = False) -> None:
        self.held, self.gone = held, gone
        self.told = told or Told(revisions={REVISION})
        self.reset_with: list[tuple[Sequence[Match], Sequence[Target]]] = []

    def find(self, targets: Sequence[Target]) -> list[Match]:
        self._answer()
        return [
            Match(one, target, theirs=True)
            for one in self.held
            for target in targets
            if target.bucket == one.name
        ]

    def fullest(self, _limit: str, _count: int) -> list[Found]:
        self._answer()
        return [*self.held]

    def reset(self, matches: Sequence[Match], targets: Sequence[Target]) -> int:
        self._answer()
        self.reset_with.append((matches, targets))
        return len(matches)

    def _answer(self) -> None:
        if self.gone:
            raise ConfigError("--debug: nobody answers")


class Redis:
    """The same, in Redis."""

    def __init__(self, *held: Found) -> None:
        self.held = held
        self.cut, self.hidden, self.strange = False, list[Target](), set[str]()
        self.deserted, self.where = False, "the keyspace `here`"
        self.removed: list[Match] = []

    def find(self, targets: Sequence[Target]) -> list[Match]:
        return [
            Match(one, target, theirs=True)
            for one in self.held
            for target in targets
            if target.bucket == one.name
        ]

    def fullest(self, _limit: str, _most: int, directory: Directory) -> list[Standing]:
        return [row for one in self.held if (row := directory.standing(one)) is not None]

    def reset(self, matches: Sequence[Match]) -> int:
        self.removed += matches
        return len(matches)


def lookout(sidecar: Sidecar | None = None, redis: Redis | None = None, trouble: str = "") -> Lookout:
    return Lookout(EVERYBODY, DIRECTORY, sidecar, redis, trouble)  # type: ignore[arg-type]  # as it sees them


def held(store: Store, debt: float = 2.0, name: tuple[str, ...] = ("per-key", "example", FIRST.id)) -> Found:
    return Found(name, "d", debt, 0, store)


def of_key(limit: str = "per-key") -> list[Target]:
    return Selection(EVERYBODY, limit).of_key("first")


def names(look: Look) -> list[tuple[str | None, float | None]]:
    return [(row.bucket[0], row.debt) for row in look.rows]


def test_what_refuses_comes_first_and_what_nobody_holds_is_full() -> None:
    look = lookout(Sidecar(held(Store.MEMORY))).find(Selection(EVERYBODY).of_key("first"))
    assert names(look) == [
        ("per-key", 2.0),
        ("all", 0.0),
        ("per-customer", 0.0),
        ("shadow/tried", 0.0),
    ]


def test_a_bucket_in_shadow_of_an_enforced_limit_is_shown_where_somebody_holds_it() -> None:
    shadow = held(Store.MEMORY, name=("shadow/per-key", "example", FIRST.id))
    assert names(lookout(Sidecar(shadow)).find(of_key())) == [("shadow/per-key", 2.0), ("per-key", 0.0)]


def test_of_buckets_that_differ_by_name_space_alone_those_that_are_held_are_shown() -> None:
    targets = Selection(EVERYBODY, "per-network").of_address("203.0.113.7")
    mine = held(Store.MEMORY, name=("per-network", "example", "203.0.113.7/32"))
    assert len(lookout(Sidecar()).find(targets).rows) == 1
    assert names(lookout(Sidecar(mine)).find(targets)) == [("per-network", 2.0)]


def test_those_that_are_held_may_be_all_that_is_asked_for() -> None:
    assert lookout(Sidecar()).find(of_key(), held=True).rows == []


def test_redis_and_what_the_sidecar_decided_without_it_are_shown_together() -> None:
    look = lookout(Sidecar(held(Store.OUTAGE)), Redis(held(Store.REDIS))).find(of_key())
    assert {row.found.store for row in look.rows if row.found} == {Store.OUTAGE, Store.REDIS}


def test_behind_an_outage_a_bucket_that_redis_does_not_hold_is_full_whatever_the_sidecar_still_has() -> None:
    owed = lookout(Sidecar(held(Store.OUTAGE)), Redis()).find(of_key())
    assert {row.found and row.found.store: row.debt for row in owed.rows} == {None: 0.0, Store.OUTAGE: 2.0}
    repaid = lookout(Sidecar(held(Store.OUTAGE, 0.0)), Redis()).find(of_key())
    assert [row.found for row in repaid.rows] == [None]


def test_where_redis_has_the_buckets_a_sidecar_that_does_not_answer_is_a_note() -> None:
    look = lookout(Sidecar(gone=True), Redis(held(Store.REDIS))).find(of_key())
    assert len(look.rows) == 1
    assert look.notes[0].startswith("what a sidecar here decided while redis was away is not shown")


def test_where_the_sidecar_has_the_buckets_it_must_answer() -> None:
    with pytest.raises(ConfigError, match="nobody answers"):
        lookout(Sidecar(gone=True)).find(of_key())


def test_where_redis_does_not_answer_nothing_is_called_full() -> None:
    look = lookout(Sidecar(held(Store.OUTAGE)), trouble="refused").find(Selection(EVERYBODY).of_key("first"))
    assert names(look) == [("per-key", 2.0)]
    assert look.trouble == "refused"


def test_the_fullest_are_of_every_store_and_full_ones_are_left_out() -> None:
    sidecar = Sidecar(
        held(Store.OUTAGE, 0.5), held(Store.OUTAGE, 0.0), held(Store.OUTAGE, name=("gone", "", "x"))
    )
    look = lookout(sidecar, Redis(held(Store.REDIS, 1.0))).fullest("", 10)
    assert [row.debt for row in look.rows] == [1.0, 0.5]
    assert look.notes == ["there are buckets of limits that this set has not: `gone`"]
    assert len(lookout(sidecar, Redis(held(Store.REDIS, 1.0))).fullest("", 1).rows) == 1


@pytest.mark.parametrize(
    ("told", "note"),
    [
        (Told(revisions={REVISION}, limits_off=True), "RATE_LIMIT_ENABLED is false there"),
        (Told(revisions={REVISION}, silent={2, 0}), "not shown: 0, 2"),
        (Told(revisions={REVISION, "abc"}), f"the sidecar serves revision abc, these files are {REVISION}"),
        (Told(revisions={REVISION}, cut=True), "holds more buckets than it tells of"),
        (Told(revisions={REVISION}, stores={Store.OUTAGE}), "set REDIS_URL to see them"),
    ],
)
def test_what_a_reader_must_know_is_a_note(told: Told, note: str) -> None:
    (said,) = lookout(Sidecar(told=told)).find(of_key()).notes
    assert note in said


def test_a_sidecar_that_does_not_use_redis_is_a_note() -> None:
    told = Told(revisions={REVISION}, stores={Store.MEMORY})
    assert lookout(Sidecar(told=told), Redis()).find(of_key()).notes == [
        "this sidecar keeps its buckets in memory: it runs without REDIS_URL"
    ]


def test_what_redis_was_not_asked_for_is_a_note() -> None:
    redis = Redis()
    redis.cut, redis.hidden, redis.deserted = True, of_key(), True
    notes = lookout(None, redis).find(of_key()).notes
    assert notes[0].startswith("no sidecar spends in the keyspace `here`: ")
    assert "raise --visits" in notes[1]
    assert "`per-key` cannot be found" in notes[2]


def test_a_bucket_that_others_draw_from_is_reset_where_its_limit_is_named() -> None:
    (shared,) = [target for target in of_key("all") if not target.in_shadow]
    match = Match(held(Store.REDIS, name=shared.name), shared, theirs=True)
    assert not lookout().may_reset(match, named=False)
    assert lookout().may_reset(match, named=True)
    late = Match(Found(("all",), "d", 1.0, 0, Store.MEMORY), shared, theirs=False)
    assert not lookout().may_reset(late, named=False)
    assert lookout().may_reset(late, named=True)


def test_what_may_be_somebody_elses_is_never_reset() -> None:
    (target, *_) = of_key()
    match = Match(Found(("per-key",), "d", 1.0, 0, Store.REDIS, tag="t"), target, theirs=False)
    assert not lookout().may_reset(match, named=True)


def test_each_store_resets_its_own_and_the_sidecar_forgets_what_it_saw_in_redis() -> None:
    sidecar, redis = Sidecar(), Redis()
    (target, *_) = of_key()
    outside = Match(held(Store.REDIS), target, theirs=True)
    inside = Match(held(Store.OUTAGE), target, theirs=True)
    assert lookout(sidecar, redis).reset([outside, inside], [target]) == 2
    assert redis.removed == [outside]
    assert sidecar.reset_with == [([inside], [target])]


def test_without_redis_there_is_nothing_to_forget() -> None:
    sidecar = Sidecar()
    (target, *_) = of_key()
    assert lookout(sidecar).reset([], [target]) == 0
    assert sidecar.reset_with == []


def test_a_sidecar_that_is_gone_forgets_by_itself_but_holds_what_it_holds() -> None:
    (target, *_) = of_key()
    assert lookout(Sidecar(gone=True), Redis()).reset([], [target]) == 0
    inside = Match(held(Store.OUTAGE), target, theirs=True)
    with pytest.raises(ConfigError):
        lookout(Sidecar(gone=True), Redis()).reset([inside], [target])


def test_what_was_found_is_told_in_the_order_of_a_look() -> None:
    (target, *_) = of_key()
    matches = [Match(held(Store.REDIS, debt), target, theirs=True) for debt in (0.5, 2.0)]
    assert [row.debt for row in lookout().seen(matches)] == [2.0, 0.5]
