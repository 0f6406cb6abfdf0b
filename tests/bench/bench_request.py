"""What one reading costs: `python -m tests.bench.bench_request` prints microseconds, medians of rounds.

`floor` is what no reader can avoid: parsing the message and walking its headers. Rounds of both are
interleaved, so a busy machine slows both.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from statistics import median
from timeit import timeit

from envoy.service.auth.v3.external_auth_pb2 import CheckRequest

from authz.model.site import DEFAULT_SITE, Listener, ReadingRules
from authz.request.read import read
from tests.support.checks import typical_check

ROUNDS = 21
READS_PER_ROUND = 3000

OWNED = frozenset({"x-auth-key-id", "x-auth-customer"})
RULES = ReadingRules(lambda host: DEFAULT_SITE, OWNED)
HOPS = ReadingRules(lambda host: DEFAULT_SITE, OWNED, Listener(trusted_hops=1))


def floor(payload: bytes) -> dict[str, bytes]:
    """Parse and walk, and nothing else."""
    entries = CheckRequest.FromString(payload).attributes.request.http.header_map.headers
    return {entry.key: entry.raw_value for entry in entries}


def cases() -> dict[str, Callable[[], object]]:
    """Name what is measured."""
    raw, joined = typical_check("raw"), typical_check("map")
    odd = typical_check(path="/caf%c3%a9/.well-known/a%2Cb?x=%2F")
    return {
        "floor": lambda: floor(raw),
        "header_map": lambda: read(raw, RULES),
        "headers": lambda: read(joined, RULES),
        "trusted hop": lambda: read(raw, HOPS),
        "odd path": lambda: read(odd, RULES),
    }


def measure(rounds: int = ROUNDS, reads: int = READS_PER_ROUND) -> dict[str, list[float]]:
    """Return microseconds per call of each case, one figure for each round."""
    figures: dict[str, list[float]] = {name: [] for name in cases()}
    for _ in range(rounds):
        for name, call in cases().items():
            figures[name].append(timeit(call, number=reads) / reads * 1e6)
    return figures


def main() -> None:
    """Print the figures."""
    for name, rounds in measure().items():
        sys.stdout.write(f"{name:12} median {median(rounds):6.2f} us   best {min(rounds):6.2f} us\n")


if __name__ == "__main__":
    main()
