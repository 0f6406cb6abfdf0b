"""CheckResponse messages, as bytes. Nothing else in the program builds one.

Source: envoy/service/auth/v3/external_auth.proto; protocol.md, "The response".
"""

from __future__ import annotations

import re
from functools import lru_cache

from envoy.config.core.v3 import base_pb2
from envoy.service.auth.v3 import external_auth_pb2
from google.protobuf import wrappers_pb2

from authz.model.reason import Code

Headers = tuple[tuple[str, str], ...]

_INJECTION = re.compile(r"[\r\n\0]")

# Left unset, `append` meant overwrite, then append (Envoy 1.37.0), then overwrite again: always say it.
_OVERWRITE = wrappers_pb2.BoolValue(value=False)

# Room for the answers of some thousand identities; one is about 0.5 KiB with its key.
_ALLOWS = 8192

# Headers for clients that pass: what a limit's policy is never changes, what remains goes through few
# numbers. One is about 0.4 KiB with its key.
_TOLD = 4096

# Stands in a refusal's bytes where each call's decision id goes: as long as one, so no length changes.
ID_PLACEHOLDER = "00000000-0000-7000-8000-000000000000"


def allow(headers: Headers, remove: tuple[str, ...], remove_query: tuple[str, ...] = ()) -> bytes:
    """Return the message that lets a request pass.

    Args:
        headers: for the upstream; each overwrites what the client sent.
        remove: header names to take away. INVARIANT: none that is also set; Envoy removes last.
        remove_query: raw names of query parameters to take away.
    """
    message = external_auth_pb2.CheckResponse()
    message.status.code = Code.OK
    answer = message.ok_response
    answer.SetInParent()
    answer.headers.extend(map(_option, headers))
    set_here = {name for name, _ in headers}
    answer.headers_to_remove.extend(name for name in remove if name.lower() not in set_here)
    answer.query_parameters_to_remove.extend(remove_query)
    return bytes(message.SerializeToString())


cached_allow = lru_cache(_ALLOWS)(allow)


def for_client(headers: Headers) -> bytes:
    """Return what an allow ends with where its client is told something, too: response headers.

    Messages that stand one after the other are one message to whoever parses them, the parts of one `oneof`
    field included: so the part of an allow that is kept needs no second look. INVARIANT: only an allow is
    followed by it; after a refusal it would take its place.

    Args:
        headers: for the client; each overwrites what the application says of the same name.
    """
    return b"".join([_for_client(header) for header in headers])


@lru_cache(_TOLD)
def _for_client(header: tuple[str, str]) -> bytes:
    message = external_auth_pb2.CheckResponse()
    message.ok_response.response_headers_to_add.append(_option(header))
    return bytes(message.SerializeToString())


def deny(status: int, code: Code, headers: Headers, body: str) -> bytes:
    """Return the message that refuses a request with this status, these headers and this body."""
    message = external_auth_pb2.CheckResponse()
    # SECURITY: Envoy reads this code alone; 0 would let the request pass, whatever follows.
    message.status.code = code if code is not Code.OK else Code.PERMISSION_DENIED
    answer = message.denied_response
    answer.status.code = status
    answer.headers.extend(map(_option, headers))
    answer.body = body
    return bytes(message.SerializeToString())


def _option(header: tuple[str, str]) -> base_pb2.HeaderValueOption:
    name, value = header
    if _INJECTION.search(value):
        raise ValueError(f"the value of `{name}` holds a line break or NUL")
    return base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key=name, value=value),
        append=_OVERWRITE,
        append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )
