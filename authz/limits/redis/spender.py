"""Spends in Redis for every judging thread of one process, on a thread of its own.

    judging thread   nobody would answer  -> decided here and now, as each limit says
                     a bucket surely has no room -> refused here and now
                     else -> left for the spender
    spender          takes everything that waits, asks once, hands on what came of it

While it waits for Redis, checks pile up into its next batch: cost per check falls as load rises, and where
little is asked nobody waits for a timer. A check waits for the round trip that is under way, and for its own;
if the one under way fails, it is decided at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from time import sleep
from typing import Any, NamedTuple, cast

from authz.config.log import get_logger
from authz.limits.outage import Outage
from authz.limits.redis.batch import Batch, Page, Settled
from authz.limits.redis.counts import UNREADABLE, Counts
from authz.limits.redis.keys import Keys
from authz.limits.redis.order import Orders
from authz.limits.redis.session import Reply, Session, Unanswered
from authz.limits.seen import Seen
from authz.limits.store import S, Spending

Then = Callable[[Sequence[Any]], None]

FIRST_S = 1.0  # for the first connection; what a server needs that is well, and a little more
_LOOK_S = 0.005  # at whether it is there
_IDLE_S = 1.0  # between looks at what is due while nothing is asked
_CRASHED = Unanswered("crashed")
_TELL_EVERY_US = 10_000_000  # of keys that hold something else

log = get_logger("limits")


class Waiting(NamedTuple):
    """Checks that one judging thread left together."""

    checks: Sequence[Spending]
    then: Then


class RedisLimiter:
    """Token buckets in Redis: exact over every process that shares its keyspace.

    Args:
        ticks_us: a clock that never goes back.
        crashed: told of each exception that nobody expected.
    """

    later = True

    def __init__(
        self,
        session: Session,
        keys: Keys,
        seen: Seen,
        outage: Outage,
        ticks_us: Callable[[], int],
        crashed: Callable[[BaseException], None],
    ) -> None:
        self._session = session
        self._orders = Orders(keys, session.slot)
        self._seen = seen
        self._outage = outage
        self._ticks_us = ticks_us
        self._crashed = crashed
        self._chores: tuple[Callable[[], None], ...] = ()
        self._leave: Callable[[], None] = lambda: None
        self._inbox: SimpleQueue[Waiting | None] = SimpleQueue()  # None: end
        self._held: deque[Waiting] = deque()  # taken from the inbox, and one batch was full before
        self._thread = Thread(target=self._run, name="spender", daemon=True)
        self._closing = False
        self._tell_from_us = ticks_us()
        self.counts = Counts()

    def tended(self, *chores: Callable[[], None], leave: Callable[[], None]) -> None:
        """Name what else the spender's thread does; before `start`.

        Args:
            chores: called about once a second, and after each round trip.
            leave: called once nobody spends any more.
        """
        self._chores, self._leave = chores, leave

    def start(self, patience_s: float = FIRST_S) -> None:
        """Begin to connect and to spend.

        A sidecar that replaces another would decide its first checks alone, so it waits for a moment.

        Args:
            patience_s: how long to wait for the first connection; after it, checks are decided without.
        """
        self._session.start()
        end_us = self._ticks_us() + int(patience_s * 1e6)
        while not self._session.answers() and self._ticks_us() < end_us:
            sleep(_LOOK_S)
        self._thread.start()

    def close(self) -> None:
        """Spend what waits, then let go of Redis. Nobody may spend afterwards. Safe before `start`."""
        self._closing = True
        if self._thread.ident is not None:
            self._inbox.put(None)
            self._thread.join()
        self._session.close()

    def spend(self, waiting: Sequence[S], then: Callable[[Sequence[S]], None]) -> None:
        """Settle at once what needs no answer; leave the rest for the spender."""
        if not self._session.answers():
            self._decide(waiting, then)
            return
        now_us = self._ticks_us()
        asking: list[S] = []
        refused: list[S] = []
        for check in waiting:
            spent = self._seen.refusal(check.spends, now_us)
            if spent is None:
                asking.append(check)
            else:
                check.settle(spent)
                refused.append(check)
        if refused:
            number = len(refused)
            self.counts.remembered += number
            then(refused)
        if asking:
            self._hand_over(asking, then)

    def spend_in_shadow(self, trials: Sequence[S], then: Callable[[Sequence[S]], None]) -> None:
        """Leave them for the spender: their buckets have names of their own."""
        if self._session.answers():
            self._hand_over(trials, then)
        else:
            self._decide(trials, then)

    def is_well(self) -> bool:
        """Whether somebody spends what is left for him; before the start and at the end nobody need."""
        return self._closing or self._thread.ident is None or self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """About how many hands of checks wait for the spender."""
        return self._inbox.qsize() + len(self._held)

    def _hand_over(self, checks: Sequence[S], then: Callable[[Sequence[S]], None]) -> None:
        self._inbox.put(Waiting(checks, cast("Then", then)))
        if not self._session.answers():  # perhaps after the spender looked for the last time
            self._decide_inbox()

    def _decide(self, checks: Sequence[S], then: Callable[[Sequence[S]], None]) -> None:
        """Decide without Redis, on whatever thread."""
        now_us = self._ticks_us()
        for check in checks:
            check.settle(self._outage.decide(check.spends, now_us))
        number = len(checks)  # INVARIANT: before the sum, see Counts
        self.counts.alone += number
        then(checks)

    def _decide_inbox(self) -> None:
        """Decide everything that was left and not yet taken."""
        ended = False
        with suppress(Empty):
            while True:
                waiting = self._inbox.get_nowait()
                if waiting is None:
                    ended = True
                else:
                    self._decide(*waiting)
        if ended:
            self._inbox.put(None)

    # --- the spender's thread

    def _run(self) -> None:
        while self._await():
            self._guarded(self._turn)
        self._guarded(self._leave)

    def _guarded(self, step: Callable[[], None]) -> None:
        """Take a step, and go on whatever it raises: who is left unsettled is refused by the sweep."""
        try:
            step()
        except BaseException as error:  # noqa: BLE001 - SECURITY: this thread must not end
            self._crashed(error)

    def _await(self) -> bool:
        """Wait until somebody waits; False where there is nothing left to do for ever."""
        while not self._held:
            for chore in self._chores:
                self._guarded(chore)
            try:
                waiting = self._inbox.get(timeout=_IDLE_S)
            except Empty:
                continue
            if waiting is None:
                return False
            self._held.append(waiting)
        return True

    def _turn(self) -> None:
        """Spend one batch, and hand on whoever was in it."""
        generation, sent_us = self._session.generation, self._ticks_us()
        batch = Batch(self._orders, self._seen.floors_for(sent_us, generation))
        hands = self._gather(batch)
        pages = list(batch.pages.values())
        replies = self._ask(pages)
        trip_us = self._ticks_us() - sent_us
        self.counts.coalesced += batch.coalesced

        # Of a connection that came up meanwhile nobody knows whether it was told our floors: the next call
        # tells them, so what is known now must not be replaced by what a server says that may have forgotten.
        known = self._session.generation == generation

        alone: list[Spending] = []
        for page, reply in zip(pages, replies, strict=True):
            unread, found = self._settle(page, reply)
            alone += unread
            if known:
                self._seen.learn(found, sent_us, generation, trip_us)
        self._settle_alone(alone)
        self.counts.spent += sum(len(hand.checks) for hand in hands) - len(alone)
        for hand in hands:
            hand.then(hand.checks)
        if alone and not self._session.answers():
            self._decide_rest()

    def _gather(self, batch: Batch) -> list[Waiting]:
        """Fill a batch with what waits, first come, first served."""
        hands: list[Waiting] = []
        while not batch.full and self._more():
            checks, then = self._held.popleft()
            taken = batch.fill(checks)
            if taken < len(checks):
                self._held.appendleft(Waiting(checks[taken:], then))
                checks = checks[:taken]
            hands.append(Waiting(checks, then))
        return hands

    def _more(self) -> bool:
        """Take something from the inbox, unless something is held; False where nobody waits."""
        if self._held:
            return True
        try:
            waiting = self._inbox.get_nowait()
        except Empty:
            return False
        if waiting is None:
            self._inbox.put(None)  # for `_await`, once the rest is done
            return False
        self._held.append(waiting)
        return True

    def _ask(self, pages: Sequence[Page]) -> Sequence[Reply]:
        replies: Sequence[Reply]
        began_us = self._ticks_us()
        try:
            replies = self._session.run([page.call() for page in pages])
        except Exception as error:  # noqa: BLE001 - a bug of ours: each limit says what happens then
            self._crashed(error)
            replies = [_CRASHED] * len(pages)
        self.counts.trip(replies, self._ticks_us() - began_us)
        return replies

    def _settle(self, page: Page, reply: Reply) -> Settled:
        """Settle one page; whom Redis did not decide is unread."""
        if isinstance(reply, Unanswered):
            return Settled(page.checks, [])
        try:
            settled = page.settle(reply)
        except ValueError:  # nothing of ours broke: that is no Redis, or it does not run our script
            self._session.distrust(page.slot)
            return Settled(page.checks, [])
        if settled.unread:
            self._tell_unread(settled.unread)
        return settled

    def _tell_unread(self, checks: Sequence[Spending]) -> None:
        """Say that what stands at a bucket's key is none; Redis itself answers, so nothing else says so."""
        self.counts.calls[UNREADABLE] += 1
        now_us = self._ticks_us()
        if now_us >= self._tell_from_us:
            self._tell_from_us = now_us + _TELL_EVERY_US
            limits = {spend.bucket[0] for check in checks for spend in check.spends}
            log.warning(
                "a key in redis holds no bucket: checks that need it do what `onStoreError` says",
                limits=sorted(filter(None, limits)),
                mend="`authz limits top` shows it, `authz limits reset` removes it",
            )

    def _settle_alone(self, checks: Sequence[Spending]) -> None:
        now_us = self._ticks_us()
        for check in checks:
            check.settle(self._outage.decide(check.spends, now_us))
        number = len(checks)  # INVARIANT: before the sum, see Counts
        self.counts.alone += number

    def _decide_rest(self) -> None:
        """Nobody answers any more: decide whoever waits, instead of letting each wait for itself."""
        while self._held:
            self._decide(*self._held.popleft())
        self._decide_inbox()
