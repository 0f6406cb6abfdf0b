"""What a load leaves behind is put in order."""

from __future__ import annotations

import ctypes
import gc
import weakref

import pytest

from authz.snapshot import memory
from authz.snapshot.memory import tidy


class _Thing:
    def __init__(self) -> None:
        self.itself = self


def test_garbage_goes_and_what_stays_is_out_of_the_collectors_way() -> None:
    garbage, kept = weakref.ref(_Thing()), _Thing()
    tidy()
    try:
        assert garbage() is None
        assert gc.get_freeze_count() > 0
        assert kept not in gc.get_objects()
    finally:
        gc.unfreeze()


def test_a_library_that_cannot_trim_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    memory._trim()
