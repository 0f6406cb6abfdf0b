"""Records into a stream of Redis: an entry for each line, fields `stream` and `record`.

The connection is that of limits (`limits/redis/link.py`): everything has one deadline, where the client
`redis-py` waits per read, so that a server that drips would hold us for ever; with a CA of ours no other is
trusted; and a record costs 1.4 us where its pipelines take 6 (both with hiredis).

INVARIANT: a batch is one transaction. Redis at its limit of memory takes some commands of a pipeline and
refuses others: offered again whole, later records would stand before earlier ones. MULTI costs nothing that
can be measured.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from time import monotonic

from authz.limits.redis.dial import Dial
from authz.limits.redis.errors import ErrorReply, LinkFailed, said
from authz.limits.redis.link import Link, packed
from authz.model.address import TcpAddress
from authz.model.redis_address import Login, RedisTls
from authz.model.sink import SinkAddress
from authz.shipping.delivery import Batch, Unavailable
from authz.shipping.errand import Access
from authz.shipping.tls import client_context

BATCH_BYTES = 256 * 1024  # 290 records of 900 bytes keep Redis for a millisecond; more gains nothing
LINES_MAX = 4096  # of one transaction: a link takes 1 MiB of replies, and each is about 35 bytes

_MULTI, _EXEC = packed("MULTI"), packed("EXEC")
_EMPTY = b"$0\r\n\r\n"
_ENTRY_ID = re.compile(rb"[0-9]{1,20}-[0-9]{1,20}")

# What mends it, by the first word of the server's error. SECURITY: its other words are left out: a server may
# repeat what it was sent.
_MAY_NOT = "the user may not write there; give it `+xadd +multi +exec` and the key `~{stream}`"
HINTS = {
    "oom": "its memory is full; raise `maxmemory`, or trim the stream and lower `record_redis_max_len`",
    "noperm": _MAY_NOT,
    "execabort": _MAY_NOT,  # EXEC itself is refused: of anything else the command that failed is told
    "noauth": "it asks for a password; set `record_redis_password`",
    "wrongtype": "`{stream}` is there and no stream; name another, or delete that key",
    "readonly": "it is a replica; name the master",
    "loading": "it loads its data; this passes",
    "moved": "a node of a Cluster, and the stream belongs to another; name that one",
    "ask": "a node of a Cluster, and the stream is on its way to another; this passes",
    "clusterdown": "its Cluster is down",
    "misconf": "it cannot save its data and takes none; look at its log",
    "masterdown": "a replica without its master; name the master",
    "noreplicas": "it has fewer replicas than it was told to have",
    "busy": "a script keeps it; this passes, or `SCRIPT KILL` ends it",
    "err": "Redis 5 or newer is needed, without a proxy that knows no MULTI",
}


class RedisStreamSink:
    """Appends records to one stream. It connects when it has something to deliver.

    Args:
        address: server, database and stream.
        access: who we are there; `redis_max_len` bounds the stream, about; 0: not at all.
    """

    batch_bytes = BATCH_BYTES

    def __init__(self, address: SinkAddress, access: Access, name: str) -> None:
        host, port = address.servers[0]
        self._server = TcpAddress(host, port)
        self._stream, self.name, self._access = address.target, name, access
        self._dial = Dial(
            Login(access.redis_user, access.redis_password.encode("utf-8", "surrogateescape")),
            RedisTls(access.ca, access.cert, access.key) if address.tls else None,
            address.db,
            access.timeout_s,
        )
        self._link: Link | None = None
        self._reopen = False

    def deliver(self, batch: Batch) -> None:
        """Append a batch: all of it, or an error. Waits for the time limit twice: once to connect.

        Raises:
            Unavailable: not now. What Redis may have done all the same is offered again: at least once.
        """
        lines = batch.lines.removesuffix(b"\n").split(b"\n")
        try:
            link = self._connected()
            deadline_s = monotonic() + self._access.timeout_s
            for at in range(0, len(lines), LINES_MAX):
                self._append(link, batch.stream, lines[at : at + LINES_MAX], deadline_s)
        except BaseException as error:
            # SECURITY: an answer that comes later would be taken for the next one's.
            self.close()
            if isinstance(error, LinkFailed):
                raise Unavailable(str(error)) from None
            raise

    def reopen(self) -> None:
        """Connect anew at the next batch."""
        self._reopen = True

    def close(self) -> None:
        """Hang up."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _connected(self) -> Link:
        reopen, self._reopen = self._reopen, False
        if self._link is not None and (reopen or not self._link.is_quiet()):
            self.close()  # servers hang up on who is idle: no reason to fail
        if self._link is None:
            if self._dial.tls is not None:
                client_context(self._access)  # says which setting names a file that is of no use
            self._link = self._dial.open(self._server)
            self._try_transaction(self._link)
        return self._link

    def _try_transaction(self, link: Link) -> None:
        """See that MULTI is ours to use.

        INVARIANT: where it is refused, a pipeline's XADDs would be done one by one, fail at EXEC, and be
        offered again for ever.
        """
        deadline_s = monotonic() + self._access.timeout_s
        for command, expected in (("MULTI", b"OK"), ("EXEC", [])):
            reply = link.ask(deadline_s, command)
            if reply != expected:
                raise self._refusal(reply)

    def _append(self, link: Link, stream: str, lines: Sequence[bytes], deadline_s: float) -> None:
        replies: list[object] = []
        why = link.send(self._transaction(stream, lines), deadline_s)
        why = why or link.receive(replies, len(lines) + 2, deadline_s)
        if why:
            raise Unavailable(f"{self._server}: {said(why)}")
        ids = replies[-1]
        if not (isinstance(ids, list) and len(ids) == len(lines) and all(map(_is_id, ids))):
            raise self._refusal(*replies[:-1], *(ids if isinstance(ids, list) else [ids]))

    def _transaction(self, stream: str, lines: Sequence[bytes]) -> bytes:
        """Return it as it goes over the line: the same words for all lines, then each line."""
        bound = ("MAXLEN", "~", self._access.redis_max_len) if self._access.redis_max_len else ()
        words = packed("XADD", self._stream, *bound, "*", "stream", stream, "record", b"")
        head = words.removesuffix(_EMPTY)
        return b"".join([_MULTI, *(b"%b$%d\r\n%b\r\n" % (head, len(line), line) for line in lines), _EXEC])

    def _refusal(self, *replies: object) -> Unavailable:
        """Return what the first error among replies says."""
        error = next((reply for reply in replies if isinstance(reply, ErrorReply)), None)
        if error is None:
            return Unavailable(f"{self._server}: {said('broken')}")
        hint = HINTS.get(error.word, "").format(stream=self._stream)
        said_word = said(error.word)
        return Unavailable(f"{self._server}: {said_word}: {hint}" if hint else f"{self._server}: {said_word}")


def _is_id(reply: object) -> bool:
    return isinstance(reply, bytes) and _ENTRY_ID.fullmatch(reply) is not None
