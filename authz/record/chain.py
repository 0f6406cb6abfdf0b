"""Tamper evidence: each line names the digest of the one before it, and checkpoints sign them.

    {"v":1,"time":...,"seq":41,...,"prev":"DIGEST OF THE LINE BEFORE"}
    {"v":1,"kind":"checkpoint","time":...,"seq":41,"lines":41,...,"prev":"...","key":"...","signature":"..."}

A digest is the SHA-256 of a line as it was shipped, without its newline, in base64url. A checkpoint stands
first in a stream (it names the stream before it), after every 1,000 lines, before the first line of another
minute, and last. INVARIANT: where checkpoints stand, and every byte of them, follows from the lines alone:
the same lines give the same bytes, however they are cut into batches, and whoever ships them once more after
a kill repeats itself. So no clock is read here, and Ed25519 takes no chance.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import urlsafe_b64decode
from binascii import b2a_base64
from pathlib import Path
from typing import Annotated

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from msgspec import Meta, Struct

from authz.model.errors import ConfigError

VERSION = 1
EVERY = 1000  # lines between two checkpoints: a signature costs 50 us, and so 0.05 us a line
DIGEST_CHARS = 43  # of 32 bytes in base64url
NOTHING = "A" * DIGEST_CHARS  # what the first line names where no line is known before it

_DOMAIN = b"authz-checkpoint-v1\n"  # nothing else that this key may sign begins so
_SIGNATURE = b',"signature":"'
_SIGNATURE_CHARS = 86
_KEY_BYTES = 8
_PEM_MAX_BYTES = 16 * 1024
_URL = bytes.maketrans(b"+/", b"-_")
_TIME = b'"time":"'
_TIME_MAX = 64  # it stands among the first fields; a decision's is the second
_MINUTE, _DAY = 16, 10  # characters of a time
# No text of a client can hold these: its quotes are escaped.
_SEQ = re.compile(rb'"(?:last_)?seq":(\d+)')
_FIRST_SEQ = re.compile(rb'"(?:first_)?seq":(\d+)')
_MAKE = "make one with `openssl genpkey -algorithm ed25519 -out FILE`"
_PUBLISH = "`openssl pkey -in KEY -pubout -out FILE`"


class Checkpoint(Struct, frozen=True, omit_defaults=True):
    """A signed line: how far the chain of a stream is. The signature covers all that stands before it."""

    v: Annotated[int, Meta(description="version of this format: 1")] = 0
    kind: Annotated[str, Meta(description="`checkpoint`")] = ""
    time: Annotated[str, Meta(description="of the line before it; of the first, of the line after it")] = ""
    sidecar: Annotated[str, Meta(description="see a decision's")] = ""
    stream: Annotated[str, Meta(description="see a decision's")] = ""
    seq: Annotated[int, Meta(description="number of the last record before it")] = -1
    lines: Annotated[int, Meta(description="lines of this chain so far, checkpoints left out")] = -1
    at: Annotated[str, Meta(description="`begin` or `end` of the stream; absent between them")] = ""
    after: Annotated[str, Meta(description="at the beginning: this sidecar's stream before, if known")] = ""
    prev: Annotated[
        str,
        Meta(description="digest of the line before it; at the beginning, of the last of `after`, or 43 `A`"),
    ] = ""
    key: Annotated[str, Meta(description="which key signed: 16 hex digits of its SHA-256")] = ""
    signature: Annotated[str, Meta(description="Ed25519, in base64url")] = ""


def digest(line: bytes) -> bytes:
    """Return the digest of a line without its newline, as the next one names it."""
    return b2a_base64(hashlib.sha256(line).digest(), newline=False)[:DIGEST_CHARS].translate(_URL)


class PublicKey:
    """Who says whether a checkpoint is genuine."""

    __slots__ = ("_key", "id")

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key
        raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.id = hashlib.sha256(raw).digest()[:_KEY_BYTES].hex()

    def signed(self, line: bytes) -> bool:
        """Whether this key signed this checkpoint, to the last byte."""
        said, separator, rest = line.rpartition(_SIGNATURE)
        if not separator or len(rest) != _SIGNATURE_CHARS + 2 or not rest.endswith(b'"}'):
            return False
        signature = _unbase64(rest[:-2])
        if signature is None:
            return False
        try:
            self._key.verify(signature, _DOMAIN + said)
        except InvalidSignature:
            return False
        return True


class ChainKey:
    """What signs checkpoints. SECURITY: neither repr nor str shows it."""

    __slots__ = ("_key", "public")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key())

    def sign(self, said: bytes) -> bytes:
        """Return the signature of a checkpoint's bytes."""
        return _base64(self._key.sign(_DOMAIN + said))


