"""A front, a shield and everything behind it, without sockets: each part can be broken by a test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event
from typing import Any

from envoy.service.auth.v3 import external_auth_pb2

from authz.limits.guard import Guard
from authz.limits.memory import MemoryLimiter
from authz.model.decision import Answered
from authz.record.entry import FixedFields
from authz.response.refusal import Refuser
from authz.snapshot.snapshot import Snapshot
from authz.transport.front import Arrival
from authz.transport.mint import Mint
from authz.transport.shield import Shield
from tests.support.policies import snapshot

# `/open` of a.example.com is for anyone, everything else for nobody.
SNAPSHOT = snapshot(
    """
kind: Policy
metadata: {name: p}
spec:
  hosts: [a.example.com]
  rules: [{name: r, effect: allow, paths: [/open], identity: [anyone]}]
"""
)
WALL_US = 1_780_000_000_000_000


class FakeFront:
    """A front that remembers what it was told, and lets only the first reply to a call through."""

    def __init__(self, arrivals: Sequence[Arrival] = ()) -> None:
        self.waiting = list(arrivals)
        self.replies: dict[int, list[bytes]] = {}
        self.failed: dict[int, int] = {}
        self.gone: set[int] = set()  # callers who hung up
        self.started = self.closed = False
        self.emptied = Event()

    def start(self) -> None:
        self.started = True

    def take(self, most: int, timeout_ms: int) -> list[Arrival] | None:
        if self.closed:
            return None
        taken, self.waiting = self.waiting[:most], self.waiting[most:]
        if not taken:
            self.emptied.set()
            Event().wait(timeout_ms / 1e6)
        return taken

    def respond(self, call_id: int, payload: bytes) -> bool:
        if not isinstance(payload, bytes):
            raise TypeError("a reply is bytes")
        if call_id in self.gone or call_id in self.failed:
            return False
        self.replies.setdefault(call_id, []).append(payload)
        return len(self.replies[call_id]) == 1

    def fail(self, call_id: int, code: int, message: str) -> None:
        self.failed[call_id] = code

    def close(self) -> None:
        self.closed = True

    def reply(self, call_id: int) -> Any:
        """Return the one reply to a call, as Envoy reads it; fails where there is none, or a second."""
        (payload,) = self.replies[call_id]
        assert payload != b"", "an empty CheckResponse allows"
        return external_auth_pb2.CheckResponse.FromString(payload)

    def allowed(self, call_id: int) -> bool:
        return bool(self.reply(call_id).status.code == 0)


class FakeClock:
    """Clocks that are set by hand."""

    def __init__(self) -> None:
        self.ticks = 0

    def wall_us(self) -> int:
        return WALL_US

    def ticks_us(self) -> int:
        return self.ticks


class FakeKeeper:
    """Keeps what was answered in a list."""

    def __init__(self) -> None:
        self.answered: list[Answered] = []
        self.full = False
        self.promised = 0

    def promise(self, count: int) -> None:
        self.promised += count

    def keep(self, answered: Sequence[Answered], fixed: FixedFields) -> None:
        self.answered += answered


class Bench:
    """A shield with every part at hand."""

    def __init__(self, current: Callable[[], Snapshot], **parts: Any) -> None:
        self.front = FakeFront()
        self.clock = FakeClock()
        self.keeper = FakeKeeper()
        self.crashes: list[BaseException] = []
        self.shield = Shield(
            **{
                "front": self.front,
                "current": current,
                "limiter": MemoryLimiter(self.clock.ticks_us),
                "guard": Guard(self.clock.ticks_us),
                "refuser": Refuser("sidecar-1"),
                "keeper": self.keeper,
                "clock": self.clock,
                "mint": Mint(1).make,
                "crashed": self.crashes.append,
                **parts,
            }
        )

    def serve(self, *payloads: bytes, remaining_s: float | None = None) -> FakeFront:
        """Serve one batch; the calls are numbered from 1."""
        self.shield.serve([Arrival(at, each, remaining_s) for at, each in enumerate(payloads, 1)])
        return self.front
