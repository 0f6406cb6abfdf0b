"""How far a sink is in each stream, kept where the next shipper finds it.

A file is replaced by one rename, twice a second and after every few thousand records. It is not forced to the
disk: a `kill -9` loses none of it, a power cut may, and then what it lost is shipped once more.
"""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Lock

import msgspec
from msgspec import Struct

from authz.config.log import get_logger
from authz.model.sink import SinkAddress
from authz.record.segment import is_stream
from authz.shipping.stream import open_regular

DIRECTORY = "positions"
# Records that may have arrived without that being kept: after a kill they come twice, and until they have
# come they are not given up. 7 MB; at 100,000 records/s it makes 12 writes of a small file a second.
UNSAVED_MAX = 8192
_FILE_MAX_BYTES = 64 * 1024 * 1024  # a million streams; more is no file of ours
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_DIRECTORY_MODE = 0o700
_FRESH = ".tmp"
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC

_log = get_logger("shipping")


class Position(Struct, frozen=True, omit_defaults=True):
    """How far a sink is in a stream.

    Args:
        done: the last seq that it has.
        chain: state of the chain, see `record/chain.py`.
        after: what the chain was begun with.
        end: it has all that there will ever be.
    """

    done: int = 0
    chain: str = ""
    after: str = ""
    end: bool = False


class _File(Struct, omit_defaults=True):
    """What is kept.

    Args:
        tips: by sidecar, the end of the chain that ended last.
        unsaved_max: how many records of a stream may have arrived beyond.
    """

    v: int = 1
    sink: str = ""
    streams: dict[str, Position] = {}
    tips: dict[str, str] = {}
    unsaved_max: int = UNSAVED_MAX


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_File).decode


class Positions:
    """The positions of one sink. Its carrier changes them; whoever tidies the spool reads `saved`.

    Args:
        path: where they are kept; see `file_name`.
        sink: its address as it was written, for whoever looks into the file.
        unsaved_max: how many records of a stream the sink may get before that is kept.
    """

    def __init__(self, path: Path, sink: str = "", unsaved_max: int = UNSAVED_MAX) -> None:
        self.unsaved_max = unsaved_max
        self._path = path
        self._sink = sink
        self._lock = Lock()
        kept = _read(path)
        self._streams = kept.streams
        self.tips = kept.tips
        self.saved: Mapping[str, Position] = dict(kept.streams)  # replaced, never changed
        # Beyond these an earlier life may have delivered what it could not save any more.
        self.loaded: Mapping[str, Position] = self.saved
        self.loaded_unsaved = kept.unsaved_max
        self._failed = False
        self.genuine = bool(kept.streams or kept.tips or kept.sink)  # the file is of our making

    def get(self, stream: str) -> Position | None:
        """Return how far it is in a stream; None: it has not begun."""
        return self._streams.get(stream)

    def set(self, stream: str, position: Position) -> None:
        """Note how far it is now."""
        with self._lock:
            self._streams[stream] = position

    def distrust(self, stream: str, position: Position) -> None:
        """Note that what was kept of a stream is wrong, and how far it is instead."""
        with self._lock:
            self._streams[stream] = position
            self.saved = {**self.saved, stream: position}
            self.loaded = {**self.loaded, stream: position}

    def forget(self, streams: Iterable[str]) -> None:
        """Note that streams are no more."""
        with self._lock:
            for stream in streams:
                self._streams.pop(stream, None)

    def keep_only(self, streams: frozenset[str]) -> None:
        """Forget all others."""
        self.forget([stream for stream in self._streams if stream not in streams])

    def save(self) -> bool:
        """Keep them; whether that was done."""
        with self._lock:
            return self._save()

    def _save(self) -> bool:
        streams = dict(self._streams)
        data = _encode(_File(1, self._sink, streams, self.tips, self.unsaved_max))
        try:
            self._put(data)
        except OSError as error:
            self._complain(error)
            if error.errno not in _NO_ROOM:
                return False
            # Where the disk is full, nothing would ever get room: what every sink has is taken away all the
            # same. A kill now makes us say that it was damaged; it arrived.
        else:
            self._failed = False
        self.saved = streams
        return not self._failed

    def _put(self, data: bytes) -> None:
        fresh = self._path.with_name(self._path.name + _FRESH)
        try:
            _write(fresh, data)
        except FileNotFoundError:
            # Somebody took the directory away, maybe with the whole spool: without positions nothing would
            # ever be deleted, and the spool would fill up.
            fresh.parent.mkdir(mode=_DIRECTORY_MODE)
            _write(fresh, data)
        fresh.rename(self._path)

    def _complain(self, error: OSError) -> None:
        if not self._failed:
            self._failed = True
            _log.error("positions cannot be kept", sink=self._sink, cause=error.strerror)


def file_name(address: SinkAddress, purpose: str = "") -> str:
    """Return the name of a sink's file: that of another address is another one, whatever their order."""
    return f"{purpose or address.kind.value}-{zlib.crc32(address.text.encode()):08x}"


def _write(path: Path, data: bytes) -> None:
    fd = os.open(path, _FLAGS, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)


def _read(path: Path) -> _File:
    try:
        fd = open_regular(path)
        with os.fdopen(fd, "rb") as file:
            kept = _decode(file.read(_FILE_MAX_BYTES))
    except FileNotFoundError:
        return _File()
    except (OSError, ValueError):  # msgspec's and Unicode's errors among them
        _log.warning("positions do not read; records that arrived may be shipped again", file=path.name)
        return _File()
    kept.streams = {name: position for name, position in kept.streams.items() if is_stream(name)}
    return kept
