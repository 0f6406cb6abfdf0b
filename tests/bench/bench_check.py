"""What one whole check costs the judging thread: `.venv/bin/python -m tests.bench.bench_check`.

Prints microseconds, the best of many rounds: what the code costs when nobody else has the core. The whole
check goes through the shield in batches, as it is served, but for the front, which answers nobody here. The
rooms are asked alone, each with what the one before handed it, so their sum is less than the whole: what is
between them, and what they push out of the processor's caches, is not theirs.

`--profile` prints where the time of the whole check goes, by function (a profiler's figures are relative).
"""

from __future__ import annotations

import cProfile
import gc
import pstats
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from authz.bench import documents
from authz.bench.frame import frame
from authz.check import Call, Check, answer, judge, reply
from authz.identity.keyring import Peppers
from authz.identity.resolve import resolve
from authz.limits.guard import Guard
from authz.limits.memory import MemoryLimiter
from authz.model.decision import Answered
from authz.model.request import Request
from authz.policy.evaluate import evaluate
from authz.record.entry import encode
from authz.record.keeper import Keeper
from authz.record.numbers import Numbers
from authz.record.queue import RecordQueue
from authz.record.tally import Tally
from authz.record.tracing import Tracing
from authz.request.parse import parse
from authz.request.read import read
from authz.response.refusal import Refuser
from authz.snapshot.build import Surroundings, build
from authz.snapshot.snapshot import Snapshot
from authz.snapshot.sources import read as read_files
from authz.transport.front import Arrival
from authz.transport.mint import Mint
from authz.transport.shield import Shield
from authz.wiring.clock import SystemClock

POLICIES = KEYS = 1000
BATCH = 32  # what waits at a time when 32 calls are always open, as `authz bench` asks
FRAME_HEADER_BYTES = 5
IN_SHADOW = b"""
apiVersion: policy.authz/v1alpha1
kind: Policy
metadata: {name: tried}
spec:
  mode: shadow
  hosts: ["*"]
  rules:
    - name: all
      effect: allow
      identity: [bench-keys]
      when: '"items:read" in identity.scopes'
      limits: [tried]
---
apiVersion: policy.authz/v1alpha1
kind: Limit
metadata: {name: tried}
spec: {mode: shadow, per: [identity.customer], rate: 900000000/s}
"""
TRACED = {
    "  with a place for spans, Envoy does not trace": "",
    "  with a place for spans, none is sampled": f"00-{'1' * 32}-{'2' * 16}-00",
    "  every check is traced": f"00-{'1' * 32}-{'2' * 16}-01",
}
ROUNDS, WHOLE_ROUNDS = 40, 80
NUMBER, WHOLE_NUMBER = 1500, 20
PROFILED_BATCHES = 200


@dataclass(frozen=True, slots=True)
class Bench:
    """One policy set, loaded, and a batch of calls that it allows: each another key, another policy."""

    snapshot: Snapshot
    payloads: tuple[bytes, ...]
    limiter: MemoryLimiter
    guard: Guard
    refuser: Refuser
    clock: SystemClock


class _Nobody:
    """A front without a network."""

    def start(self) -> None: ...

    def take(self, most: int, timeout_ms: int) -> list[Arrival] | None:
        return None

    def respond(self, call_id: int, payload: bytes) -> bool:
        return True

    def fail(self, call_id: int, code: int, message: str) -> None: ...

    def close(self) -> None: ...


def _bench(*, in_shadow: bool = False) -> Bench:
    with tempfile.TemporaryDirectory() as name:
        written = documents.write(Path(name), POLICIES, KEYS)
        files = dict(read_files([Path(name)])) | ({"tried.yaml": IN_SHADOW} if in_shadow else {})
    snapshot = build(files, Surroundings(Peppers(documents.PEPPER.encode())), 0).snapshot
    payloads = []
    for number in range(BATCH):
        host, path = written.target(number * 7)
        payloads.append(frame(host, path, written.tokens[number])[FRAME_HEADER_BYTES:])
    clock = SystemClock()
    return Bench(
        snapshot,
        tuple(payloads),
        MemoryLimiter(clock.ticks_us),
        Guard(clock.ticks_us),
        Refuser("bench"),
        clock,
    )


