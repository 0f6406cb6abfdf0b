"""What a load leaves behind is put in order."""

from __future__ import annotations

import ctypes
import gc
import weakref

import pytest

from authz.model.errors import SnapshotRejected
from authz.snapshot import memory
from authz.snapshot.build import Builder, Surroundings
from authz.snapshot.memory import let_go, no_full_collection, tidy, tidy_again
from tests.support.policies import OPEN_AND_LIMITED, PROVIDER, MadeKey, documents


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


def test_a_set_that_follows_another_starts_no_full_collection() -> None:
    collected: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            collected.append(info["generation"])

    gc.callbacks.append(note)
    try:
        with no_full_collection():
            kept = [[number] for number in range(200_000)]
        tidy_again()
        assert kept[0] not in gc.get_objects(), "out of the collector's way"
    finally:
        gc.callbacks.remove(note)
        gc.unfreeze()
    assert 1 in collected
    assert 2 not in collected
    assert gc.get_threshold()[2] < 1000


def test_a_load_leaves_no_cycles_behind() -> None:
    """What is frozen is freed by its count of references alone, so no cycle of a load would ever go."""
    builder, key = Builder(Surroundings()), MadeKey("k")
    files = documents(PROVIDER, OPEN_AND_LIMITED, key.document)
    builder.build(files, 0)
    gc.collect()
    gc.disable()
    try:
        for number in range(3):
            text = OPEN_AND_LIMITED.replace("/open", f"/open-{number}")
            builder.build(documents(PROVIDER, text, key.document), 0)
            with pytest.raises(SnapshotRejected):
                builder.build(documents(text), 0)
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_a_library_that_cannot_trim_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    memory._trim()


def test_what_is_let_go_is_freed_one_by_one() -> None:
    class Thing:
        pass

    things = [Thing() for _ in range(3)]
    alive = [weakref.ref(thing) for thing in things]
    seen: list[int] = []
    lost = iter(things)
    del things
    let_go(lost, lambda: seen.append(sum(one() is not None for one in alive)))
    assert seen == [3, 3, 3, 3, 2, 1]  # the last one is held until the end
