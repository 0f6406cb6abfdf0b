"""What covers credentials in an explanation: people paste explanations into tickets.

SECURITY: the secrets of one request are gathered from wherever any provider may look and from every header
whose name smells of one; then every text of the whole explanation is searched for them. So it does not
matter which part lets a value through.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from authz.model.identity import CredentialPlace, PlaceKind
from authz.model.text import header_text, percent_decode, query_pairs
from authz.record.redact import is_credential_name, masked

COVER = "***"

# Shorter ones are covered only where they stand alone: as parts they would cover ordinary words.
_PART_MIN = 6
# Of a long one its beginning is enough to know it by: a text may have been cut off in the middle of it.
_LONG, _BEGINNING = 24, 12
_SEPARATORS = re.compile(r"[\s,;=\"]+")
_Shown = TypeVar("_Shown", bound=msgspec.Struct)


class Veil:
    """The secrets of one request. SECURITY: its text never shows them.

    Args:
        headers: as sent, names in any case.
        target: path and query, as sent.
        places: of every provider of the set, named by a rule or not.
    """

    __slots__ = ("_parts", "_whole")

    def __init__(
        self, headers: Iterable[tuple[str, bytes]], target: str, places: Iterable[CredentialPlace]
    ) -> None:
        read = tuple(places)
        words = _WORDS | {place.scheme for place in read} | {place.name for place in read}
        found = {text for text in _secrets(headers, target, read) if text.lower() not in words}
        self._whole = frozenset(found)
        long = sorted((text for text in found if len(text) >= _PART_MIN), key=len, reverse=True)
        self._parts = re.compile("|".join(map(_pattern, long))) if long else None

    def __repr__(self) -> str:
        return f"Veil({len(self._whole)} secrets)"

    def cover(self, text: str) -> str:
        """Return a text without any secret, or part of one."""
        if text in self._whole:
            return COVER
        covered = self._parts.sub(COVER, text) if self._parts is not None else text
        return masked(covered)

    def over(self, shown: _Shown) -> _Shown:
        """Return a struct in which every text is covered."""
        plain = self._covered(msgspec.to_builtins(shown))
        return msgspec.convert(plain, type(shown))

    def _covered(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.cover(value)
        if isinstance(value, Mapping):
            return {self.cover(name): self._covered(part) for name, part in value.items()}
        if isinstance(value, list | tuple):
            return [self._covered(part) for part in value]
        return value


def _secrets(
    headers: Iterable[tuple[str, bytes]], target: str, places: tuple[CredentialPlace, ...]
) -> Iterator[str]:
    read = {place.name for place in places if place.kind is PlaceKind.HEADER}
    for name, raw in headers:
        if name.lower() in read or is_credential_name(name):
            yield from _pieces(header_text(raw))
    parameters = {place.name for place in places if place.kind is PlaceKind.QUERY}
    for name, value in query_pairs(target.partition("?")[2]):
        if percent_decode(name) in parameters or is_credential_name(percent_decode(name)):
            yield from _pieces(value)


def _pieces(text: str) -> Iterator[str]:
    """Yield a value whole, and what it is made of: a scheme and a token, cookies and their values."""
    for spelled in (text, percent_decode(text)):
        for piece in (spelled, *_SEPARATORS.split(spelled)):
            yield piece
            yield json.dumps(piece)[1:-1]  # as a value is shown


def _pattern(secret: str) -> str:
    if len(secret) < _LONG:
        return re.escape(secret)
    return re.escape(secret[:_BEGINNING]) + r"[^\s\"]*"


# Schemes and other words around a secret, which hide nothing.
_WORDS = frozenset({"", COVER, "bearer", "basic", "digest"})
