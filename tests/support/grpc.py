"""The reference gRPC client, sending bytes as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from envoy.service.auth.v3 import external_auth_pb2

from authz.transport.front import METHOD

Ask = Callable[..., Any]


@contextmanager
def client(target: str) -> Iterator[Ask]:
    """Connect to `unix:PATH` or `HOST:PORT`; yields a function from payload bytes to reply bytes.

    It takes `timeout` (seconds) and has `.future` for many calls at once.
    """
    with grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        grpc.channel_ready_future(channel).result(timeout=10)
        yield channel.unary_unary(METHOD, request_serializer=None, response_deserializer=None)


def read(payload: bytes) -> Any:
    """Read a reply as Envoy does; an empty one would be an allow, so it fails here."""
    assert payload != b""
    return external_auth_pb2.CheckResponse.FromString(payload)
