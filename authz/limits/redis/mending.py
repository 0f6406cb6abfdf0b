"""A connection that is kept up: opened, proven, watched and opened anew, on a thread of its own."""

from __future__ import annotations

import os
import random
import select
from collections.abc import Callable
from threading import Event, Lock, Thread
from time import monotonic

from authz.config.log import get_logger
from authz.limits.redis.errors import LinkFailed, said
from authz.limits.redis.link import HANGUP, Link
from authz.limits.redis.session import LinkFacts

PAUSE_FIRST_S = 0.02  # the longest pause before a first try: a fleet that loses its Redis is spread over that
PAUSE_MAX_S = 1.0  # a promotion is noticed within this; 1,000 sidecars then ask 2,000 times a second

LOOK_S = 1.0
"""Between two looks at a connection that works, where somebody must be asked whether it leads astray."""

LASTED_S = 5.0
"""A connection that lived so long was a good one: the next pause is short again."""

_SAME_S = 10.0  # a line that says the same as the one before is not written twice within this
_JOIN_S = 2.0

log = get_logger("limits")


class Backoff:
    """How long to wait before the next try: twice as long at most as before, and anything below that.

    Source: "full jitter"; the mean is half of the bound, and no two sidecars keep step.

    Args:
        chance: a number from 0 to 1, from anywhere.
    """

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self._chance = chance
        self._tries = 0

    def next_s(self) -> float:
        """Return the pause before one more try."""
        longest = min(PAUSE_MAX_S, PAUSE_FIRST_S * 2.0 ** min(self._tries, 16))
        self._tries += 1
        return self._chance() * longest

    def reset(self) -> None:
        """Begin anew."""
        self._tries = 0


class Voice:
    """Says what changes. What comes and goes all the time is said once in a while, and how it ended."""

    def __init__(self, clock_s: Callable[[], float] = monotonic) -> None:
        self._clock_s = clock_s
        self._said: dict[tuple[str, str], float] = {}
        self._down: set[str] = set()  # of whom that was the last word

    def _is_news(self, event: str, what: str) -> bool:
        now_s = self._clock_s()
        self._said = {line: at_s for line, at_s in self._said.items() if now_s - at_s < _SAME_S}
        is_news = (event, what) not in self._said
        self._said.setdefault((event, what), now_s)
        return is_news

    def up(self, name: str, where: str) -> None:
        """A connection works."""
        if self._is_news("up", where):
            self._say_up(name, where)

    def lasts(self, name: str, where: str) -> None:
        """It has worked for a while."""
        if name in self._down:
            self._say_up(name, where)

    def _say_up(self, name: str, where: str) -> None:
        self._down.discard(name)
        log.info("limits are kept in redis", redis=where)

    def down(self, name: str, why: str, what: str) -> None:
        """There is none, or no longer."""
        if self._is_news("down", what):
            self._down.add(name)
            log.warning("redis cannot be used", redis=name, why=why, what=what)

    def warn(self, where: str, what: str) -> None:
        """A server is set up in a way that makes limits wrong."""
        log.warning("redis may lose buckets", redis=where, what=what)

    def inform(self, where: str, what: str) -> None:
        """Something about a server is not known."""
        log.info("redis does not say", redis=where, what=what)

    def complains(self, where: str, why: str, what: str) -> None:
        """A server answers an error to one call; the connection stays."""
        if self._is_news("complains", why):
            log.warning("redis refuses a call", redis=where, why=why, what=what)


class Mender:
    """Keeps up one connection.

    INVARIANT: only its own thread opens and closes connections. Whoever uses one holds `using` meanwhile, so
    that none is closed, and its number given to another, under the hands of its user.

    Args:
        name: what is kept up, for people.
        opened: opens a connection and proves that it works; raises LinkFailed.
        using: held while connections are used.
        voice: says what changes.
        on_change: told of each change, with `using` held.
        still: asked once a second, from this thread, whether a connection still leads where it should.
    """

    def __init__(
        self,
        name: str,
        opened: Callable[[], Link],
        using: Lock,
        voice: Voice,
        on_change: Callable[[], None] = lambda: None,
        backoff: Backoff | None = None,
        still: Callable[[Link], bool] | None = None,
    ) -> None:
        self.link: Link | None = None
        self.opened = 0  # how often one came up
        self._name, self._open, self._using, self._voice = name, opened, using, voice
        self._on_change = on_change
        self._backoff = backoff or Backoff()
        self._still = still
        self._why = ""
        self._closing = Event()
        self._wake = [*os.pipe()]  # where to read, where to write: ends the wait in `_watch`
        self._thread = Thread(target=self._run, name=f"redis {name}", daemon=True)

    @property
    def facts(self) -> LinkFacts:
        """How it stands."""
        return LinkFacts(self._name, self.link is not None, self.opened, self._why)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def drop(self, link: Link, why: str) -> None:
        """Never use this connection again. The caller holds `using`."""
        self._why = why
        if self.link is link:
            self.link = None
            self._on_change()
        link.fail(why)

    def close(self, patience_s: float = _JOIN_S) -> bool:
        """Close the connection and stop; nothing is opened after it.

        Returns: whether it has stopped; it may still be connecting, and stops after that.
        """
        self.ask_to_stop()
        if self._thread.ident is not None:
            self._thread.join(patience_s)
        if not self._thread.is_alive():
            while self._wake:
                os.close(self._wake.pop())
        return not self._wake

    def ask_to_stop(self) -> None:
        """Begin to close; `close` waits for the end of it."""
        if not self._closing.is_set():
            self._closing.set()
            os.write(self._wake[1], b"!")

    def _run(self) -> None:
        while not self._pause(self._backoff.next_s()):
            link = self._tried()
            if link is not None:
                self._place(link)
                self._watch(link)
                self._retire(link)

    def _tried(self) -> Link | None:
        try:
            return self._open()
        except LinkFailed as error:
            why, what = error.why, str(error)
        except Exception as error:
            why, what = "broken", f"a fault of ours: {type(error).__name__}"
            log.exception("a connection to redis could not be opened", redis=self._name)
        self._why = why
        self._voice.down(self._name, why, what)
        return None

    def _place(self, link: Link) -> None:
        with self._using:
            self.opened += 1
            self.link = link
            self._on_change()
        self._voice.up(self._name, str(link.where))

    def _watch(self, link: Link) -> None:
        """Wait until it is closed by its server, dropped by its user, leads astray, or we are to stop."""
        poll = select.poll()
        poll.register(link, HANGUP)
        poll.register(self._wake[0], select.POLLIN)
        since_s, lasts = monotonic(), False
        while not poll.poll(None if lasts and self._still is None else LOOK_S * 1000):
            if not lasts and monotonic() - since_s >= LASTED_S:
                lasts = True
                self._voice.lasts(self._name, str(link.where))
                self._backoff.reset()
            if self._still is not None and not self._still(link):
                with self._using:
                    self.drop(link, "moved")
                return

    def _retire(self, link: Link) -> None:
        with self._using:
            if self.link is link:
                self.drop(link, "closed")
            link.close()
        if not self._closing.is_set():
            self._voice.down(self._name, link.why, f"{link.where}: {said(link.why)}")

    def _pause(self, seconds: float) -> bool:
        """Wait; return at once, and True, where we are to stop."""
        return self._closing.wait(seconds)
