"""What records and metrics cost the judging thread: `.venv/bin/python -m tests.bench.bench_record`.

Prints microseconds per record, the best of several rounds: what the code costs when nobody else has the core.
"""

from __future__ import annotations

import sys
import time
import timeit
from collections.abc import Callable
from pathlib import Path

from authz.history.line import Chunk, Place
from authz.history.verify import Verifier
from authz.record.chain import Chain
from authz.record.entry import FixedFields, encode
from authz.record.pseudonym import Field, Pseudonyms
from authz.record.queue import Direct, RecordQueue
from authz.record.sinks import FileSink
from authz.record.tally import Tally
from tests.support.answers import allowed, refused
from tests.support.chains import KEY, SIDECAR, STREAM

ROUNDS = 25
NUMBER = 10_000
FIXED = FixedFields(sidecar="items-7d4b9c", revision="0123456789ab", source_revision="4f2a9c1")


def cost_us(work: Callable[[], object], per: int = 1) -> float:
    """Return microseconds per unit of work; `per` units are done by one call."""
    number = max(1, NUMBER // per)
    return min(timeit.repeat(work, number=number, repeat=ROUNDS)) / number / per * 1e6


def queue_us(lines: list[bytes]) -> float:
    """Return the cost of handing over a line, with a writer that writes to /dev/null meanwhile.

    CPU time of the calling thread: what the writer takes is its own.
    """
    queue = RecordQueue(Direct(FileSink(Path("/dev/null"))), 1_000_000)
    queue.start()
    best = min(_thread_us(queue, lines) for _ in range(ROUNDS))
    queue.close(5)
    return best


def _thread_us(queue: RecordQueue, lines: list[bytes]) -> float:
    number = max(1, NUMBER // len(lines))
    before = time.thread_time_ns()
    for _ in range(number):
        queue.put(lines)
    spent_ns = time.thread_time_ns() - before
    while queue.counts().waiting:
        time.sleep(0.001)
    return spent_ns / 1000 / number / len(lines)


def chain_us(lines: list[bytes]) -> tuple[float, float]:
    """Return the cost of linking a line, and that of verifying one."""
    data = b"".join(lines)
    linked = Chain(KEY, SIDECAR, STREAM).link(data)

    def verify() -> None:
        verifier = Verifier([KEY.public])
        verifier.take(Chunk(linked, Place("records", 1)))
        assert verifier.report().sound

    return (
        cost_us(lambda: Chain(KEY, SIDECAR, STREAM).link(data), len(lines)),
        cost_us(verify, len(lines)),
    )


def report(what: str, us: float) -> None:
    """Print one line."""
    sys.stdout.write(f"{what:50}{us:6.2f} us\n")


def main() -> None:
    """Measure and print."""
    allow, deny = allowed(), refused()
    report("record of an allow (identity, rule, two limits)", cost_us(lambda: encode(allow, FIXED, 7)))
    report("record of a refusal", cost_us(lambda: encode(deny, FIXED, 7)))
    hidden = FIXED._replace(pseudonyms=Pseudonyms(bytes(32), Field))
    report("the same, with all pseudonyms", cost_us(lambda: encode(deny, hidden, 7)))
    fixed = FIXED._replace(stream=STREAM)
    link_us, verify_us = chain_us([encode(allow, fixed, seq) for seq in range(1, 2001)])
    report("a line linked (in the process that ships)", link_us)
    report("a line verified (authz logs verify)", verify_us)
    tally = Tally()
    report("tally of an allow (one rule, two limits)", cost_us(lambda: tally.add(allow)))
    report("tally of a refusal", cost_us(lambda: tally.add(deny)))
    for batch in (1, 16):
        report(f"queue, in batches of {batch}", queue_us([encode(allow, FIXED, 7)] * batch))


if __name__ == "__main__":
    main()
