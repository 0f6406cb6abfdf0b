"""For how long a set may be in force while what stands in the directories cannot be.

A revoked key, a rule that was mended: as long as the directories are broken, nothing of it arrives. Whoever
must not serve so for ever bounds it.
"""

from __future__ import annotations


class Staleness:
    """Since when what is in force is not known to be what stands in the directories.

    All times are microseconds of a clock that never goes back.

    Args:
        bound_us: the age from which a set is stale; 0: never.
        patience_us: for how long nobody need have looked; whoever looks may hang on a broken disk.
    """

    def __init__(self, bound_us: int, patience_us: int) -> None:
        self._bound_us = bound_us
        self._patience_us = patience_us
        self._known_us: int | None = None  # None: nothing is in force
        self._agrees = False

    def agree(self, now_us: int) -> None:
        """Note that what is in force is what stands in the directories."""
        self._known_us, self._agrees = now_us, True

    def differ(self, known_us: int) -> None:
        """Note that it is not.

        Args:
            known_us: when it last was, where nothing was noted before.
        """
        self._agrees = False
        if self._known_us is None:
            self._known_us = known_us

    def age_us(self, now_us: int) -> int:
        """Return for how long it has been so; 0 while they agree, and while nothing is in force."""
        known_us = self._known_us
        if known_us is None:
            return 0
        age_us = max(0, now_us - known_us)
        return 0 if self._agrees and age_us <= self._patience_us else age_us

    def stale(self, now_us: int) -> bool:
        """Whether it has been so for longer than it may be."""
        return 0 < self._bound_us <= self.age_us(now_us)
