"""Git is waited for while it writes a work tree, and not for ever."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from authz.snapshot.checkout import BUSY_MAX_S, Checkout


class Clock:
    """Passes whenever somebody waits."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.then: Callable[[], None] = lambda: None

    def __call__(self) -> float:
        self.now_s += 0.5
        self.then()
        return self.now_s


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tree" / ".git").mkdir(parents=True)
    (tmp_path / "tree" / "policies" / "below").mkdir(parents=True)
    return tmp_path / "tree"


def waited_s(checkout: Checkout, clock: Clock, *directories: Path) -> float:
    before_s = clock.now_s
    checkout.wait(map(str, directories), Event())
    return clock.now_s - before_s


def test_where_git_is_not_at_work_nobody_waits(tree: Path, tmp_path: Path) -> None:
    clock = Clock()
    assert waited_s(Checkout(clock), clock, tree / "policies", tmp_path) <= 0.5


@pytest.mark.parametrize("directory", [".", "policies", "policies/below"])
def test_it_is_waited_until_the_lock_is_gone(tree: Path, directory: str) -> None:
    clock, lock = Clock(), tree / ".git" / "index.lock"
    lock.touch()

    def release() -> None:
        if clock.now_s > 102.5:
            lock.unlink(missing_ok=True)

    clock.then = release
    assert 2.5 <= waited_s(Checkout(clock), clock, tree / directory) <= 3.5


def test_a_linked_work_tree_has_its_lock_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "git" / "worktrees" / "w").mkdir(parents=True)
    (tmp_path / "w" / "policies").mkdir(parents=True)
    (tmp_path / "w" / ".git").write_text("gitdir: ../git/worktrees/w\n")
    clock = Clock()
    assert waited_s(Checkout(clock), clock, tmp_path / "w" / "policies") <= 0.5
    (tmp_path / "git" / "worktrees" / "w" / "index.lock").touch()
    assert waited_s(Checkout(clock), clock, tmp_path / "w" / "policies") >= BUSY_MAX_S


def test_what_is_no_link_to_a_work_tree_is_none(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("something else\n")
    clock = Clock()
    assert waited_s(Checkout(clock), clock, tmp_path) <= 0.5


def test_a_lock_that_a_dead_git_left_delays_once(tree: Path) -> None:
    clock, lock = Clock(), tree / ".git" / "index.lock"
    lock.touch()
    checkout = Checkout(clock)
    assert waited_s(checkout, clock, tree) >= BUSY_MAX_S
    assert waited_s(checkout, clock, tree) <= 0.5
    lock.unlink()
    (tree / ".git" / "other.lock").touch()
    (tree / ".git" / "other.lock").rename(lock)
    assert waited_s(checkout, clock, tree) >= BUSY_MAX_S


def test_who_ends_does_not_wait(tree: Path) -> None:
    (tree / ".git" / "index.lock").touch()
    ended = Event()
    ended.set()
    clock = Clock()
    Checkout(clock).wait([str(tree)], ended)
    assert clock.now_s <= 101.0


def test_of_thousands_of_directories_each_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directories = [str(tmp_path / f"{number // 10}" / f"{number}") for number in range(200)]
    asked: list[str] = []
    real = os.stat

    def counting(path: str) -> os.stat_result:
        asked.append(str(path))
        return real(path)

    monkeypatch.setattr("authz.snapshot.checkout.os.stat", counting)
    now_s = 100.0
    checkout = Checkout(lambda: now_s)
    for _ in range(3):
        checkout.wait(directories, Event())
    once = len(asked)
    assert once == len(set(asked)) < 200 + 20 + 20
    now_s += 1
    checkout.wait(directories, Event())
    assert len(asked) == 2 * once


def test_a_lock_that_cannot_be_is_none(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: a\0b")
    Checkout().wait([str(tmp_path)], Event())
