"""What both fronts answer to `grpc.health.v1.Health`: whether checks are judged by a policy set just now.

Only who may ask for checks reaches this. A probe that may not asks `/ready` over HTTP instead.
Source: grpc/health/v1/health.proto; the gRPC Health Checking Protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2  # needs protobuf alone, not grpcio

HEALTH_CHECK = "/grpc.health.v1.Health/Check"
HEALTH_WATCH = "/grpc.health.v1.Health/Watch"

# The whole server, and the one service that it has.
SERVICES = ("", "envoy.service.auth.v3.Authorization")

# Watchers at once on one front; each holds a stream, and on grpcio a thread.
WATCHERS_MAX: Final = 16

# gRPC's own statuses. Source: google/rpc/code.proto.
INVALID_ARGUMENT = 3
NOT_FOUND = 5
RESOURCE_EXHAUSTED = 8

_SERVING: bytes = health_pb2.HealthCheckResponse(
    status=health_pb2.HealthCheckResponse.SERVING
).SerializeToString()
_NOT_SERVING: bytes = health_pb2.HealthCheckResponse(
    status=health_pb2.HealthCheckResponse.NOT_SERVING
).SerializeToString()
UNKNOWN: bytes = health_pb2.HealthCheckResponse(
    status=health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
).SerializeToString()
"""What a watcher of a service that is not here is told; it may come, so the stream stays open."""

Serving = Callable[[], bool]


class Fault(Exception):
    """A question about health that ends with a gRPC status."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


def known(payload: bytes) -> bool:
    """Read a HealthCheckRequest; return whether its service is one of ours.

    Raises:
        Fault: the bytes are no such message.
    """
    try:
        return health_pb2.HealthCheckRequest.FromString(payload).service in SERVICES
    except DecodeError:
        raise Fault(INVALID_ARGUMENT, "this is no HealthCheckRequest") from None


def checked(payload: bytes, serving: Serving) -> bytes:
    """Answer one `Check`.

    Raises:
        Fault: the service is not one of ours, or the bytes are no question.
    """
    if not known(payload):
        raise Fault(NOT_FOUND, "there is no such service here")
    return told(serving=serving())


def told(*, serving: bool) -> bytes:
    """Return the message that says whether we serve."""
    return _SERVING if serving else _NOT_SERVING
