"""`python -m tests.soak [--seconds N]`: ends with 1 where something must not be as it was. See run.py."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.soak.run import Plan, soak


def main() -> int:
    """Run the soak and print what it saw."""
    usual = Plan()
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="see tests/soak/run.py")
    parser.add_argument("--seconds", type=float, default=usual.seconds)
    parser.add_argument("--callers", type=int, default=usual.callers)
    parser.add_argument("--kill-every", type=float, default=usual.kill_every_s)
    chosen = parser.parse_args()
    plan = Plan(chosen.seconds, chosen.callers, chosen.kill_every)
    directory = Path(tempfile.mkdtemp(prefix="authz-soak-"))
    found = soak(plan, directory)
    faults = found.faults(plan)
    sys.stdout.write("\n".join([*found.lines(), *(f"FAULT: {fault}" for fault in faults), ""]))
    if not faults:
        shutil.rmtree(directory, ignore_errors=True)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
