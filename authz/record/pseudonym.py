"""Who asked, told apart and not told: a keyed hash in place of a name.

The same name has the same pseudonym in every record of every sidecar with the same key, so that records can
be counted, joined and searched; without the key nobody gets from it to the name, not by trying all of them
either. With another key all pseudonyms change.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import lru_cache, partial

PREFIX = "p:"
_CHARS = 22  # 132 bits: no two of a million million names share one
_DOMAIN = b"authz-pseudonym-v1"
_ADDRESSES_MAX = 16_384  # about 250 bytes each; a hash costs 2 us


class Field(StrEnum):
    """What may stand in records as a pseudonym; as the setting `record_pseudonyms` names it."""

    SUBJECT = "subject"
    KEY_ID = "key_id"
    CUSTOMER = "customer"
    CLIENT_ADDRESS = "client_address"


def pseudonym(key: bytes, field: str, text: str) -> str:
    """Return what stands in records for `text` in this field.

    One text has another pseudonym in each field. Nothing has none: it stays empty.
    """
    if not text:
        return ""
    said = b"\0".join((_DOMAIN, field.encode(), text.encode("utf-8", "surrogatepass")))
    return PREFIX + urlsafe_b64encode(hmac.digest(key, said, "sha256"))[:_CHARS].decode()


class Pseudonyms:
    """Which fields are hidden, and how. SECURITY: neither repr nor str shows the key."""

    __slots__ = ("_key", "address", "fields")

    def __init__(self, key: bytes, fields: Iterable[str]) -> None:
        self._key = key
        self.fields = frozenset(map(Field, fields))
        self.address: Callable[[str], str] = str
        if Field.CLIENT_ADDRESS in self.fields:
            self.address = lru_cache(_ADDRESSES_MAX)(partial(pseudonym, key, Field.CLIENT_ADDRESS))

    def hides(self, field: Field) -> bool:
        """Whether this field never stands in records as it is."""
        return field in self.fields

    def of(self, field: Field, text: str) -> str:
        """Return what stands in a record for the text of this field."""
        return pseudonym(self._key, field, text) if field in self.fields else text

    def subject(self, subject: str, key_id: str) -> str:
        """Return what stands for a subject. SECURITY: that of an API key is its id once more."""
        if subject == key_id and Field.SUBJECT not in self.fields:
            return self.of(Field.KEY_ID, subject)
        return self.of(Field.SUBJECT, subject)
