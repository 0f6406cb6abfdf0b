"""A target that does not return: what takes too long is a finding too."""

from __future__ import annotations

from tests.fuzz.target import Target


def run(data: bytes) -> None:
    """Go on for ever, on the first input that is not empty."""
    while data:
        pass


TARGET = Target(run, 16, timeout_s=1)
