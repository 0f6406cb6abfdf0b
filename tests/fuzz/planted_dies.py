"""A target that ends its process as a fault in a library of C does."""

from __future__ import annotations

import os
import signal

from tests.fuzz.target import Target


def run(data: bytes) -> None:
    """Die of the first input that is not empty."""
    if data:
        os.kill(os.getpid(), signal.SIGSEGV)


TARGET = Target(run, 16)
