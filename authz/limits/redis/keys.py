"""What buckets are called in Redis.

    authz:<keyspace>:{<tag>}:<limit>:<digest>

The tag alone decides where a key lies in a Cluster: buckets of one caller lie together, so that one script
may spend from all of them. The digest names the bucket. Both are keyed hashes over parts with their lengths:
nothing that a client wrote stands in a key, and no two names become one.
Source: "Exact mode" and "Cluster" in the contract on limits.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterable
from hashlib import blake2b

from authz.model.limit import Spend

_TAG_BYTES = 8  # two callers with one tag share a place, never a bucket
_DIGEST_BYTES = 16

# Names worked out already; one is about 200 bytes with its bucket. When it is full it starts anew.
_KNOWN_MAX = 50_000

_Known = tuple[tuple[str, ...], bytes]  # caller, name


class Keys:
    """Names of buckets in one keyspace. Any thread may ask.

    Args:
        keyspace: keeps installations apart that share a Redis: `[A-Za-z0-9._-]{1,64}`.
    """

    def __init__(self, keyspace: str) -> None:
        self.prefix = f"authz:{keyspace}:"
        self._secret = blake2b(keyspace.encode(), digest_size=32).digest()
        self._known: dict[tuple[str, ...], _Known] = {}

    def name(self, spend: Spend) -> bytes:
        """Return the key of the bucket that a spend draws from."""
        known = self._known.get(spend.bucket)
        # A key may be given to another customer while we run: its bucket then lies with those of that one.
        if known is None or known[0] != spend.caller:
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            known = self._known[spend.bucket] = (spend.caller, self._name(spend))
        return known[1]

    def tag(self, caller: tuple[str, ...]) -> str:
        """Return the tag of every bucket of a caller; see Spend.caller."""
        return self._hash(caller, _TAG_BYTES)

    def digest(self, bucket: tuple[str, ...]) -> str:
        """Return what stands for a bucket at the end of its key."""
        return self._hash(bucket, _DIGEST_BYTES)

    def _name(self, spend: Spend) -> bytes:
        tag = self.tag(spend.caller or spend.bucket)
        limit = spend.bucket[0].replace("/", ".")  # of a bucket in shadow: see policy/shadow.py
        return f"{self.prefix}{{{tag}}}:{limit}:{self.digest(spend.bucket)}".encode()

    def _hash(self, parts: Iterable[str], size: int) -> str:
        digest = blake2b(digest_size=size, key=self._secret)
        for part in parts:
            encoded = part.encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(4, "big"))
            digest.update(encoded)
        return urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
