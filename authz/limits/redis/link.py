"""One connection to one server: bytes out, replies in, all of it before a deadline.

It is a socket with hiredis as its ears. redis-py's own connections wait per read, not per answer, so a server
that drips would hold us for ever; with a CA of ours they still trust every other; and they cost 15 MiB.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
from contextlib import suppress
from time import monotonic
from typing import NamedTuple

import hiredis

from authz.limits.redis.errors import ErrorReply, LinkFailed, said
from authz.model.address import Address

HANGUP = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)
"""Events of a connection that its server has closed; data alone raises none of them."""

_READ_BYTES = 65_536  # the reply of a whole batch takes a few thousand
_MORE = object()  # hiredis' answer while a reply is not there as a whole
_NOT_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
# What a reply takes at most: of CLUSTER SLOTS of a thousand nodes a fifth. A server that never ends would
# otherwise fill the memory within the second that a connection may take to be opened.
_REPLY_MAX_BYTES = 1 << 20
# SECURITY: room for a list is made when its length is read, and every collection of garbage walks through all
# of it, with nobody judged meanwhile: a billion took four seconds. Nobody whom we ask lists so many.
_HUGE = re.compile(rb"[*%~>|]\d{6}")
_HUGE_BYTES = 7


class Timeouts(NamedTuple):
    """How long servers are waited for, in seconds."""

    call_s: float  # for the answers to one batch
    connect_s: float = 1.0  # to connect, prove who we are, load the script and try it: rare, off every path


class Link:
    """A connection that is used by one thread at a time. After any failure it is of no more use.

    Args:
        sock: connected, and through with TLS.
        where: the server.
    """

    __slots__ = ("_buffer", "_got", "_reader", "_ready", "_sock", "_tls", "where", "why")

    def __init__(self, sock: socket.socket, where: Address) -> None:
        sock.settimeout(0.0)
        self.where = where
        self.why = ""  # a word for what went wrong
        self._sock = sock
        self._tls = sock if isinstance(sock, ssl.SSLSocket) else None
        self._buffer = bytearray(_READ_BYTES)
        self._got = 0  # bytes of it that were read last
        self._reader = hiredis.Reader(replyError=ErrorReply, errors="replace", notEnoughData=_MORE)
        self._ready = select.poll()
        self._ready.register(sock, select.POLLIN)

    def fileno(self) -> int:
        """Return the file descriptor, to be watched for HANGUP."""
        return self._sock.fileno()

    def is_quiet(self) -> bool:
        """Whether nothing came that nobody asked for, the server's good-bye included.

        SECURITY: asked before each batch. A reply that came unasked would be read as the answer to the next
        call, and every later one as that of the call after it.
        """
        if not self._ready.poll(0):
            return self._tls is None or not self._tls.pending()
        if self._tls is None:
            return False
        try:
            self._tls.recv(1)
        except _NOT_YET:
            return True  # TLS spoke to itself: a ticket, a new key
        except OSError:
            return False
        return False

    def send(self, data: bytes, deadline_s: float) -> str:
        """Send all of it.

        Args:
            deadline_s: on the monotonic clock, as everywhere here.

        Returns: "", or a word for what went wrong.
        """
        while True:
            try:
                sent = self._sock.send(data)
            except _NOT_YET as error:
                if not self._waits(error, deadline_s):
                    return "timeout"
                continue
            except OSError:
                return "closed"
            if sent == len(data):
                return ""
            data = data[sent:]

    def receive(self, replies: list[object], count: int, deadline_s: float) -> str:
        """Read until `replies` holds so many.

        Args:
            replies: what came in time is there even if something goes wrong after it.

        Returns: "", or a word for what went wrong.
        """
        total = got = 0
        tail = b""  # of what was read before: lengths may come in pieces
        while why := self._take(replies, count):
            if why != "more":
                return why
            if got:
                tail = (tail + self._buffer[max(0, got - _HUGE_BYTES) : got])[-_HUGE_BYTES:]
                if monotonic() > deadline_s:
                    return "timeout"  # however much there is to read
            if why := self._fill(deadline_s):
                return why
            got = self._got
            total += got
            if total > _REPLY_MAX_BYTES or self._is_huge(tail):
                return "broken"
            self._reader.feed(self._buffer, 0, got)  # type: ignore[arg-type]  # it takes any buffer, and says less
        return ""

    def _take(self, replies: list[object], count: int) -> str:
        """Take the replies that are here already."""
        try:
            while len(replies) < count:
                reply = self._reader.gets()
                if reply is _MORE:
                    return "more"
                replies.append(reply)
        except (hiredis.HiredisError, MemoryError):
            return "broken"
        if self._reader.has_data():
            replies.clear()  # more than was asked: which belongs to which, nobody knows
            return "broken"
        return ""

    def _fill(self, deadline_s: float) -> str:
        """Read what the server sent into the buffer, or wait for it."""
        while True:
            # What TLS has already decrypted makes no socket readable.
            if (self._tls is None or not self._tls.pending()) and not self._ready.poll(_left_ms(deadline_s)):
                return "timeout"
            try:
                count = self._sock.recv_into(self._buffer)
            except _NOT_YET as error:
                if not self._waits(error, deadline_s):
                    return "timeout"
                continue
            except OSError:
                return "closed"
            if not count:
                return "closed"
            self._got = count
            return ""

    def _is_huge(self, tail: bytes) -> bool:
        """Whether a list begins that nobody means. The reply to a batch, all numbers, is not searched."""
        buffer, got = self._buffer, self._got
        if tail and _HUGE.search(tail + buffer[: min(got, _HUGE_BYTES)]):
            return True
        suspect = (
            buffer.find(b"\r", 0, 8) < 0
            or buffer.find(b"*", 1, got) > 0
            # Lists of RESP3, which nobody asked for.
            or buffer.find(b"~", 0, got) >= 0
            or buffer.find(b">", 0, got) >= 0
            or buffer.find(b"|", 0, got) >= 0
        )
        return suspect and _HUGE.search(buffer, 0, got) is not None

    def _waits(self, error: OSError, deadline_s: float) -> bool:
        """Wait until the socket has room, or something to read; False where the time ran out."""
        wanted = select.POLLIN if isinstance(error, ssl.SSLWantReadError) else select.POLLOUT
        poll = select.poll()
        poll.register(self._sock, wanted)
        return bool(poll.poll(_left_ms(deadline_s)))

    def ask(self, deadline_s: float, *words: bytes | str | int) -> object:
        """Run one command, off the hot path; an error that the server answers is returned.

        Raises:
            LinkFailed: there was no answer in time.
        """
        replies: list[object] = []
        why = self.send(packed(*words), deadline_s) or self.receive(replies, 1, deadline_s)
        if why:
            raise LinkFailed(why, f"{self.where}: {said(why)}")
        return replies[0]

    def fail(self, why: str) -> None:
        """Let nobody use it again. Whoever watches it for HANGUP wakes up, and closes it."""
        self.why = self.why or why
        with suppress(OSError):  # it may be gone already
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close it."""
        self._sock.close()


def packed(*words: bytes | str | int) -> bytes:
    """Return a command as it goes over the line."""
    data: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # of any length, not of one
    return data


def _left_ms(deadline_s: float) -> float:
    return max(0.0, (deadline_s - monotonic()) * 1000)
