"""One server that has every bucket: the one that is named, or the one that Sentinels point at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock

from authz.limits.redis.errors import DOWN
from authz.limits.redis.exchange import Exchange
from authz.limits.redis.link import Link
from authz.limits.redis.mending import Mender, Voice
from authz.limits.redis.session import LinkFacts, Reply, Script, ScriptCall


class SingleSession:
    """A Session with one connection.

    Args:
        name: what it leads to, for people.
        opened: opens a connection and proves that it works; raises LinkFailed.
        script: the spending script.
        call_s: seconds that a batch may take.
        voice: says what changes.
        still: asked once a second whether the connection still leads where it should.
        leave: called at the end.
    """

    def __init__(
        self,
        name: str,
        opened: Callable[[], Link],
        script: Script,
        call_s: float,
        voice: Voice,
        still: Callable[[Link], bool] | None = None,
        leave: Callable[[], None] = lambda: None,
    ) -> None:
        self._script, self._call_s, self._voice = script, call_s, voice
        self._leave = leave
        self._using = Lock()
        self._mender = Mender(name, opened, self._using, voice, still=still)

    @property
    def generation(self) -> int:
        """Grows with each connection made anew."""
        return self._mender.opened

    @property
    def facts(self) -> tuple[LinkFacts, ...]:
        """How the connection stands."""
        return (self._mender.facts,)

    def slot(self, _key: bytes) -> int:
        """Return 0: every key lies in the same place."""
        return 0

    def answers(self) -> bool:
        """Whether there is a connection."""
        return self._mender.link is not None

    def run(self, calls: Sequence[ScriptCall]) -> Sequence[Reply]:
        """Send all calls at once and return what came of each, in order."""
        with self._using:
            link = self._mender.link
            if link is None:
                return [DOWN] * len(calls)
            exchange = Exchange(calls, self._script, self._call_s, self._mender.drop, self._voice)
            exchange.take({link: [(number, b"") for number in range(len(calls))]})
            exchange.load_and_resend()
            return exchange.replies()

    def distrust(self, _slot: int) -> None:
        """Close the connection."""
        with self._using:
            if (link := self._mender.link) is not None:
                self._mender.drop(link, "broken")

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._mender.start()

    def close(self) -> None:
        """Close the connection."""
        if self._mender.close():
            self._leave()
