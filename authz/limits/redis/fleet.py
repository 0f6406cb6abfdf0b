"""How many processes share the buckets: in an outage each gives out its part of a limit, and no more.

Each says every few seconds that it is there, by the clock of Redis, and is told how many do. Who says no more
is soon not counted; who ends politely is not counted at once.

A number that falls is believed late: behind a fail-over, or after a restart of an empty Redis, members come
back one by one, and the first must not think itself alone. Too large a number costs a part of a limit for a
quarter of a minute; one too small would give away what is others'.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from importlib.resources import files
from struct import pack

from authz.limits.redis.session import Script, ScriptCall, Session, Unanswered

SCRIPT = Script.of(files(__package__).joinpath("fleet.lua").read_bytes())

BEAT_US = 5_000_000
LIFE_US = 3 * BEAT_US  # who missed two beats is gone
HASTE_US = 1_000_000  # between beats while a fleet gathers, and after one that nobody answered

MEMBERS_MAX = 1_000_000
"""Whoever counts more does not count: limits would be divided by it for a quarter of a minute."""

_NAME_BYTES = 8


class Fleet:
    """One member of a fleet, on the spender's thread; any thread may ask how large it is.

    Args:
        prefix: of every key of the keyspace.
        expected: processes that the operator says there are, while nobody has counted them; 0: unknown.
        least: processes that are there for sure: the workers of this sidecar.
        ticks_us: a clock that never goes back.
    """

    def __init__(
        self,
        session: Session,
        prefix: str,
        expected: int,
        ticks_us: Callable[[], int],
        least: int = 1,
        member: bytes | None = None,
    ) -> None:
        self._session = session
        self._key = f"{prefix}fleet".encode()
        self._ticks_us = ticks_us
        self._member = member or secrets.token_hex(_NAME_BYTES).encode()
        self._least = least
        self._due_us = 0
        self._heard_us = -LIFE_US  # when we were last told a number
        self._gathered_us = 0  # until then others may still be coming
        self._firm_us = 0  # until then no smaller number is believed
        self.size = expected  # members, this one among them; 0 where nobody knows

    def tend(self) -> None:
        """Say that we are there, if it is time; most calls do nothing but look at the clock."""
        now_us = self._ticks_us()
        if now_us >= self._due_us and self._session.answers():
            heard = self._say(stays=True, now_us=now_us)
            self._due_us = now_us + (BEAT_US if heard and now_us >= self._gathered_us else HASTE_US)

    def leave(self) -> None:
        """Say that we are no more, if anybody listens."""
        if self._session.answers():
            self._say(stays=False, now_us=self._ticks_us())

    def _say(self, *, stays: bool, now_us: int) -> bool:
        """Return whether that was heard."""
        argument = pack("<dd", LIFE_US / 1000, stays) + self._member
        call = ScriptCall(self._session.slot(self._key), (self._key,), argument, SCRIPT)
        (reply,) = self._session.run([call])
        if isinstance(reply, Unanswered) or len(reply) != 2 or not 1 <= reply[0] <= MEMBERS_MAX:
            return False
        self._learn(max(reply[0], self._least), now_us, forgot=reply[1] != 0)
        return True

    def _learn(self, size: int, now_us: int, *, forgot: bool) -> None:
        # A server that did not know us knows nobody else either, until they have spoken; and where we heard
        # of none for long, others may have been as long without an answer.
        if forgot or now_us - self._heard_us > 2 * BEAT_US:
            self._gathered_us = self._firm_us = now_us + LIFE_US
        if size >= self.size or now_us >= self._firm_us:
            self.size, self._firm_us = size, now_us + LIFE_US
        self._heard_us = now_us
