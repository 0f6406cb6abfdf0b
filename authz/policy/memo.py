"""What follows from an identity and a rule alone, worked out once.

Most conditions, buckets and headers name nothing but the identity, and identities are made at load. So their
values are kept: a look-up instead of an evaluation (0.1 us instead of 3 to 8). Nothing that depends on the
request or the time is kept. A memo belongs to one snapshot, so a reload forgets everything.
"""

from __future__ import annotations

from typing import Generic, TypeVar

# Identities that are active at one sidecar, times the rules that they meet. An entry takes about 1 KiB; when
# it is full it starts anew, which costs a few thousand evaluations and needs no bookkeeping per look-up.
ENTRIES_MAX = 4096

Key = TypeVar("Key")
Value = TypeVar("Value")


class Memo(Generic[Key, Value]):
    """A bounded table of values that follow from their keys."""

    __slots__ = ("_known", "get")

    def __init__(self) -> None:
        self._known: dict[Key, Value] = {}
        self.get = self._known.get

    def keep(self, key: Key, value: Value) -> None:
        """Keep a value."""
        if len(self._known) >= ENTRIES_MAX:
            self._known.clear()
        self._known[key] = value
