"""From bytes to Envoy's message, and the parts of it that need no judgement.

The messages have no types (xds-protos carries none), so `Any` ends in this room.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from google.protobuf.message import DecodeError

_from_bytes = CheckRequest.FromString

# Year 9999: what a protobuf timestamp may hold, and what a reader of our records can print.
_TIME_MAX_S = 253_402_300_799


def parse(payload: bytes) -> Any | None:
    """Return the AttributeContext of a CheckRequest, or None where the bytes are none.

    Text that is not UTF-8 and messages nested deeper than 100 levels are undecodable too.
    """
    try:
        return _from_bytes(payload).attributes
    except DecodeError:
        return None


def seen_at_us(request: Any) -> int:
    """Return when Envoy saw the request, microseconds since 1970; 0 where it does not say or cannot be."""
    time = request.time
    seconds: int = time.seconds
    nanos: int = time.nanos
    if 0 <= seconds <= _TIME_MAX_S and 0 <= nanos < 1_000_000_000:
        return seconds * 1_000_000 + nanos // 1000
    return 0


def listed_context(attributes: Any, names: frozenset[str]) -> Mapping[str, str]:
    """Return the context extensions that the operator lists."""
    extensions = attributes.context_extensions
    # `in` first: reading an absent key of a protobuf map creates it.
    return {name: extensions[name] for name in names if name in extensions}


def listed_metadata(attributes: Any, names: frozenset[str]) -> Mapping[str, object]:
    """Return the name spaces of Envoy's dynamic metadata that the operator lists, as plain values."""
    spaces = attributes.metadata_context.filter_metadata
    return {name: _plain_fields(spaces[name]) for name in names if name in spaces}


def _plain_fields(struct: Any) -> dict[str, object]:
    return {name: _plain(value) for name, value in struct.fields.items()}


def _plain(value: Any) -> object:
    """Return a `google.protobuf.Value` as a plain value; every number is a float."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return _plain_fields(value.struct_value)
    if kind == "list_value":
        return [_plain(item) for item in value.list_value.values]
    if kind is None or kind == "null_value":
        return None
    return getattr(value, kind)  # a float, a str or a bool
