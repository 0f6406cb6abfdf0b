"""Hostile policy directories at the first start, over a good set in force, and at a restart.

The same cases meet a running sidecar under load in `tests/e2e/test_last_good.py`.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from authz.config.rooms import SnapshotSettings
from authz.proxy.stage import short_directory
from authz.rehearsal.testing.gate import Gate
from authz.snapshot.build import Surroundings
from authz.snapshot.sources import Directories
from authz.wiring.clock import SystemClock
from authz.wiring.loader import Loader
from authz.wiring.past import past
from tests.support.hostile import CASES, FAILING_TEST, Hostile, good_set, restore
from tests.support.sets import events

each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
# Of processor time. The contract is a second, and the worst case takes half of one; a busy machine takes
# longer for the same, and one that counts coverage several times as long.
WORK_S = 3.0 if sys.gettrace() is None else 20.0

_NOBODY = 65534


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return good_set(tmp_path / "policies")


def loader(root: Path) -> Loader:
    clock, named = SystemClock(), Directories([root])
    settings = SnapshotSettings(state=root.parent / "state")
    return Loader(named, Surroundings(), clock, Gate(), settings, past(settings, named, clock))


def closed(made: Loader) -> Loader:
    """Have it keep what it has."""
    made.past.start()
    made.past.close()
    return made


def rejections(logs: list[Any]) -> list[Any]:
    return [line for line in logs if line["event"].startswith("policy set rejected")]


def loaded(made: Loader) -> list[Any]:
    """Load three times; return what was logged of it."""
    with capture_logs() as logs:
        began_s = time.thread_time()
        made.load()
        assert time.thread_time() - began_s < WORK_S
        made.load()
        made.load(every=True)
    return logs


def check_told(logs: list[Any], problem: str, case: Hostile, root: Path) -> None:
    """One line of the log, which says what and where."""
    (line,) = rejections(logs)
    told = [str(line["faults"][0]), problem]
    for text in told:
        assert case.what in text
        assert text.startswith(str(root))
        assert text.isprintable()
        assert len(text) < 2000
        if case.placed:
            assert not text.removeprefix(str(root / "hostile.yaml")).startswith(":1:1:")


@each
def test_at_the_first_start_it_is_not_ready_denies_everything_and_says_why_once(
    case: Hostile, root: Path
) -> None:
    case.spoil(root)
    made = loader(root)
    logs = loaded(made)
    snapshot = made.current()
    assert not snapshot.ready
    check_told(logs, snapshot.problem, case, root)
    assert made.in_force.ailment == snapshot.problem
    assert made.results.total() > 0
    assert not made.results["accepted"]


@each
def test_over_a_good_set_nothing_changes_but_what_is_told(case: Hostile, root: Path) -> None:
    made = loader(root)
    made.load()
    good = made.current()
    assert good.ready
    case.spoil(root)
    logs = loaded(made)
    assert made.current() is good
    assert made.in_force.ailment == ""
    assert made.results["accepted"] == 1
    assert made.results.total() > 1
    check_told(logs, made.about()["rejected"], case, root)
    assert made.facts().age_s > 0
    assert made.facts().needs_newer is ("to come" in case.name)
    restore(root)
    made.load()
    assert not made.about()
    assert made.current().revision == good.revision
    assert made.facts().age_s == 0


@pytest.mark.parametrize("case", [case for case in CASES if case != FAILING_TEST], ids=lambda case: case.name)
def test_a_restart_begins_with_what_was_kept_and_says_so_once(case: Hostile, root: Path) -> None:
    before = loader(root)
    before.load()
    closed(before)
    assert (root.parent / "state").is_dir()
    case.spoil(root)
    made = loader(root)
    logs = loaded(made)
    assert made.current().ready
    assert made.current().revision == before.current().revision
    assert made.about()["from_state"] == "platform"
    assert made.facts().from_state == 1
    check_told(logs, made.about()["rejected"], case, root)
    (line,) = events(logs, "started from the last good policy set")
    assert (line["revision"], line["parts"]) == (before.current().revision, ["platform"])
    assert case.what in line["why"]
    restore(root)
    made.load()
    assert not made.about()
    assert made.facts().from_state == 0


def test_a_set_that_was_in_force_is_so_after_a_restart_whatever_its_tests_say(root: Path) -> None:
    before = loader(root)
    before.load()
    closed(before)
    FAILING_TEST.spoil(root)
    before.load()
    assert "shut" in before.about()["rejected"], "tests are no part of the revision: the same documents"
    made = loader(root)
    made.load()
    assert made.current().revision == before.current().revision
    assert not made.about()


@pytest.fixture
def of_nobody() -> Iterator[Path]:
    """A directory of a user who may not read everything; we are that user meanwhile."""
    home = short_directory()
    if os.geteuid() != 0:
        yield home
    else:
        os.chown(home, _NOBODY, -1)
        os.seteuid(_NOBODY)
        try:
            yield home
        finally:
            os.seteuid(0)
    shutil.rmtree(home)


@pytest.mark.parametrize("closed_off", ["policies/good.yaml", "policies"])
def test_what_may_not_be_read_takes_nothing_away(closed_off: str, of_nobody: Path) -> None:
    root = good_set(of_nobody / "policies")
    made = loader(root)
    made.load()
    closed(made)
    good = made.current()
    assert good.ready
    (of_nobody / closed_off).chmod(0)
    try:
        made.load()
        assert made.current() is good
        again = loader(root)
        with capture_logs() as logs:
            again.load()
        assert again.current().revision == good.revision
        assert "permission denied" in again.about()["rejected"]
        assert events(logs, "started from the last good policy set")
    finally:
        (of_nobody / closed_off).chmod(0o700)
    again.load()
    assert not again.about()
