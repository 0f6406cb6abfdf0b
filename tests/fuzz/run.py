"""Run targets one after the other, each in a process of its own, and say what came of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

ENGINES = ("atheris", "hypothesis")
_MODULES = {"atheris": "tests.fuzz.guided", "hypothesis": "tests.fuzz.blind"}
_ROOT = Path(__file__).parents[2]
_START_S = 60  # importing everything, instrumented, on a busy machine
_FINDINGS = ("crash-*", "timeout-*", "oom-*", "slow-unit-*")


class Result(NamedTuple):
    """What came of one run."""

    target: str
    engine: str
    runs: int  # inputs tried; 0 where the process did not live to say
    findings: tuple[Path, ...]
    status: int
    log: str

    @property
    def held(self) -> bool:
        """Whether the target ran, to its end, and nothing broke it."""
        return self.status == 0 and not self.findings and self.runs > 0


def best_engine() -> str:
    """Return atheris where it is installed: it is guided by coverage."""
    return "atheris" if find_spec("atheris") is not None else "hypothesis"


def fuzz(target: str, seconds: float, directory: Path, engine: str = "", seed: int = 0) -> Result:
    """Fuzz one target.

    Args:
        target: short name, or the whole name of a module.
        directory: for what is found; kept between runs, so that a later one goes on.
        engine: `atheris` or `hypothesis`; "": the best that is here.
        seed: where the dice begin; 0: somewhere new.
    """
    engine = engine or best_engine()
    place = directory / target.rpartition(".")[2]
    place.mkdir(parents=True, exist_ok=True)
    before = _found(place)
    done = subprocess.run(
        [sys.executable, "-m", _MODULES[engine], target, str(place), str(max(1, int(seconds))), str(seed)],
        cwd=_ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=seconds * 2 + _START_S,
        check=False,
    )
    (place / "log").write_text(done.stdout)
    said = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stdout)
    findings = tuple(sorted(_found(place) - before))
    return Result(target, engine, int(said[1]) if said else 0, findings, done.returncode, done.stdout)


def _found(place: Path) -> set[Path]:
    return {path for pattern in _FINDINGS for path in place.glob(pattern)}
