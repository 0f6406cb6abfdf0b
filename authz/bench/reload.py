"""What a reload costs: how soon a change is enforced, what callers feel of it, and what it leaves behind.

A change is one policy of one file, put in place by a rename, as editors do. It is complete when
the rename returns, and enforced when a request is allowed that only the changed policy allows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import Event, Thread

from authz.bench import load, subjects, usage
from authz.bench.documents import PolicySet
from authz.bench.frame import frame
from authz.bench.subjects import Server
from authz.model.errors import NotStarted
from authz.transport.front import METHOD

KEYS = 10_000
SIZES = (10, 1000, 10_000)
MEMORY_SIZE = 1000  # policies, while reloads are counted

_FRAME_HEADER_BYTES = 5
_PATIENCE_S = 30.0
_POLL_S = 0.0005
_EVERY_S = 0.25  # between two changes under load: more often than any repository is merged into

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Toil:
    """How often to reload."""

    changes: int = 11  # for the latency, of which the median counts
    seconds: int = 3  # under load, with and without changes, in turns
    turns: int = 3
    few: int = 10
    many: int = 1000


@dataclass(frozen=True, slots=True)
class Reloads:
    """One size of policy set: medians."""

    policies: int
    latency_ms: float
    quiet_p99_us: float  # of calls at a steady rate
    reload_p99_us: float  # of the same while the set changes again and again
    refused: int  # of all those calls


@dataclass(frozen=True, slots=True)
class Kept:
    """Resident memory of a sidecar after few and after many reloads."""

    few: int
    few_mib: float
    many: int
    many_mib: float


def sizes(directory: Path, toil: Toil, per_s: int, progress: Progress) -> list[Reloads]:
    """Measure each size of policy set by itself."""
    found = []
    for size in SIZES:
        progress(f"reloads of {size} policies and {KEYS} keys")
        with ExitStack() as stack:
            place = directory / f"reload-{size}"
            place.mkdir()
            written = subjects.policy_set(place / "policies", size, KEYS)
            server = subjects.start_sidecar(place, written, stack)
            found.append(_size(server, written, place, toil, per_s))
    return found


def kept(directory: Path, toil: Toil, progress: Progress) -> Kept:
    """Reload again and again, and look at the memory after a few and after many."""
    progress(f"{toil.many} reloads of {MEMORY_SIZE} policies")
    place = directory / "reload-kept"
    place.mkdir()
    with ExitStack() as stack:
        written = subjects.policy_set(place / "policies", MEMORY_SIZE, KEYS)
        server = subjects.start_sidecar(place, written, stack)
        caller = stack.enter_context(_Caller(server.socket))
        for number in range(1, toil.few + 1):
            caller.until_enforced(written, number)
        few_mib = usage.resident_mib(server.child.pid)
        for number in range(toil.few + 1, toil.many + 1):
            caller.until_enforced(written, number)
        return Kept(toil.few, few_mib, toil.many, usage.resident_mib(server.child.pid))


def _size(server: Server, written: PolicySet, place: Path, toil: Toil, per_s: int) -> Reloads:
    with _Caller(server.socket) as caller:
        latencies = [caller.until_enforced(written, number) for number in range(toil.changes)]
    host, path = written.target(7)
    asked = place / "reload.frame"
    asked.write_bytes(frame(host, path, written.tokens[7]))
    load.calls(server.socket, asked, 2000)
    before, quiet, reloading = server.counts(), [], []
    for _ in range(toil.turns):
        quiet.append(load.paced(server.socket, asked, per_s, toil.seconds, place).p99_us)
        with _Changes(written):
            reloading.append(load.paced(server.socket, asked, per_s, toil.seconds, place).p99_us)
    after = server.counts()
    allowed = after.get("allowed", 0) - before.get("allowed", 0)
    refused = 2 * toil.turns * toil.seconds * per_s - int(allowed)
    return Reloads(written.policies, median(latencies) * 1000, median(quiet), median(reloading), refused)


class _Caller:
    """Asks one question after the other; made for measuring when an answer changes."""

    def __init__(self, socket: Path) -> None:
        import grpc  # a tenth of a second that no other figure shall pay for

        self._channel = grpc.insecure_channel(f"unix:{socket}")
        self._ask = self._channel.unary_unary(METHOD)

    def __enter__(self) -> _Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def until_enforced(self, written: PolicySet, number: int) -> float:
        """Change a policy, and return after how many seconds the change decides."""
        host, path = written.change(number)
        complete_s = time.monotonic()
        payload = frame(host, path, written.tokens[0])[_FRAME_HEADER_BYTES:]
        while not self._is_allowed(payload):
            if time.monotonic() > complete_s + _PATIENCE_S:
                raise NotStarted(
                    f"a change of {written.policies} policies is not enforced after {_PATIENCE_S} s"
                )
            time.sleep(_POLL_S)
        return time.monotonic() - complete_s

    def _is_allowed(self, payload: bytes) -> bool:
        # A refusal begins with a status of another code than 0: field 1 of the answer, field 1 of that.
        answer: bytes = self._ask(payload, timeout=_PATIENCE_S)
        return not (answer[:1] == b"\x0a" and answer[2:3] == b"\x08")


class _Changes:
    """Changes a policy set again and again, until it is left."""

    def __init__(self, written: PolicySet) -> None:
        self._written = written
        self._over = Event()
        self._thread = Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        number = 1_000_000
        while not self._over.wait(_EVERY_S):
            number += 1
            self._written.change(number)
