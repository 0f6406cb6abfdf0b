"""Everything that waits, as one call of the script for each slot; and what it answered, check by check.

Checks that ask for the same are one entry: the script hands out their tokens one after the other, so a bucket
that everybody draws from costs Redis no more than one that nobody else knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from authz.limits.outcome import charged, refused
from authz.limits.redis.keys import Keys
from authz.limits.redis.script import UNREADABLE, encode, tokens
from authz.limits.redis.session import ScriptCall
from authz.limits.store import Spending
from authz.model.limit import Spend, Spent, Store

# Of one script call, and of one round trip: Redis serves nobody else meanwhile. 64 entries take about 0.3 ms.
ENTRIES_MAX = 64
KEYS_MAX = 256

DEBT_MAX = float(1 << 42)
"""Tokens: what the script still reads of a bucket, `MOST` there."""

_REDIS = Store.REDIS

Floor = Callable[[Spend], float]
Learn = Callable[[Spend, float], None]


class Entry:
    """Checks that ask for the same tokens of the same buckets."""

    __slots__ = ("checks", "spends")

    def __init__(self, spends: tuple[Spend, ...], check: Spending) -> None:
        self.spends = spends
        self.checks = [check]

    def settle(self, passed: int, debts: Sequence[float]) -> None:
        """Hand out what was granted, in order.

        Args:
            passed: how many checks have their tokens.
            debts: of each bucket when all of them were charged, tokens.
        """
        for number, check in enumerate(self.checks[:passed], 1):
            later = passed - number
            check.settle(
                tuple(
                    [
                        charged(spend, debt - later * spend.cost, _REDIS)
                        for spend, debt in zip(self.spends, debts, strict=True)
                    ]
                )
            )
        if passed < len(self.checks):
            spent = self._refused(debts)
            for check in self.checks[passed:]:
                check.settle(spent)

    def verify(self, passed: int, debts: Sequence[float]) -> None:
        """Raise ValueError where that cannot be what the script said of this entry.

        SECURITY: a check is allowed if each of its buckets had room; a refusal in which all have is none.
        """
        if not 0 <= passed <= len(self.checks) or min(debts) < 0.0 or max(debts) > DEBT_MAX:
            raise ValueError("the script's answer has numbers that it never gives")
        if passed < len(self.checks) and all(spent.passed for spent in self._refused(debts)):
            raise ValueError("the script's answer refuses a check that fits")

    def _refused(self, debts: Sequence[float]) -> tuple[Spent, ...]:
        return tuple([refused(spend, debt, _REDIS) for spend, debt in zip(self.spends, debts, strict=True)])


class Page:
    """The entries of one slot: one call of the script."""

    __slots__ = ("_entries", "_floors", "_indexes", "_values", "slot")

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self._entries: list[Entry] = []
        self._indexes: dict[bytes, int] = {}
        self._floors: list[float] = []
        self._values: list[tuple[float, ...]] = []

    def add(self, entry: Entry, names: Sequence[bytes], floor: Floor) -> None:
        """Take an entry whose buckets have these keys."""
        values: list[float] = []
        for spend, name in zip(entry.spends, names, strict=True):
            index = self._indexes.get(name)
            if index is None:
                index = self._indexes[name] = len(self._indexes) + 1
                least = floor(spend)
                if least > 0.0:
                    self._floors += (index, least)
            rate = spend.rate
            values += (index, rate.rate_per_s, rate.burst_tokens, spend.cost)
        self._entries.append(entry)
        self._values.append(tuple(values))

    def call(self) -> ScriptCall:
        """Return the call."""
        written: list[float] = []
        for entry, values in zip(self._entries, self._values, strict=True):
            written += (len(entry.checks), len(entry.spends), *values)
        return ScriptCall(self.slot, tuple(self._indexes), encode(self._floors, written))

    def settle(self, reply: Sequence[int], learn: Learn) -> list[Spending]:
        """Settle what the script answered; return the checks of entries with a bucket that it cannot read.

        Raises:
            ValueError: that is no answer to this call; nobody is settled.
        """
        if len(reply) != sum(1 + len(entry.spends) for entry in self._entries):
            raise ValueError("the script's answer has another length than its question asks for")
        unread: list[Spending] = []
        read: list[tuple[Entry, int, list[float]]] = []
        at = 0
        for entry in self._entries:
            passed, quanta = reply[at], reply[at + 1 : at + 1 + len(entry.spends)]
            at += 1 + len(entry.spends)
            if passed == UNREADABLE:
                unread += entry.checks
                continue
            debts = [tokens(one) for one in quanta]
            entry.verify(passed, debts)
            read.append((entry, passed, debts))
        for entry, passed, debts in read:
            entry.settle(passed, debts)
            for spend, debt in zip(entry.spends, debts, strict=True):
                learn(spend, debt)
        return unread

    @property
    def checks(self) -> list[Spending]:
        """Every check of it."""
        return [check for entry in self._entries for check in entry.checks]


class Batch:
    """What one round trip spends.

    Args:
        slot: returns where a key lies.
        floor: returns the least debt that a bucket has, as far as we know; 0.0 where nobody need say so.
    """

    __slots__ = ("_floor", "_keys", "_marks", "_named", "_slot", "coalesced", "entries", "pages")

    def __init__(self, keys: Keys, slot: Callable[[bytes], int], floor: Floor) -> None:
        self._keys = keys
        self._slot = slot
        self._floor = floor
        self._marks: dict[object, Entry] = {}
        self._named = 0
        self.pages: dict[int, Page] = {}
        self.entries = 0
        self.coalesced = 0  # checks that joined the entry of another

    @property
    def full(self) -> bool:
        """Whether the rest waits for the next round trip."""
        return self.entries >= ENTRIES_MAX or self._named >= KEYS_MAX

    def fill(self, checks: Sequence[Spending]) -> int:
        """Take checks until it is full; return how many were taken."""
        for taken, check in enumerate(checks):
            if self.full:
                return taken
            self._add(check)
        return len(checks)

    def _add(self, check: Spending) -> None:
        spends = check.spends
        entry = self._marks.get(id(spends))  # most are one value per caller: see `policy/memo.py`
        if entry is None:
            names = [self._keys.name(spend) for spend in spends]
            mark = (*names, *[part for spend in spends for part in (id(spend.rate), spend.cost)])
            entry = self._marks.get(mark)
            if entry is None:
                self._marks[mark] = self._marks[id(spends)] = self._new(spends, check, names)
                return
        entry.checks.append(check)
        self.coalesced += 1

    def _new(self, spends: tuple[Spend, ...], check: Spending, names: Sequence[bytes]) -> Entry:
        entry = Entry(spends, check)
        slot = self._slot(names[0])
        page = self.pages.get(slot)
        if page is None:
            page = self.pages[slot] = Page(slot)
        page.add(entry, names, self._floor)
        self.entries += 1
        self._named += len(names)
        return entry
