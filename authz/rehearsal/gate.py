"""The gate: a changed set comes into force only if its own tests pass in it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from authz.model.errors import PolicyError
from authz.rehearsal.report import title
from authz.rehearsal.run import Result, Stage
from authz.snapshot.build import Built


def gate(built: Built, changed: frozenset[str]) -> Sequence[PolicyError]:
    """Return a fault for every case that fails in a set.

    Args:
        changed: names of the parts that changed.
    """
    results = Stage(built, _ticks_us).run(built.loaded.tests)
    return [fault_of(result) for result in results if not result.passed]


def fault_of(result: Result) -> PolicyError:
    """Say what a failing case means for the set."""
    told = "; ".join(map(str, result.differences))
    return PolicyError(result.place, f"the test `{title(result)}` fails: {told}: mend the rule or the test")


def _ticks_us() -> int:
    return time.monotonic_ns() // 1000
