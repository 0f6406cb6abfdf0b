"""python -m tests.fuzz [TARGET...] [--seconds N] [--engine atheris|hypothesis] [--replay FILE]
       [--minimise FILE].

Exit codes: 0 nothing broke, 1 something did, 2 usage.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.fuzz.run import ENGINES, Result, fuzz
from tests.fuzz.shrink import shrink
from tests.fuzz.target import NAMES, load


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _report(result: Result) -> None:
    state = "held" if result.held else "BROKEN"
    _tell(f"{result.target:<12} {state:<7} {result.runs:>9} inputs  ({result.engine})")
    for finding in result.findings:
        _tell(f"  {finding}")
        _tell(f"  again: .venv/bin/python -m tests.fuzz {result.target} --replay {finding}")
    if not result.held:
        _tell("\n".join(f"  {line}" for line in result.log.splitlines()[-25:]))


def _parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Fuzz what reads hostile input."
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"default: all of {', '.join(NAMES)}")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target (default: 60)")
    parser.add_argument(
        "--engine", choices=ENGINES, default="", help="default: atheris where it is installed"
    )
    parser.add_argument("--directory", type=Path, default=Path(".run/fuzz"), help="for what is found")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one target once, on this input")
    parser.add_argument("--minimise", type=Path, metavar="FILE", help="make this finding smaller")
    asked = parser.parse_args(words)
    unknown = [name for name in asked.targets if name not in NAMES and "." not in name]
    if unknown:
        parser.error(f"there is no target `{unknown[0]}`: choose of {', '.join(NAMES)}")
    if (asked.replay or asked.minimise) and len(asked.targets) != 1:
        parser.error("--replay and --minimise need exactly one target")
    return asked


def main(words: list[str] | None = None) -> int:
    """Fuzz the targets that are named, one after the other."""
    asked = _parse(words)
    if asked.replay:
        load(asked.targets[0]).run(asked.replay.read_bytes())
        _tell("held")
        return 0
    if asked.minimise:
        found = asked.minimise.read_bytes()
        smaller = shrink(load(asked.targets[0]), found)
        asked.minimise.write_bytes(smaller)
        _tell(f"{asked.minimise}: {len(found)} bytes became {len(smaller)}")
        return 0
    broken = 0
    for name in asked.targets or NAMES:
        result = fuzz(name, asked.seconds, asked.directory, asked.engine)
        _report(result)
        broken += not result.held
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
