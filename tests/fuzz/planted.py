"""A target with a bug that only coverage or the words find: the fuzzing itself is tested with it."""

from __future__ import annotations

from tests.fuzz.target import Target

SECRET = b"bug!"


def run(data: bytes) -> None:
    """Break on one input in four milliards, one byte after the other."""
    for at, byte in enumerate(SECRET):
        if data[at : at + 1] != bytes([byte]):
            return
    raise AssertionError("the planted bug")


TARGET = Target(run, 16, (SECRET,))
