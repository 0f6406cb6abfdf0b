"""One batch of calls: sent to every server that it concerns, then read, before one deadline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic
from typing import NamedTuple

from authz.limits.redis.errors import DOWN, ErrorReply, LinkFailed, is_fatal, judged
from authz.limits.redis.link import Link, packed
from authz.limits.redis.mending import Voice
from authz.limits.redis.session import Reply, Script, ScriptCall, Unanswered
from authz.limits.redis.slots import key_in, slot_of

ASKING = packed(b"ASKING")

Steps = Mapping[Link, Sequence[tuple[int, bytes]]]
"""For each connection: numbers of calls, and what is sent just before each: one command, or nothing."""


class Proof(NamedTuple):
    """What a connection shows before it is used: that the script runs there, and may write.

    A server that takes no writes (a replica, one that is full, one that loads) shows it here.
    """

    script: Script
    call: ScriptCall

    def shown_by(self, link: Link, deadline_s: float) -> None:
        """Load the script and call it once.

        Raises:
            LinkFailed: it does not work there, or not in time.
        """
        loaded = link.ask(deadline_s, "SCRIPT", "LOAD", self.script.text)
        if loaded != self.script.sha:
            raise _refused(link, loaded, "does not load our script")
        reply = link.ask(deadline_s, *_words(self.call, self.script))
        moves = isinstance(reply, ErrorReply) and reply.word == "ask"  # the slot does, and the node is well
        if isinstance(judged(reply), Unanswered) and not moves:
            raise _refused(link, reply, "does not run our script")

    def within(self, ranges: list[range] | None) -> Proof:
        """Return the same with a key that lies in one of these slots; None: wherever."""
        if ranges is None:
            return self
        key = key_in(ranges, self.call.keys[0])
        return self._replace(call=self.call._replace(slot=slot_of(key), keys=(key,)))


def _refused(link: Link, reply: object, what: str) -> LinkFailed:
    if isinstance(reply, ErrorReply):
        if reply.word == "moved":
            what = "is a node of a Cluster, where REDIS_URL begins with `redis+cluster://`"
        if reply.word == "noperm":
            what = f"{what} (does our user have the commands of redis.md, on keys of this AUTHZ_KEYSPACE?)"
        return LinkFailed(reply.word, f"{link.where}: {what}: {reply.line}")
    return LinkFailed("broken", f"{link.where}: {what}, and answers what no Redis would")


def _words(call: ScriptCall, script: Script) -> tuple[bytes | int, ...]:
    return (b"EVALSHA", (call.script or script).sha, len(call.keys), *call.keys, call.argument)


class Exchange:
    """What becomes of one batch.

    INVARIANT: a call is sent again only where a server said that it did not run: NOSCRIPT, MOVED, ASK.

    Args:
        calls: the batch.
        script: what runs where a call names no other.
        timeout_s: for all of it.
        drop: takes a connection out of use, and why.
        voice: told of errors that concern one call.
    """

    __slots__ = ("_asked", "_calls", "_deadline_s", "_drop", "_script", "_voice", "answers")

    def __init__(
        self,
        calls: Sequence[ScriptCall],
        script: Script,
        timeout_s: float,
        drop: Callable[[Link, str], None],
        voice: Voice,
    ) -> None:
        self._calls, self._script, self._drop, self._voice = calls, script, drop, voice
        self._deadline_s = monotonic() + timeout_s
        self._asked: list[Link | None] = [None] * len(calls)
        self.answers: list[object] = [DOWN] * len(calls)
        """As servers gave them; DOWN where none was asked."""

    def take(self, steps: Steps) -> None:
        """Send all, then read all: a server that is slow holds up nobody's question."""
        asked = [(link, parts) for link, parts in steps.items() if self._sent(link, parts)]
        for link, parts in asked:
            self._read(link, parts)

    def _sent(self, link: Link, parts: Sequence[tuple[int, bytes]]) -> bool:
        if not link.is_quiet():
            self._drop(link, "closed")  # nothing was written, so nothing was spent
            return False
        calls, script = self._calls, self._script
        data = b"".join([before + packed(*_words(calls[number], script)) for number, before in parts])
        for number, _ in parts:
            self._asked[number] = link
        if why := link.send(data, self._deadline_s):
            self._fail(link, why, parts)
        return not why

    def _read(self, link: Link, parts: Sequence[tuple[int, bytes]]) -> None:
        replies: list[object] = []
        count = len(parts) + sum(1 for _, before in parts if before)
        if why := link.receive(replies, count, self._deadline_s):
            self._fail(link, why, parts)
        answered = iter(replies)
        for number, before in parts:
            if before:
                next(answered, None)  # what came before only matters by what it makes of the call
            self.answers[number] = next(answered, self.answers[number])

    def _fail(self, link: Link, why: str, parts: Sequence[tuple[int, bytes]]) -> None:
        self._drop(link, why)
        for number, _ in parts:
            self.answers[number] = Unanswered(why)

    def errors(self, *words: str) -> list[tuple[int, ErrorReply, Link]]:
        """Return the calls that were answered with one of these errors, and who said so."""
        return [
            (number, answer, link)
            for number, (answer, link) in enumerate(zip(self.answers, self._asked, strict=True))
            if type(answer) is ErrorReply and link is not None and answer.word in words
        ]

    def load_and_resend(self) -> None:
        """Load scripts that a server has forgotten, and call them again, once."""
        steps: dict[Link, list[tuple[int, bytes]]] = {}
        for number, _, link in self.errors("noscript"):
            if not link.why:
                text = (self._calls[number].script or self._script).text
                steps.setdefault(link, []).append((number, packed(b"SCRIPT", b"LOAD", text)))
        if steps:
            self.take({link: list(_once(parts)) for link, parts in steps.items()})

    def replies(self) -> list[Reply]:
        """Return what came of each call; connections to servers that cannot serve are dropped."""
        replies = [judged(answer) for answer in self.answers]
        for number, reply in enumerate(replies):
            if type(reply) is Unanswered:
                self._learn(self._asked[number], self.answers[number], reply)
        return replies

    def _learn(self, link: Link | None, answer: object, reply: Unanswered) -> None:
        if link is None or link.why:
            return
        if is_fatal(reply.why):
            self._drop(link, reply.why)
        elif isinstance(answer, ErrorReply):
            self._voice.complains(str(link.where), reply.why, answer.line)


def _once(parts: Iterable[tuple[int, bytes]]) -> Iterable[tuple[int, bytes]]:
    """Leave out what was sent before already."""
    sent: set[bytes] = set()
    for number, before in parts:
        yield number, b"" if before in sent else before
        sent.add(before)