class Chain:
    """The chain of one stream at one sink. One thread uses it.

    Args:
        state: of the same chain, as it was when all that it linked had arrived; "": it begins.
        after: the `tip` of the chain of this sidecar's stream before this one, at the same sink; "": unknown.
    """

    __slots__ = ("_after", "_key", "_lines", "_minute", "_prev", "_seq", "_sidecar", "_stream", "_time")

    def __init__(self, key: ChainKey, sidecar: str, stream: str, state: str = "", after: str = "") -> None:
        self._key, self._sidecar, self._stream, self._after = key, sidecar, stream, after
        self._lines, self._seq, self._time, self._prev = 0, 0, b"", b""
        if state:
            lines, seq, time, prev = state.split()
            self._lines, self._seq, self._time, self._prev = (
                int(lines),
                int(seq),
                time.encode(),
                prev.encode(),
            )
        self._minute = self._time[:_MINUTE]

    @property
    def state(self) -> str:
        """Where the chain stands, in a word or two: save it once the lines have arrived."""
        if not self._prev:
            return ""
        return f"{self._lines} {self._seq} {self._time.decode()} {self._prev.decode()}"

    @property
    def tip(self) -> str:
        """What the next stream's chain takes as `after`."""
        return f"{self._stream}:{self._prev.decode()}" if self._prev else ""

    def link(self, lines: bytes) -> bytes:
        """Return the lines, linked, and what checkpoints stand between them.

        Args:
            lines: objects of JSON as `entry` and `notice` write them, in the stream's order, each with its
                newline.
        """
        linked: list[bytes] = []
        last = b""
        for line in lines.split(b"\n"):
            if not line:
                continue
            at = line.find(_TIME, 0, _TIME_MAX) + len(_TIME)
            minute = line[at : at + _MINUTE]
            if minute != self._minute or not self._lines % EVERY:
                if last:
                    self._passed(last)
                self._turn(line, minute, linked)
            last = line
            line = b'%b,"prev":"%b"}' % (line[:-1], self._prev)
            self._prev = digest(line)
            self._lines += 1
            linked.append(line)
        if last:
            self._passed(last)
        linked.append(b"")
        return b"\n".join(linked)

    def end(self) -> bytes:
        """Return the last checkpoint of a stream that is over; nothing where it never began."""
        if not self._prev:
            return b""
        return self._checkpoint("end") + b"\n"

    def _turn(self, line: bytes, minute: bytes, linked: list[bytes]) -> None:
        """Set the checkpoint that is due before this line, if one is."""
        if not self._prev:
            first = _FIRST_SEQ.search(line)
            self._seq = int(first[1]) - 1 if first else 0
            self._time = _time(line)
            linked.append(self._checkpoint("begin"))
        # Two threads judge, and the minute may seem to turn back for a moment; a clock that was set may do so
        # for good.
        elif minute > self._minute or minute[:_DAY] < self._minute[:_DAY] or not self._lines % EVERY:
            linked.append(self._checkpoint())
        else:
            return
        self._minute = minute

    def _passed(self, line: bytes) -> None:
        covers = _SEQ.search(line)
        if covers:
            self._seq = int(covers[1])
        self._time = _time(line)

    def _checkpoint(self, at: str = "") -> bytes:
        stream, _, tip = self._after.partition(":") if at == "begin" else ("", "", "")
        fields = {
            "v": VERSION, "kind": "checkpoint", "time": self._time.decode(), "sidecar": self._sidecar,
            "stream": self._stream, "seq": self._seq, "lines": self._lines, "at": at, "after": stream,
            "prev": self._prev.decode() or tip or NOTHING, "key": self._key.public.id,
        }  # fmt: skip
        said = json.dumps(
            {name: value for name, value in fields.items() if value != ""}, separators=(",", ":")
        )
        body = said[:-1].encode()
        line = b'%b%b%b"}' % (body, _SIGNATURE, self._key.sign(body))
        self._prev = digest(line)
        return line


def read_key(path: Path) -> ChainKey:
    """Return the key that signs.

    Raises:
        ConfigError: it cannot be read, or is none.
    """
    try:
        key = load_pem_private_key(_read(path, "record_chain_key"), password=None)
    except (ValueError, TypeError):  # no PEM; or a passphrase is asked for
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(
            f"record_chain_key: `{path}` holds no private Ed25519 key without passphrase; {_MAKE}"
        ) from None
    return ChainKey(key)


def read_public_key(path: Path) -> PublicKey:
    """Return the key that checkpoints are held against.

    Raises:
        ConfigError: it cannot be read, or is none; a private key is refused: it belongs nowhere but there
            where records are shipped.
    """
    pem = _read(path, "key")
    if b"PRIVATE KEY" in pem:
        raise ConfigError(f"key: `{path}` is a private key; give the public one: {_PUBLISH}")
    try:
        key = load_pem_public_key(pem)
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"key: `{path}` holds no public Ed25519 key, PEM; write it with {_PUBLISH}")
    return PublicKey(key)


def _read(path: Path, setting: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_PEM_MAX_BYTES)
    except (OSError, ValueError) as error:
        words = (getattr(error, "strerror", None) or "cannot be opened").lower()
        raise ConfigError(f"{setting}: `{path}`: {words}; name a file that this user may read") from None


def _time(line: bytes) -> bytes:
    at = line.find(_TIME, 0, _TIME_MAX) + len(_TIME)
    return line[at : line.index(b'"', at)]


def _base64(raw: bytes) -> bytes:
    return b2a_base64(raw, newline=False).rstrip(b"=").translate(_URL)


def _unbase64(text: bytes) -> bytes | None:
    """Return the bytes; None where another text stands for the same ones: one text alone is genuine."""
    try:
        raw = urlsafe_b64decode(text + b"==")
    except ValueError:
        return None
    return raw if _base64(raw) == text else None
