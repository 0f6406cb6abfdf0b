"""A server that speaks Redis' protocol and answers whatever a test wants: nonsense, half of it, nothing."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha1

import hiredis

from authz.model.address import TcpAddress

CLOSE = None
"""Instead of an answer: the connection is closed."""

Answer = bytes | None | Callable[[list[bytes]], bytes | None]


def bulk(text: bytes) -> bytes:
    """Return a string as it is answered."""
    return b"$%d\r\n%s\r\n" % (len(text), text)


def array(*items: object) -> bytes:
    """Return a list as it is answered, of numbers, texts, nothing and lists."""
    return b"*%d\r\n" % len(items) + b"".join(map(_item, items))


def _item(item: object) -> bytes:
    match item:
        case int():
            return b":%d\r\n" % item
        case bytes():
            return bulk(item)
        case None:
            return b"$-1\r\n"
        case list() | tuple():
            return array(*item)
    raise TypeError(item)


def _loaded(words: list[bytes]) -> bytes:
    return bulk(sha1(words[-1], usedforsecurity=False).hexdigest().encode())


PLAIN: Mapping[bytes, Answer] = {
    b"AUTH": b"+OK\r\n",
    b"SELECT": b"+OK\r\n",
    b"ASKING": b"+OK\r\n",
    b"ROLE": array(b"master", 0, []),
    b"INFO": bulk(b"# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n"),
    b"SCRIPT": _loaded,
    b"EVALSHA": array(1, 7),
}


class FakeRedis:
    """Listens on the loopback until its `with` block ends.

    Args:
        answers: by the command's first word, instead of a healthy server's; may be changed while it runs.
        tls: serves with this.
    """

    def __init__(
        self, answers: Mapping[bytes, Answer] | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.answers: dict[bytes, Answer] = {**PLAIN, **(answers or {})}
        self.commands: list[list[bytes]] = []
        self.connections = 0
        self._tls = tls
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = TcpAddress("127.0.0.1", self._listener.getsockname()[1])

    def __enter__(self) -> FakeRedis:
        self._spawn(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self.hang_up()
        for thread in self._threads:
            thread.join(5.0)

    @property
    def url(self) -> str:
        """How REDIS_URL names it."""
        return f"redis://{self.address}"

    def words(self) -> list[bytes]:
        """Return the first word of every command."""
        return [command[0] for command in self.commands]

    def count(self, word: bytes) -> int:
        """Return how often a command came."""
        return self.words().count(word)

    def refuse(self) -> None:
        """Listen no more; connections that there are stay."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def hang_up(self) -> None:
        """Close every connection."""
        for line in [*self._open]:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def push(self, data: bytes) -> None:
        """Say something that nobody asked for, on every connection."""
        for line in [*self._open]:
            line.sendall(data)

    def _spawn(self, target: Callable[..., None], *given: object) -> None:
        thread = threading.Thread(target=target, args=given, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                line, _ = self._listener.accept()
                self._spawn(self._serve, line)

    def _serve(self, line: socket.socket) -> None:
        try:
            if self._tls is not None:
                line = self._tls.wrap_socket(line, server_side=True)
            self.connections += 1
            self._open.append(line)
            self._talk(line)
        except (OSError, hiredis.HiredisError):
            pass  # the other side went away, or speaks another protocol: its own right
        finally:
            if line in self._open:
                self._open.remove(line)
            line.close()

    def _talk(self, line: socket.socket) -> None:
        reader = hiredis.Reader(notEnoughData=None)
        while data := line.recv(65_536):
            reader.feed(data)
            while (words := reader.gets()) is not None:
                self.commands.append(words)
                answer = self.answers.get(words[0].upper(), b"-ERR unknown command\r\n")
                said = answer(words) if callable(answer) else answer
                if said is CLOSE:
                    return
                line.sendall(said)


def in_turn(*answers: bytes | None) -> Answer:
    """Answer one after the other; the last from then on."""
    left: Sequence[bytes | None] = [*answers]

    def answer(_: list[bytes]) -> bytes | None:
        nonlocal left
        now, left = left[0], left[1:] or left
        return now

    return answer
