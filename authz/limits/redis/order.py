"""What checks ask of Redis, worked out once: most checks of a caller ask for the very same.

A caller's spends are one value, kept by `policy/memo.py`, so its identity is enough to find what was worked
out: the keys, where they lie, and the bytes that the script reads.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import pack

from authz.limits.redis.keys import Keys
from authz.limits.redis.script import entry_of
from authz.model.limit import Spend

# Callers that are active at one sidecar, times the sets of limits that they meet. One takes about 1 KiB; when
# the table is full it starts anew.
_KNOWN_MAX = 8192

Spends = tuple[Spend, ...]


class Order:
    """The same tokens of the same buckets, for however many checks.

    Args:
        names: keys of the buckets.
        slot: where they lie.
        rest: what the script reads of them, but for the number of checks.
    """

    __slots__ = ("_rest", "names", "once", "size", "slot", "spends")

    def __init__(self, spends: Spends, names: tuple[bytes, ...], slot: int, rest: bytes) -> None:
        self.spends = spends
        self.names = names
        self.slot = slot
        self.size = len(names)
        self._rest = rest
        self.once = self.times(1)

    def times(self, checks: int) -> bytes:
        """Return what the script reads for so many checks."""
        return pack("<d", checks) + self._rest


class Orders:
    """Every order that was made lately. One thread asks.

    Args:
        slot: returns where a key lies.
    """

    def __init__(self, keys: Keys, slot: Callable[[bytes], int]) -> None:
        self._keys = keys
        self._slot = slot
        # INVARIANT: spends are kept beside their id, or somebody else would have it one day.
        self._known: dict[int, tuple[Spends, Order]] = {}
        self._alike: dict[object, Order] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(self, spends: Spends) -> Order:
        """Return the order of a check: one and the same for all that ask for the same."""
        known = self._known.get(id(spends))
        return known[1] if known is not None else self._found(spends)

    def _found(self, spends: Spends) -> Order:
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
            self._alike.clear()
        names = tuple([self._keys.name(spend) for spend in spends])
        rest = entry_of(spends)
        mark = (names, rest, *[spend.rate.window_s for spend in spends])
        order = self._alike.get(mark)
        if order is None:
            order = self._alike[mark] = Order(spends, names, self._slot(names[0]), rest)
        self._known[id(spends)] = (spends, order)
        return order
