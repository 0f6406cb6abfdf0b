"""The spender, over a session that answers what each test prepared; on real Redis: tests/contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from struct import unpack
from threading import Event

import pytest
from structlog.testing import capture_logs

from authz.limits.outage import Outage
from authz.limits.redis.keys import Keys
from authz.limits.redis.session import Reply, ScriptCall, Unanswered
from authz.limits.redis.spender import RedisLimiter
from authz.limits.seen import Seen
from authz.model.limit import OnStoreError, Store
from tests.support.spending import Scripted, Wanting, spend

TOKEN = 1 << 20
SOON_S = 10.0


class Desk:
    """Takes what a limiter hands on."""

    def __init__(self) -> None:
        self.taken: list[Wanting] = []
        self._done = Event()
        self._awaited = 0

    def take(self, checks: Sequence[Wanting]) -> None:
        self.taken += checks
        if len(self.taken) >= self._awaited:
            self._done.set()

    def wait(self, count: int) -> list[Wanting]:
        """Wait for so many checks in all."""
        self._awaited = count
        self._done.clear()
        assert len(self.taken) >= count or self._done.wait(SOON_S)
        return self.taken


class Clock:
    def __init__(self) -> None:
        self.now_us = 1_000_000

    def __call__(self) -> int:
        return self.now_us


class Rig:
    """A limiter with everything that it needs."""

    def __init__(self, session: Scripted, fleet: int = 1) -> None:
        self.session, self.clock, self.desk = session, Clock(), Desk()
        self.crashes: list[BaseException] = []
        seen = Seen()
        self.limiter = RedisLimiter(
            session,
            Keys("test"),
            seen,
            Outage(lambda: fleet, seen, self.clock),
            self.clock,
            self.crashes.append,
        )

    def spend(self, *checks: Wanting) -> list[Wanting]:
        """Spend and wait until all came back."""
        before = len(self.desk.taken)
        self.limiter.spend(checks, self.desk.take)
        return self.desk.wait(before + len(checks))


@contextmanager
def rig(*replies: Sequence[Reply]) -> Iterator[Rig]:
    made = Rig(Scripted(*replies))
    made.limiter.start()
    try:
        yield made
    finally:
        made.limiter.close()
    assert made.crashes == []


def test_a_check_has_what_redis_said() -> None:
    with rig([[1, TOKEN]]) as made:
        check = Wanting(spend())
        made.spend(check)
    assert check.spent is not None
    assert (check.spent[0].passed, check.spent[0].remaining, check.spent[0].store) == (True, 19, Store.REDIS)
    assert made.limiter.counts.spent == 1


def test_checks_that_are_left_together_are_one_call() -> None:
    with rig([[1, TOKEN, 0, 20 * TOKEN]]) as made:
        one, other = Wanting(spend(value="k1")), Wanting(spend(value="k2"))
        made.spend(one, other)
    assert (one.passed, other.passed) == (True, False)
    assert len(made.session.asked) == 1


def test_while_redis_is_asked_the_next_batch_piles_up() -> None:
    class Slow(Scripted):
        def __init__(self, *replies: Sequence[Reply]) -> None:
            super().__init__(*replies)
            self.asking, self.go_on = Event(), Event()

        def run(self, calls: Sequence[ScriptCall]) -> Sequence[Reply]:
            self.asking.set()
            assert self.go_on.wait(SOON_S)
            return super().run(calls)

    session = Slow([[1, TOKEN]], [[1, TOKEN, 1, TOKEN, 1, TOKEN]])
    made = Rig(session)
    made.limiter.start()
    made.limiter.spend([Wanting(spend(value="first"))], made.desk.take)
    assert session.asking.wait(SOON_S)
    for value in ("a", "b", "c"):
        made.limiter.spend([Wanting(spend(value=value))], made.desk.take)
    session.go_on.set()
    made.desk.wait(4)
    made.limiter.close()
    assert [len(calls[0].keys) for calls in session.asked] == [1, 3]


def test_a_bucket_without_room_is_not_asked_again() -> None:
    with rig([[0, 20 * TOKEN]]) as made:
        made.spend(Wanting(spend()))
        again = Wanting(spend())
        made.limiter.spend([again], made.desk.take)  # at once, on this thread: there is no other answer
        assert made.desk.taken[-1] is again
    assert again.spent is not None
    assert (again.passed, again.spent[0].store) == (False, Store.REDIS)
    assert made.limiter.counts.remembered == 1
    assert len(made.session.asked) == 1


@pytest.mark.parametrize(
    ("mode", "passed", "failed"),
    [
        (OnStoreError.LOCAL, True, False),
        (OnStoreError.ALLOW, True, False),
        (OnStoreError.DENY, False, True),
    ],
)
def test_what_redis_does_not_answer_is_decided_as_the_limit_says(
    mode: OnStoreError, passed: bool, failed: bool
) -> None:
    with rig([Unanswered("timeout")]) as made:
        check = Wanting(spend()._replace(on_store_error=mode))
        made.spend(check)
    assert check.spent is not None
    bucket = check.spent[0]
    assert (bucket.passed, bucket.failed, bucket.store) == (passed, failed, Store.OUTAGE)
    assert made.limiter.counts.alone == 1


def test_where_nobody_would_answer_the_judging_thread_decides_at_once() -> None:
    with rig() as made:
        made.session.up = False
        check = Wanting(spend())
        made.limiter.spend([check], made.desk.take)
        assert made.desk.taken == [check]
    assert made.session.asked == []


def test_a_round_trip_that_fails_decides_for_everybody_who_waits_by_then() -> None:
    class Dying(Scripted):
        others: Callable[[], None] = staticmethod(lambda: None)

        def run(self, calls: Sequence[ScriptCall]) -> Sequence[Reply]:
            self.asked.append(calls)
            self.others()  # they come while we wait
            self.up = False
            return [Unanswered("timeout")]

    session = Dying()
    made = Rig(session)

    def others() -> None:
        for number in range(5):
            made.limiter.spend([Wanting(spend(value=f"late-{number}"))], made.desk.take)

    session.others = others
    made.limiter.start()
    made.limiter.spend([Wanting(spend())], made.desk.take)
    assert len(made.desk.wait(6)) == 6
    made.limiter.close()
    assert len(session.asked) == 1
    assert made.limiter.counts.alone == 6


def test_of_several_servers_only_what_the_broken_one_had_is_decided_alone() -> None:
    with rig([[1, TOKEN], Unanswered("down")]) as made:
        lucky, other = Wanting(spend(value="k1")), Wanting(spend(value="k2"))
        made.session.slots = {Keys("test").name(other.spends[0]): 9}
        made.spend(lucky, other)
    assert lucky.spent is not None
    assert other.spent is not None
    assert (lucky.spent[0].store, other.spent[0].store) == (Store.REDIS, Store.OUTAGE)


@pytest.mark.parametrize(
    "reply", [[1, TOKEN, 7], [], [2, TOKEN], [-2, TOKEN], [1, -1], [0, 2**63 - 1], [0, 0]]
)
def test_an_answer_that_is_none_decides_nothing_and_costs_the_connection(reply: Sequence[int]) -> None:
    """Nothing of ours crashed: who answers so is asked to prove itself again."""
    with rig([[*reply]]) as made:
        made.session.slots[Keys("test").name(spend())] = 7
        check = Wanting(spend())
        made.spend(check)
    assert check.spent is not None
    assert check.spent[0].store is Store.OUTAGE
    assert check.times == 1
    assert made.session.distrusted == [7]


def test_a_key_that_holds_no_bucket_is_told_of_once_in_a_while() -> None:
    """Redis answers, so nothing else says why checks are decided without it."""
    with capture_logs() as logs, rig([[-1, -1]], [[-1, -1]], [[-1, -1]]) as made:
        made.spend(Wanting(spend()))
        made.spend(Wanting(spend()))
        assert [(line["limits"], line["log_level"]) for line in logs] == [([spend().bucket[0]], "warning")]
        made.clock.now_us += 11_000_000
        made.spend(Wanting(spend()))
    assert [line["event"].startswith("a key in redis holds no bucket") for line in logs] == [True, True]
    assert made.limiter.counts.calls == {"answered": 3, "unreadable": 3}


def test_a_session_that_crashes_leaves_nobody_without_an_answer() -> None:
    made = Rig(Scripted())  # which has no reply: an IndexError of its own
    made.limiter.start()
    check = Wanting(spend())
    made.spend(check)
    made.spend(Wanting(spend()))
    made.limiter.close()
    assert check.times == 1
    assert len(made.crashes) == 2


def test_whoever_waits_at_the_end_is_answered_first() -> None:
    made = Rig(Scripted([[1, TOKEN]]))
    made.limiter.spend([Wanting(spend())], made.desk.take)
    made.limiter.start()
    made.limiter.close()
    assert len(made.desk.taken) == 1
    assert made.session.up is False


def test_trials_of_limits_in_shadow_are_spent_too() -> None:
    with rig([[1, TOKEN]]) as made:
        trial = Wanting(spend()._replace(bucket=("shadow/per-key", "ns", "k1")))
        made.limiter.spend_in_shadow([trial], made.desk.take)
        made.desk.wait(1)
    assert trial.passed


def test_what_a_server_says_that_came_up_meanwhile_replaces_nothing_that_is_known() -> None:
    """Nobody told it our floors: it may have forgotten what the bucket owes."""

    class Replaced(Scripted):
        def run(self, calls: Sequence[ScriptCall]) -> Sequence[Reply]:
            self.generation = max(1, len(self.asked))  # from within the second call on another one
            return super().run(calls)

    made = Rig(Replaced([[1, 9 * TOKEN]], [[1, TOKEN]], [[1, 10 * TOKEN]]))
    made.session.asked.append([])
    made.session.generation = 1
    made.limiter.start()
    for _ in range(3):
        made.spend(Wanting(spend()))
    made.limiter.close()
    floors = [unpack("<3d", calls[0].argument[:24]) for calls in made.session.asked[1:]]
    assert [count for count, _, _ in floors] == [0.0, 0.0, 1.0]
    assert floors[2] == (1.0, 1.0, 9.0)


def test_errands_are_run_beside_spending_and_break_nothing() -> None:
    made = Rig(Scripted([[1, TOKEN]]))
    ran: list[str] = []

    def errand(name: str) -> Callable[[], None]:
        def run() -> None:
            ran.append(name)
            raise OSError(name)

        return run

    made.limiter.tended(errand("tend"), leave=errand("leave"))
    made.limiter.start()
    assert made.spend(Wanting(spend()))[0].passed
    made.limiter.close()
    assert set(ran[:-1]) == {"tend"}
    assert ran[-1] == "leave"
    assert len(made.crashes) == len(ran)


@pytest.mark.parametrize(("after_us", "reached"), [(500_000, True), (10**12, False)])
def test_a_start_waits_for_the_first_connection_and_not_for_ever(after_us: int, reached: bool) -> None:
    made = Rig(Scripted())
    made.session.up = False
    began_us = made.clock.now_us

    def pass_time() -> int:
        made.clock.now_us += 100_000
        made.session.up = made.clock.now_us > began_us + after_us
        return made.clock.now_us

    made.limiter._ticks_us = pass_time
    made.limiter.start(patience_s=1.0)
    assert made.session.up is reached
    assert made.clock.now_us - began_us <= 1_300_000
    made.limiter.close()


def test_a_spender_whose_thread_has_ended_is_not_well_unless_it_was_to_end() -> None:
    made = Rig(Scripted([[1, TOKEN]]))
    assert made.limiter.is_well()
    made.limiter.start()
    assert made.limiter.is_well()
    made.limiter._inbox.put(None)  # as nothing but `close` does
    made.limiter._thread.join(SOON_S)
    assert not made.limiter.is_well()
    made.limiter.close()
    assert made.limiter.is_well()
