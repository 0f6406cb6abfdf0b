"""A target without a fault."""

from __future__ import annotations

from tests.fuzz.target import Target


def run(data: bytes) -> None:
    """Accept everything."""
    assert isinstance(data, bytes)


TARGET = Target(run, 16)