def _serving(bench: Bench, traceparent: str | None = None) -> Callable[[], object]:
    """Return what serves one batch, from the front to the queue of records.

    Args:
        traceparent: what Envoy says of its own span, where spans go somewhere; None: they go nowhere.
    """
    tally = Tally()
    keeper = Keeper(RecordQueue(None, 1000), tally, Numbers())
    tracing = Tracing(bench.clock.ticks_us, 1_000_000_000, tally.traces) if traceparent is not None else None
    shield = Shield(
        _Nobody(),
        lambda: bench.snapshot,
        bench.limiter,
        bench.guard,
        bench.refuser,
        keeper,
        bench.clock,
        Mint().make,
        _raise,
        tracing,
    )
    arrivals = [
        Arrival(number, payload, 0.19, traceparent or "") for number, payload in enumerate(bench.payloads)
    ]
    return lambda: shield.serve(arrivals)


def _raise(error: BaseException) -> None:
    raise error


def _rooms(bench: Bench) -> dict[str, Callable[[], object]]:
    """Name the rooms in the order in which a check meets them, each with its work on one check."""
    snapshot, payload = bench.snapshot, bench.payloads[5]
    request = read(payload, snapshot.reading)
    if not isinstance(request, Request):
        raise TypeError("the bench's own request cannot be read")
    index, view = snapshot.index, snapshot.index.view(request.host)
    candidates = index.candidates(view, request)
    plan = snapshot.access(view.providers).plan
    check = judge(Call(1, payload), snapshot, bench.guard, 0)
    spends, mint, tally = check.spends, Mint().make, Tally()
    bench.limiter.spend([check], lambda _: None)
    answered = Answered(mint(0), 0, request, check.caller, check.decision, 200, 50)
    now_us = bench.clock.ticks_us()
    return {
        "(the floor of reading: parse, walk headers)": lambda: _floor(payload),
        "request: read": lambda: read(payload, snapshot.reading),
        "policy: view and candidates": lambda: index.candidates(index.view(request.host), request),
        "identity: resolve": lambda: resolve(request, plan, snapshot.keyring, 0),
        "policy: evaluate": lambda: evaluate(candidates, request, check.caller, snapshot.memos),
        "limits: draw two buckets": lambda: bench.limiter.draw(spends, now_us),
        "response: reply": lambda: reply(check, snapshot, bench.refuser, answered.decision_id),
        "transport: mint": lambda: mint(1_780_000_000_000_000),
        "record: encode": lambda: encode(answered, snapshot.fixed, 7),
        "record: tally": lambda: tally.add(answered),
    }


def _floor(payload: bytes) -> dict[str, bytes]:
    attributes = parse(payload)
    entries = attributes.request.http.header_map.headers if attributes is not None else ()
    return {entry.key: entry.raw_value for entry in entries}


def _best_us(work: Callable[[], object], number: int, rounds: int, per: int = 1) -> float:
    """Return microseconds per unit of work; `per` units are done by one call."""
    best = float("inf")
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(number):
            work()
        best = min(best, time.perf_counter() - began)
    return best / number / per * 1e6


def _answering(bench: Bench) -> Callable[[], object]:
    calls = [Call(number, payload) for number, payload in enumerate(bench.payloads)]

    def drop(_: Sequence[Check]) -> None: ...

    return lambda: answer(calls, bench.snapshot, bench.limiter, bench.guard, drop, bench.clock.wall_us())


def _report(what: str, us: float) -> None:
    sys.stdout.write(f"{what:48}{us:7.2f} us\n")


def main() -> None:
    """Measure and print."""
    bench = _bench()
    serve = _serving(bench)
    serve()
    gc.collect()
    gc.freeze()  # as `authz serve` does
    if "--profile" in sys.argv:
        with cProfile.Profile() as profile:
            for _ in range(PROFILED_BATCHES):
                serve()
        pstats.Stats(profile).sort_stats("tottime").print_stats(50)
        return
    _report("whole check, from the front to the records", _best_us(serve, WHOLE_NUMBER, WHOLE_ROUNDS, BATCH))
    shadow = _serving(_bench(in_shadow=True))
    _report("  with one policy and one limit in shadow", _best_us(shadow, WHOLE_NUMBER, WHOLE_ROUNDS, BATCH))
    telling = _serving(replace(bench, refuser=Refuser("bench", on_allow=True)))
    _report("  with limit headers for the client", _best_us(telling, WHOLE_NUMBER, WHOLE_ROUNDS, BATCH))
    for what, traceparent in TRACED.items():
        _report(what, _best_us(_serving(bench, traceparent), WHOLE_NUMBER, WHOLE_ROUNDS, BATCH))
    _report("judged and spent, not answered", _best_us(_answering(bench), WHOLE_NUMBER, WHOLE_ROUNDS, BATCH))
    for room, work in _rooms(bench).items():
        _report(room, _best_us(work, NUMBER, ROUNDS))


if __name__ == "__main__":
    main()
