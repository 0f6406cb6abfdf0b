"""What the spender asks of Redis, however many servers that is."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from typing import NamedTuple, Protocol


class Script(NamedTuple):
    """A script in Lua, and the name under which a server keeps it once it has seen it."""

    text: bytes
    sha: bytes  # SHA-1 of the text, in hexadecimal

    @classmethod
    def of(cls, text: bytes) -> Script:
        """Name a script."""
        return cls(text, sha1(text, usedforsecurity=False).hexdigest().encode())


class ScriptCall(NamedTuple):
    """One call of a script; all its keys lie in one slot."""

    slot: int  # of a Cluster; 0 elsewhere
    keys: tuple[bytes, ...]
    argument: bytes  # see spend.lua
    script: Script | None = None  # None: the spending script, which every connection has loaded


class Unanswered(NamedTuple):
    """No answer to one call. Whether it spent is unknown, and it is never sent again."""

    why: str  # a word for metrics: `down`, `timeout`, `broken`, or Redis' own first word in lower case


class LinkFacts(NamedTuple):
    """How one connection stands, for metrics and pages."""

    where: str  # the server, or what is looked for: no password in it
    up: bool
    opened: int  # how often it came up; all but the first are reconnects
    why: str  # a word for what last went wrong, as in Unanswered; "" where nothing ever did


Reply = list[int] | Unanswered


class Session(Protocol):
    """The connections of one process to Redis, which mend themselves on a thread of their own.

    INVARIANT: `run` never connects, and never takes longer than its timeout; a connection on which anything
    went wrong is closed, and never used again.
    """

    @property
    def generation(self) -> int:
        """Grows with each connection made anew: behind it may stand a server that lost writes."""
        ...

    def slot(self, key: bytes) -> int:
        """Return where a key lies; keys of one slot may be named in one call."""
        ...

    def answers(self) -> bool:
        """Whether `run` would reach anybody at all. Asked by judging threads, so it costs an attribute."""
        ...

    def run(self, calls: Sequence[ScriptCall]) -> Sequence[Reply]:
        """Send all calls at once and return what came of each, in order. One thread at a time."""
        ...

    def distrust(self, slot: int) -> None:
        """Close the connection to whoever answers for a slot: the answer was none that the script gives."""
        ...

    def start(self) -> None:
        """Begin to connect, and to mend; returns at once."""
        ...

    def close(self) -> None:
        """Close whatever is open."""
        ...


class WatchedSession(Session, Protocol):
    """A Session that says how it stands."""

    @property
    def facts(self) -> tuple[LinkFacts, ...]:
        """How each connection stands. Any thread may ask."""
        ...
