"""`python -m tests.soak [--seconds N]`: ends with 1 where something must not be as it was.

First sets that change all the time (swaps.py), then limits in a Redis that everything happens to (limits.py),
records on their way while everything happens (records.py), then everything at once (run.py).
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.soak.limits import Chaos, limit_soak
from tests.soak.records import Turmoil, record_soak
from tests.soak.run import Plan, soak
from tests.soak.swaps import Swapping, swap_soak


def main() -> int:
    """Run the soak and print what it saw."""
    usual = Plan()
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="see tests/soak/run.py")
    parser.add_argument("--seconds", type=float, default=usual.seconds)
    parser.add_argument("--callers", type=int, default=usual.callers)
    parser.add_argument("--kill-every", type=float, default=usual.kill_every_s)
    parser.add_argument("--swap-seconds", type=float, default=Swapping().seconds)
    parser.add_argument("--limit-seconds", type=float, default=Chaos().seconds)
    parser.add_argument("--limit-seed", type=int, default=Chaos().seed, help="which faults, and when")
    parser.add_argument(
        "--limits-apart", action="store_true", help="shares nothing: the bound must be broken"
    )
    parser.add_argument("--record-seconds", type=float, default=Turmoil().seconds)
    parser.add_argument("--record-seed", type=int, default=Turmoil().seed, help="which faults, and when")
    parser.add_argument("--record-on-full", default=Turmoil().on_full, help="what `record_on_full` says")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--swaps-only", action="store_true")
    only.add_argument("--limits-only", action="store_true")
    only.add_argument("--records-only", action="store_true")
    chosen = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="authz-soak-"))
    every = not (chosen.swaps_only or chosen.limits_only or chosen.records_only)
    faults = _swaps(chosen.swap_seconds, directory) if every or chosen.swaps_only else []
    if every or chosen.limits_only:
        chaos = Chaos(chosen.limit_seconds, seed=chosen.limit_seed, apart=chosen.limits_apart)
        faults += _limits(chaos, directory)
    if every or chosen.records_only:
        turmoil = Turmoil(chosen.record_seconds, seed=chosen.record_seed, on_full=chosen.record_on_full)
        faults += _records(turmoil, directory)
    if every:
        faults += _everything(Plan(chosen.seconds, chosen.callers, chosen.kill_every), directory)
    if not faults:
        shutil.rmtree(directory, ignore_errors=True)
    return 1 if faults else 0


def _swaps(seconds: float, directory: Path) -> list[str]:
    found = swap_soak(Swapping(seconds), directory)
    return _told(found.lines(), found.faults())


def _limits(plan: Chaos, directory: Path) -> list[str]:
    found = limit_soak(plan, directory)
    return _told(found.lines(), found.faults(plan))


def _records(plan: Turmoil, directory: Path) -> list[str]:
    found = record_soak(plan, directory)
    return _told(found.lines(), found.faults(plan))


def _everything(plan: Plan, directory: Path) -> list[str]:
    found = soak(plan, directory)
    return _told(found.lines(), found.faults(plan))


def _told(lines: Iterable[str], faults: list[str]) -> list[str]:
    sys.stdout.write("\n".join([*lines, *(f"FAULT: {fault}" for fault in faults), ""]))
    sys.stdout.flush()
    return faults


if __name__ == "__main__":
    sys.exit(main())
