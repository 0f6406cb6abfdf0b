"""What a fuzz target is: a function of bytes that says what must hold, and what helps to find inputs for it.

A target lives in `targets/NAME.py`, its seeds and findings in `corpus/NAME/`. It returns where all is well
(bytes that mean nothing to it are well too) and raises where not, whatever it raises.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
PACKAGE = "tests.fuzz.targets"
NAMES = tuple(sorted(path.stem for path in (HERE / "targets").glob("*.py")))


class Target(NamedTuple):
    """One thing to fuzz."""

    run: Callable[[bytes], None]
    max_bytes: int  # longer inputs would be slower and find no more
    words: tuple[bytes, ...] = ()  # what inputs are made of, where bytes alone would take for ever
    timeout_s: int = 10  # one input: hundreds of times what the slowest takes


def module_of(name: str) -> str:
    """Return the module of a target, by its short name or, with dots, by its whole one."""
    return name if "." in name else f"{PACKAGE}.{name}"


def load(name: str) -> Target:
    """Import a target. Whoever wants coverage imports it inside the instrumentation."""
    found = import_module(module_of(name)).TARGET
    if not isinstance(found, Target):
        raise TypeError(f"`{name}` has no TARGET")
    return found


def corpus_of(name: str) -> Path:
    """Return where seeds and findings of a target are kept."""
    return HERE / "corpus" / name.rpartition(".")[2]


def seeds_of(name: str) -> list[Path]:
    """Return the files of a target's corpus."""
    return sorted(path for path in corpus_of(name).glob("*") if path.is_file())
