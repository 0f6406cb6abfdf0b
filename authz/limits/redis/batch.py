"""Everything that waits, as one call of the script for each slot; and what it answered, check by check.

Checks that ask for the same are one entry: the script hands out their tokens one after the other, so a bucket
that everybody draws from costs Redis no more than one that nobody else knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from authz.limits.bucket import QUANTA_PER_TOKEN
from authz.limits.outcome import charged, refused
from authz.limits.redis.order import Order, Orders
from authz.limits.redis.script import UNREADABLE, encode
from authz.limits.redis.session import ScriptCall
from authz.limits.seen import Found, Spends
from authz.limits.store import Spending
from authz.model.limit import Spent, Store

# Of one script call, and of one round trip. Redis serves nobody else meanwhile: 128 entries of two buckets
# take it about half a millisecond. A round trip costs the spender two waits for the interpreter, so it keeps
# pace by large batches: with 64 entries a queue that had formed at 10,000/s stayed.
ENTRIES_MAX = 128
KEYS_MAX = 512

DEBT_MAX = 1 << 42
"""Tokens: what the script still reads of a bucket, `MOST` there."""

_SAID_MAX = DEBT_MAX * QUANTA_PER_TOKEN

_REDIS = Store.REDIS

_NEVER = "the script's answer has numbers that it never gives"

Floors = Callable[[Spends], Sequence[float]]


class Entry:
    """Checks that ask for the same tokens of the same buckets."""

    __slots__ = ("checks", "order")

    def __init__(self, order: Order, check: Spending) -> None:
        self.order = order
        self.checks = [check]

    def settle(self, passed: int, debts: Sequence[float]) -> None:
        """Hand out what was granted, in order.

        Args:
            passed: how many checks have their tokens.
            debts: of each bucket when all of them were charged, tokens.
        """
        spends, checks = self.order.spends, self.checks
        if passed == len(checks) == 1:  # nearly always
            checks[0].settle(
                tuple([charged(spend, debt, _REDIS) for spend, debt in zip(spends, debts, strict=True)])
            )
            return
        for number, check in enumerate(checks[:passed], 1):
            later = passed - number
            check.settle(
                tuple(
                    [
                        charged(spend, debt - later * spend.cost, _REDIS)
                        for spend, debt in zip(spends, debts, strict=True)
                    ]
                )
            )
        if passed < len(checks):
            spent = self._refused(debts)
            for check in checks[passed:]:
                check.settle(spent)

    def verify(self, passed: int, debts: Sequence[float]) -> None:
        """Raise ValueError where that cannot be what the script said of this entry.

        SECURITY: a check is allowed if each of its buckets had room; a refusal in which all have is none.
        """
        if not 0 <= passed <= len(self.checks) or min(debts) < 0.0:
            raise ValueError(_NEVER)
        if passed < len(self.checks) and all(spent.passed for spent in self._refused(debts)):
            raise ValueError("the script's answer refuses a check that fits")

    def _refused(self, debts: Sequence[float]) -> tuple[Spent, ...]:
        spends = self.order.spends
        return tuple([refused(spend, debt, _REDIS) for spend, debt in zip(spends, debts, strict=True)])


class Settled(NamedTuple):
    """What came of a page."""

    unread: list[Spending]  # checks that have a bucket which cannot be read: nobody has settled them
    found: list[Found]


class Page:
    """The entries of one slot: one call of the script."""

    __slots__ = ("_entries", "_floors", "_names", "slot")

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self._entries: list[Entry] = []
        self._names: list[bytes] = []
        self._floors: list[float] = []

    def add(self, entry: Entry, floors: Sequence[float]) -> None:
        """Take an entry.

        Args:
            floors: the least debt of each of its buckets, as far as we know; empty where nobody need say so.
        """
        if floors:
            for number, least in enumerate(floors, len(self._names) + 1):
                if least > 0.0:
                    self._floors += (number, least)
        self._entries.append(entry)
        self._names += entry.order.names

    def call(self) -> ScriptCall:
        """Return the call."""
        written = [
            entry.order.once if len(entry.checks) == 1 else entry.order.times(len(entry.checks))
            for entry in self._entries
        ]
        return ScriptCall(self.slot, tuple(self._names), encode(self._floors, written))

    def settle(self, reply: Sequence[int]) -> Settled:
        """Settle what the script answered.

        Raises:
            ValueError: that is no answer to this call; nobody is settled.
        """
        if len(reply) != len(self._entries) + len(self._names):
            raise ValueError("the script's answer has another length than its question asks for")
        least = min(reply)  # in C, over the whole answer: what is odd in no number need not be looked for
        if least < UNREADABLE or max(reply) > _SAID_MAX:
            raise ValueError(_NEVER)
        unread: list[Spending] = []
        read: list[tuple[Entry, int, list[float]]] = []
        at = 0
        for entry in self._entries:
            end = at + 1 + entry.order.size
            passed, debts = reply[at], [quanta / QUANTA_PER_TOKEN for quanta in reply[at + 1 : end]]
            at = end
            if passed == UNREADABLE:
                unread += entry.checks
                continue
            if least < 0 or passed != len(entry.checks):
                entry.verify(passed, debts)
            read.append((entry, passed, debts))
        for entry, passed, debts in read:
            entry.settle(passed, debts)
        return Settled(unread, [(entry.order.spends, debts) for entry, _, debts in read])

    @property
    def checks(self) -> list[Spending]:
        """Every check of it."""
        return [check for entry in self._entries for check in entry.checks]


class Batch:
    """What one round trip spends.

    Args:
        orders: knows what checks ask for.
        floors: returns the least debts of an entry's buckets, see Page; None where there are none.
    """

    __slots__ = ("_by_order", "_floors", "_named", "_orders", "coalesced", "pages")

    def __init__(self, orders: Orders, floors: Floors | None) -> None:
        self._orders = orders
        self._floors = floors
        self._by_order: dict[Order, Entry] = {}
        self._named = 0
        self.pages: dict[int, Page] = {}
        self.coalesced = 0  # checks that joined the entry of another

    @property
    def entries(self) -> int:
        """How many entries it has."""
        return len(self._by_order)

    @property
    def full(self) -> bool:
        """Whether the rest waits for the next round trip."""
        return len(self._by_order) >= ENTRIES_MAX or self._named >= KEYS_MAX

    def fill(self, checks: Sequence[Spending]) -> int:
        """Take checks until it is full; return how many were taken."""
        by_order, order_of = self._by_order, self._orders.of
        for taken, check in enumerate(checks):
            if len(by_order) >= ENTRIES_MAX or self._named >= KEYS_MAX:
                return taken
            order = order_of(check.spends)
            entry = by_order.get(order)
            if entry is None:
                by_order[order] = self._new(order, check)
            else:
                entry.checks.append(check)
                self.coalesced += 1
        return len(checks)

    def _new(self, order: Order, check: Spending) -> Entry:
        entry = Entry(order, check)
        page = self.pages.get(order.slot)
        if page is None:
            page = self.pages[order.slot] = Page(order.slot)
        page.add(entry, self._floors(order.spends) if self._floors is not None else ())
        self._named += order.size
        return entry
