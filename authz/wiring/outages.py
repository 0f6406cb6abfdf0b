"""While no store of limits answers, each process decides alone: what log, metrics and `/ready` say of it."""

from __future__ import annotations

from collections.abc import Callable

from authz.config.log import get_logger

# At the start, and after a lone failure, the store is given so long before it counts as gone, or as back.
PATIENCE_US = 1_000_000

_MEND = "limits that say `local` refuse until the store was reached once, or AUTHZ_FLEET_SIZE is set"

_log = get_logger("wiring")


class Outages:
    """Notices when they begin and end, on the spender's thread.

    An outage begins with the first check that was decided here, or when for a second nobody was there to be
    asked; it ends when for a second the store has answered whatever was asked. So a link that breaks again
    and again makes one line, and not one for each time.

    Args:
        where: the store, without its password.
        answers: whether it would be asked now.
        alone: returns how many checks were decided here so far.
        members: returns how many processes share the limits; 0 where nobody knows.
        ticks_us: a clock that never goes back.
    """

    def __init__(
        self,
        where: str,
        answers: Callable[[], bool],
        alone: Callable[[], int],
        members: Callable[[], int],
        ticks_us: Callable[[], int],
    ) -> None:
        self._where = where
        self._answers = answers
        self._alone = alone
        self._members = members
        self._ticks_us = ticks_us
        self._counted = 0  # checks decided here, when it was last looked
        self._before = 0  # likewise, when this outage began
        self._began_us = 0
        self._agreed_us = ticks_us()  # when it last looked as we think it is
        self.lasts = False
        self.count = 0  # outages so far

    def look(self) -> None:
        """Look how the store is; called about once a second, and after each round trip."""
        before, self._counted = self._counted, self._alone()
        decided = self._counted != before
        now_us = self._ticks_us()
        if (decided or not self._answers()) == self.lasts:
            self._agreed_us = now_us
        elif decided or now_us - self._agreed_us > PATIENCE_US:
            if self.lasts:
                self._end(now_us)
            else:
                self._begin(before, now_us)

    def _begin(self, before: int, now_us: int) -> None:
        self.lasts, self._before, self._began_us = True, before, now_us
        self._agreed_us = now_us
        self.count += 1
        members = self._members()
        _log.warning(
            "the store of limits does not answer: meanwhile each limit does what its `onStoreError` says",
            store=self._where,
            fleet=members or "unknown",
            **({} if members else {"mend": _MEND}),
        )

    def _end(self, now_us: int) -> None:
        self.lasts = False
        self._agreed_us = now_us
        _log.info(
            "the store of limits answers again",
            store=self._where,
            seconds=round((now_us - self._began_us) / 1e6, 1),
            decided_alone=self._counted - self._before,
        )
