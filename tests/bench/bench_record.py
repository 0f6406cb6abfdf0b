"""What records and metrics cost the judging thread: `.venv/bin/python -m tests.bench.bench_record`.

Prints microseconds per record, the best of several rounds: what the code costs when nobody else has the core.
"""

from __future__ import annotations

import sys
import timeit
from collections.abc import Callable

from authz.record.entry import FixedFields, encode
from tests.support.answers import allowed, refused

ROUNDS = 25
NUMBER = 10_000
FIXED = FixedFields(sidecar="items-7d4b9c", revision="0123456789ab", source_revision="4f2a9c1")


def cost_us(work: Callable[[], object], per: int = 1) -> float:
    """Return microseconds per unit of work; `per` units are done by one call."""
    number = max(1, NUMBER // per)
    return min(timeit.repeat(work, number=number, repeat=ROUNDS)) / number / per * 1e6


def report(what: str, us: float) -> None:
    """Print one line."""
    sys.stdout.write(f"{what:50}{us:6.2f} us\n")


def main() -> None:
    """Measure and print."""
    allow, deny = allowed(), refused()
    report("record of an allow (identity, rule, two limits)", cost_us(lambda: encode(allow, FIXED, 7)))
    report("record of a refusal", cost_us(lambda: encode(deny, FIXED, 7)))


if __name__ == "__main__":
    main()
