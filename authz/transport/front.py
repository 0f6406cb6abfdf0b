"""What both gRPC fronts offer: calls in batches, replies by id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from authz.record.facts import TlsFacts

METHOD = "/envoy.service.auth.v3.Authorization/Check"

# gRPC's own status for a call that nobody waits for any more. Source: google/rpc/code.proto.
DEADLINE_EXCEEDED = 4


class Arrival(NamedTuple):
    """One call as it arrived."""

    id: int
    payload: bytes
    remaining_s: float | None  # until the caller stops waiting; None where it waits for ever
    traceparent: str = ""  # of the call itself, not of the request that it is about; as sent

    def __repr__(self) -> str:  # SECURITY: credentials are in the payload
        return f"Arrival(id={self.id}, payload={len(self.payload)} bytes, remaining_s={self.remaining_s})"


def traceparent_of(metadata: Sequence[tuple[str, str | bytes]]) -> str:
    """Return the trace that a call belongs to, by the head of the call itself; "" where it names none.

    This is how Envoy tells of its own span, first of all where it traces. Source: Envoy 1.40, as tried.
    """
    for name, value in metadata:
        if name == "traceparent" and isinstance(value, str):
            return value
    return ""


class Front(Protocol):
    """A gRPC server for `Check` alone, on one address."""

    def start(self) -> None:
        """Listen; raises ConfigError where the address cannot be used."""
        ...

    def take(self, most: int, timeout_ms: int) -> list[Arrival] | None:
        """Return waiting calls, [] where none came in time, None once the front is closed."""
        ...

    def respond(self, call_id: int, payload: bytes) -> bool:
        """Answer a call; False where it has been answered, or its caller is gone."""
        ...

    def fail(self, call_id: int, code: int, message: str) -> None:
        """End a call with a gRPC error: only for calls that nobody waits for."""
        ...

    def close(self) -> None:
        """Stop listening and drop what is pending: drain first."""
        ...


@runtime_checkable
class Secured(Protocol):
    """A front that may speak TLS."""

    def tls_facts(self) -> TlsFacts:
        """Return what metrics say of its certificates."""
        ...
