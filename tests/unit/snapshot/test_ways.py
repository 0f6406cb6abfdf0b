"""A way is resolved as the kernel does it, and every link on it is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from authz.snapshot.ways import LINKS_MAX, Ways


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path.resolve()


def test_a_way_without_links_is_itself(root: Path) -> None:
    ways = Ways()
    assert ways.resolve(str(root)) == str(root)
    assert ways.resolve("/") == "/"
    assert ways.links == ways.missing == set()


def test_every_link_on_the_way_is_known_by_the_directory_that_it_stands_in(root: Path) -> None:
    (root / "trees" / "one" / "policies").mkdir(parents=True)
    (root / "current").symlink_to("trees/now")
    (root / "trees" / "now").symlink_to(root / "trees" / "one")
    ways = Ways()
    assert ways.resolve(f"{root}/current/policies") == f"{root}/trees/one/policies"
    assert ways.links == {f"{root}/current", f"{root}/trees/now"}


@pytest.mark.parametrize("target", ["../b", "./../b/.", "../../{}/b", "{}/b"])
def test_dots_and_relative_targets_lead_where_the_kernel_goes(root: Path, target: str) -> None:
    (root / "a").mkdir()
    (root / "b").mkdir()
    text = target.format(root) if target.startswith("{") else target.format(root.name)
    (root / "a" / "link").symlink_to(text)
    assert Ways().resolve(f"{root}/a/link") == str((root / "a" / "link").resolve())


def test_what_is_not_there_is_known_as_the_first_name_that_is_missing(root: Path) -> None:
    (root / "link").symlink_to("gone/policies")
    ways = Ways()
    with pytest.raises(FileNotFoundError):
        ways.resolve(f"{root}/link/deeper")
    assert ways.links == {f"{root}/link"}
    assert ways.missing == {f"{root}/gone"}


def test_links_that_lead_in_a_circle_or_too_far_are_an_error(root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    with pytest.raises(OSError, match="Too many levels"):
        Ways().resolve(f"{root}/a")
    (root / "0").mkdir()
    for number in range(1, LINKS_MAX + 2):
        (root / str(number)).symlink_to(str(number - 1))
    assert Ways().resolve(f"{root}/{LINKS_MAX}") == f"{root}/0"
    with pytest.raises(OSError, match="Too many levels"):
        Ways().resolve(f"{root}/{LINKS_MAX + 1}")


def test_a_file_is_no_directory_on_the_way(root: Path) -> None:
    (root / "file").touch()
    with pytest.raises(NotADirectoryError):
        Ways().resolve(f"{root}/file/below")
