"""The record of a decision, read back: its parts, and what of them is one thing under two names."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from authz.model.errors import ConfigError
from authz.record import fields
from authz.record.fields import Record

UNKNOWN = "not recorded"
_T = TypeVar("_T")


def read_record(line: bytes) -> Record:
    """Return a record from its line.

    Raises:
        ConfigError: it is none, or of a later version.
    """
    record = decode(line, Record)
    if record.v != fields.VERSION:
        raise ConfigError(
            f"the record has version {record.v}, and this authz reads {fields.VERSION}: use a newer one"
        )
    return record


def decode(line: bytes, kind: type[_T]) -> _T:
    """Return a record, or a part of one that stands in it as ready JSON.

    Raises:
        ConfigError: it is none.
    """
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"not a record: {str(error).lower()[:200]}") from None


def allowed_by(record: Record) -> tuple[str, ...]:
    """Return the rules that allowed, as `policy/rule`."""
    return tuple(decode(bytes(record.allowed_by), list[str])) if bytes(record.allowed_by) else ()


def judged_method(sent: str) -> str:
    """Return the method that rules see: HEAD is GET."""
    return "GET" if sent == "HEAD" else sent
