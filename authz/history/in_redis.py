"""Records in a stream of Redis: an entry for each, with the line in its field `record`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import redis
from redis.backoff import NoBackoff
from redis.exceptions import MovedError, NoPermissionError
from redis.retry import Retry

from authz.history.line import Chunk, Flaw, Place, read_lines
from authz.history.source import Item
from authz.model.errors import ConfigError
from authz.model.sink import SinkAddress

FIELD = b"record"
_ENTRIES = 1000  # at once: a millisecond of Redis
_BEFORE_ALL = b"0-0"
_FIRST = b"-"
_COUNT_MAX = (1 << 64) - 1  # the second number of an id
_ID = re.compile(rb"([0-9]{1,20})-([0-9]{1,20})")
_ODD = "it answers what no Redis would"
_T = TypeVar("_T")

# What mends it, by the library's kind of error. SECURITY: the server's own words are left out: it may repeat
# what it was sent.
_HINTS: tuple[tuple[type[redis.RedisError], str], ...] = (
    (redis.AuthenticationError, "it does not take AUTHZ_RECORD_REDIS_USER and AUTHZ_RECORD_REDIS_PASSWORD"),
    (
        NoPermissionError,
        "that user may not read; give it `+xlen +xrange +xrevrange +xread` and the key",
    ),
    (MovedError, "it is a node of a Cluster, and another has the stream; name that one"),
    (redis.BusyLoadingError, "it loads its data; this passes"),
    (redis.TimeoutError, "it does not answer in time"),
    (redis.DataError, "it is asked what no Redis takes"),
)
_NO_STREAM = "what is there is no stream; name another"
_REFUSED = "it refuses; is that database there, and is it Redis 5 or newer?"

_Entry = tuple[bytes, Mapping[bytes, bytes]]


class _Client(Protocol):
    """What is asked of the library, with the types that its replies really have."""

    def xlen(self, name: str) -> int: ...

    def xrange(self, name: str, min: bytes, max: bytes, count: int) -> list[_Entry]: ...  # noqa: A002 - so there

    def xrevrange(self, name: str, max: bytes, min: bytes, count: int) -> list[_Entry]: ...  # noqa: A002 - too

    def xread(
        self, streams: Mapping[str, bytes], count: int, block: int
    ) -> list[tuple[bytes, list[_Entry]]]: ...

    def close(self) -> None: ...


class Secrets(NamedTuple):
    """Who we are to a Redis, and how it proves who it is."""

    user: str = ""
    password: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""
    timeout_s: float = 10.0

    def __repr__(self) -> str:  # SECURITY: the password is in it
        return f"Secrets(user={self.user!r})"


class RedisSource:
    """One stream.

    Args:
        address: server, database and stream.

    Raises:
        ConfigError: it cannot be reached, or refuses us.
    """

    def __init__(self, address: SinkAddress, secrets: Secrets) -> None:
        self._name, self._stream = str(address), address.target
        self._client = _client(address, secrets)
        self._last: bytes | None = None  # id of the newest entry that was read, or was there at first
        self.done = 0
        self._total = self._asked(partial(self._client.xlen, self._stream))

    @property
    def name(self) -> str:
        """See `Source.name`."""
        return self._name

    @property
    def total(self) -> int:
        """See `Source.total`: entries."""
        return self._total

    def read(self) -> Iterator[Item]:
        """See `Source.read`: what was there when it began."""
        end, start = self._mark(), _FIRST
        while entries := self._range(start, end):
            start = self._moved(start, _after(entries[-1][0]))
            yield from self._items(entries)

    def read_back(self) -> Iterator[Item] | None:
        """See `Source.read_back`."""
        return self._back(self._mark())

    def cannot_follow(self) -> str:
        """See `Source.cannot_follow`."""
        return ""

    def poll(self, wait_s: float) -> list[Item]:
        """See `Source.poll`."""
        last, block_ms = self._mark(), max(1, int(wait_s * 1000))
        entries = self._asked(partial(self._newer, last, block_ms))
        if entries:
            self._last = entries[-1][0]
        return list(self._items(entries))

    def close(self) -> None:
        """See `Source.close`."""
        self._client.close()

    def _mark(self) -> bytes:
        """Return the id of the newest entry that was there when this was first asked."""
        if self._last is None:
            newest = self._newest(b"+", 1)
            self._last = newest[0][0] if newest else _BEFORE_ALL
        return self._last

    def _back(self, end: bytes) -> Iterator[Item]:
        while entries := self._newest(end, _ENTRIES):
            end = self._moved(end, _before(entries[-1][0]), back=True)
            yield from reversed(list(self._items(entries[::-1])))

    def _range(self, start: bytes, end: bytes) -> list[_Entry]:
        return self._asked(partial(self._client.xrange, self._stream, start, end, _ENTRIES))

    def _newer(self, last: bytes, block_ms: int) -> list[_Entry]:
        said = self._client.xread({self._stream: last}, _ENTRIES, block_ms)
        return said[0][1] if said else []

    def _newest(self, end: bytes, count: int) -> list[_Entry]:
        return self._asked(partial(self._client.xrevrange, self._stream, end, _FIRST, count))

    def _items(self, entries: list[_Entry]) -> Iterator[Chunk | Flaw]:
        """Yield the lines of entries as one chunk; each by itself if one cannot be read: ids are places."""
        self.done += len(entries)
        lines = [fields.get(FIELD) for _, fields in entries]
        data = b"".join(line.rstrip(b"\n") + b"\n" for line in lines if line is not None)
        if None not in lines and read_lines(data) is not None:
            if data:
                yield Chunk(data, Place(self._name))
            return
        for (number, _), line in zip(entries, lines, strict=True):
            place = Place(f"{self._name}, entry {number.decode('ascii', 'replace')}")
            if line is None:
                yield Flaw(place, "it has no field `record`")
            else:
                yield Chunk(line.rstrip(b"\n") + b"\n", place)

    def _moved(self, before: bytes, now: bytes, *, back: bool = False) -> bytes:
        """Return where reading goes on; with a server that repeats itself it would never end."""
        if before != _FIRST and (_parts(now) >= _parts(before) if back else _parts(now) <= _parts(before)):
            raise ConfigError(f"{self._name}: {_ODD}")
        return now

    def _asked(self, ask: Callable[[], _T]) -> _T:
        try:
            return ask()
        except redis.RedisError as error:
            raise ConfigError(f"{self._name}: {_said(error)}") from None
        except (
            TypeError,
            ValueError,
            LookupError,
            AttributeError,
        ):  # of the library: other types than it knows
            raise ConfigError(f"{self._name}: {_ODD}") from None


def _parts(number: object) -> tuple[int, int]:
    """Return an id as numbers, which sort as ids do.

    Raises:
        ConfigError: it is none.
    """
    found = _ID.fullmatch(number) if isinstance(number, bytes) else None
    if found is None:
        raise ConfigError(f"Redis: {_ODD}")
    return int(found[1]), int(found[2])


def _after(number: bytes) -> bytes:
    """Return the id that comes next: Redis 5 knows no bounds that are left out."""
    ms, count = _parts(number)
    return b"%d-%d" % (ms, count + 1)


def _before(number: bytes) -> bytes:
    ms, count = _parts(number)
    return b"%d-%d" % (ms, count - 1) if count else b"%d-%d" % (ms - 1, _COUNT_MAX)


def _client(address: SinkAddress, secrets: Secrets) -> _Client:
    host, port = address.servers[0]
    tls: dict[str, Any] = {}
    if address.tls:
        tls = {
            "ssl": True,
            "ssl_ca_certs": secrets.ca or None,
            "ssl_certfile": secrets.cert or None,
            "ssl_keyfile": secrets.key or None,
        }
    client = redis.Redis(
        host=host,
        port=port,
        db=address.db,
        username=secrets.user or None,
        password=secrets.password or None,
        socket_timeout=secrets.timeout_s,
        socket_connect_timeout=secrets.timeout_s,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        **tls,
    )
    return cast("_Client", client)


def _said(error: redis.RedisError) -> str:
    for kind, hint in _HINTS:
        if isinstance(error, kind):
            return hint
    if isinstance(error, redis.ConnectionError):
        cause = error.__cause__ or error.__context__
        words = getattr(cause, "verify_message", None) or getattr(cause, "strerror", None)
        return f"cannot be reached: {str(words or 'it closed the connection').lower()}"
    return _NO_STREAM if str(error).startswith("WRONGTYPE") else _REFUSED
