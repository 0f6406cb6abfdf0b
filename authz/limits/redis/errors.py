"""What goes wrong with a Redis: in a word for metrics, in a line for people."""

from __future__ import annotations

import re

from authz.limits.redis.session import Reply, Unanswered
from authz.model.errors import StoreUnavailable

DOWN = Unanswered("down")  # nobody was asked

# First words of errors that a server may answer. A closed list: they become values of metrics' labels.
# Source: server.c, `createSharedObjects`, and cluster.c, `clusterRedirectClient`, of Redis 7.0.
_OF_THE_SERVER = frozenset(
    {"busy", "clusterdown", "execabort", "loading", "masterdown", "misconf", "noauth", "noreplicas", "oom"}
    | {"readonly", "unkillable", "wrongpass"}
)
# Those that speak of one call: the next may well be answered. After any other the connection is closed, and
# no call is sent until a new one has proven that it works: that is the breaker.
_OF_ONE_CALL = frozenset({"ask", "crossslot", "err", "moved", "noperm", "noscript", "tryagain", "wrongtype"})

_IN_SCRIPT = re.compile(r"^ERR Error running script .*: -([A-Z]+) ", re.DOTALL)
_SAID = {
    "closed": "closed the connection",
    "timeout": "does not answer in time",
    "moved": "is no longer where buckets are kept",
    "broken": "answers what no Redis would; look which server that is",
}
_LINE_MAX = 200  # characters of a server's own words in our log


class LinkFailed(StoreUnavailable):
    """A connection cannot be had, or is of no more use. It stays inside this room.

    Args:
        why: a word for metrics: `down`, `timeout`, `closed`, `broken`, `tls`, or a server's own first word.
        what: a line for people. SECURITY: it never holds a password.
    """

    def __init__(self, why: str, what: str) -> None:
        super().__init__(what)
        self.why = why


class ErrorReply(Exception):
    """An error that a server answered. hiredis makes one of each, inside lists too; it is a value here."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    @property
    def word(self) -> str:
        """Its first word, in lower case; `other` for one that no Redis says."""
        # Before Redis 7 a script's command that fails is told behind a long preface.
        inner = _IN_SCRIPT.search(self.text)
        first = (inner[1] if inner else self.text.partition(" ")[0]).lower()
        return first if first in _OF_ONE_CALL or first in _OF_THE_SERVER else "other"

    @property
    def line(self) -> str:
        """What the server says, fit for one line of a log."""
        return self.text.encode("unicode_escape").decode("ascii")[:_LINE_MAX]


def said(why: str) -> str:
    """Return what such a word says of a server, for people."""
    return _SAID.get(why) or f"answers {why.upper()}"


def judged(reply: object) -> Reply:
    """Turn what came of a script call into what the spender reads."""
    if type(reply) is list:
        try:
            # In C; a list in the list has no sum. SECURITY: with a half it is no `int`, nor with the `nan` of
            # RESP3, which no comparison would find later.
            whole = type(sum(reply)) is int
        except TypeError:
            whole = False
        return reply if whole else Unanswered("broken")
    if type(reply) is Unanswered:
        return reply
    return Unanswered(reply.word if type(reply) is ErrorReply else "broken")


def is_fatal(why: str) -> bool:
    """Whether a connection is closed after such an answer."""
    return why not in _OF_ONE_CALL
